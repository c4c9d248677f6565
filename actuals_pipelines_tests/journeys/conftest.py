"""One home for all journeys: made by `init`, kept up by `actuals up`, with three tenants in three time zones."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actuals_pipelines.operations.init_home import init_home
from actuals_pipelines.operations.reload import reload_and_wait
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines_tests.journeys.house import House, kept_up


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The running home; north was there when it started, south and east came while it ran.

    Each has its own sensors, because a time zone has: what is done to one's sensors leaves the other's alone.
    """
    folder = tmp_path_factory.mktemp("journeys")
    with pytest.MonkeyPatch.context() as environment:
        for name in ("ACTUALS_KEK", "ACTUALS_HOME", "DAGSTER_HOME"):
            environment.delenv(name, raising=False)
        environment.setenv("ACTUALS_KEYS", str(folder / "keys"))
        home = init_home(folder / "home", datetime.now(UTC)).home
        # What its processes put aside is searched too; short, because sockets lie there.
        temporary = Path(tempfile.mkdtemp(prefix="journeys-"))
        environment.setenv("TMPDIR", str(temporary))
        made = House(home, temporary)
        try:
            with running_postgres(home):  # one start of the server for all that follows
                made.add_tenant("north", "Europe/Amsterdam")
                with kept_up(home):
                    made.add_tenant("south", "Asia/Tokyo")
                    east = made.add_tenant("east", "UTC")
                    assert reload_and_wait(home, east.tenant, east.ref)
                    yield made
        finally:
            shutil.rmtree(home.postgres, ignore_errors=True)  # pytest keeps folders; this one is large
            shutil.rmtree(temporary, ignore_errors=True)
