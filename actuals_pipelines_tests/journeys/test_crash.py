"""kill -9 amid a day's publishing and amid a close: nothing half is visible, and the re-run ends as if nothing was."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from actuals_pipelines.operations import reconcile, take_in
from actuals_pipelines.operations.units import source_of, upload
from actuals_pipelines.store import catalogue, closes
from actuals_pipelines.store.garbage import collect_garbage
from actuals_pipelines.store.live import control_totals
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines_tests.journeys.crashes import with_known_keys
from actuals_pipelines_tests.journeys.house import DAYS, TENANT, House, psp_file, statement

TWO_DAYS = DAYS[:2]
TWO = tuple(TWO_DAYS)
# The statements are handed over, so that no door seals them to other keys than the test's.
UPLOADS_ALONE = TENANT.replace("kind: sftp", "kind: upload").replace(
    'sftp:\n- {{user: {name}, public_keys: ["{key}"]}}\n', ""
)
FILES = {
    ("psp", 0): [
        psp_file(f"1,order-1,60.00,EUR,{DAYS[0]},x", f"2,order-2,10.00,EUR,{DAYS[0]},x"),
        psp_file(f"2,order-2,9.65,EUR,{DAYS[0]},corrected", f"3,order-3,7.00,EUR,{DAYS[0]},x"),
    ],
    ("psp", 1): [psp_file(f"4,order-4,5.00,EUR,{DAYS[1]},x")],
    ("bank", 0): [statement(DAYS[0], "0.00", "69.65", [("1", "60.00"), ("2", "9.65")])],
    ("bank", 1): [statement(DAYS[1], "69.65", "74.65", [("4", "5.00")])],
}


@contextmanager
def a_tenant(house: House) -> Iterator[tuple[str, TenantEnvironment]]:
    """A new tenant whose files are landed and judged, and not published yet."""
    name = f"crash_{uuid4().hex[:8]}"
    house.add_tenant(name, text=UPLOADS_ALONE)
    with house.opened(name) as opened:
        env = with_known_keys(opened)
        for (source_name, at), contents in FILES.items():
            source = source_of(env, source_name)
            for content in contents:
                upload(env, source, io.BytesIO(content), name="export", day=DAYS[at])
            take_in.validate(env, source, [DAYS[at]])
        yield name, env


def published(env: TenantEnvironment) -> list[str]:
    """Publish all; what became of each day."""
    return [day.outcome for name in ("psp", "bank") for day in take_in.publish(env, source_of(env, name), TWO_DAYS)]


def closed(env: TenantEnvironment) -> list[str]:
    """Close both days; the standing closes' digests."""
    reconcile.close(env, env.tenant.package("psp_vs_bank"), TWO_DAYS)
    return [one.digest.hex() for one in closes.history(env, "psp_vs_bank") if one.state == "published"]


@pytest.fixture(scope="module")
def undisturbed(house: House) -> list[str]:
    """The digests of a tenant with the same data whose processes were left alone."""
    with a_tenant(house) as (_, env):
        assert published(env) == ["published"] * 4
        digests = closed(env)
    assert len(digests) == 2
    return digests


def killed(house: House, tenant: str, work: str, point: str) -> None:
    """Start the child, wait until it stands at the point, and kill it."""
    child = subprocess.Popen(
        [sys.executable, "-m", "actuals_pipelines_tests.journeys.stopping_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None and child.stdout is not None
    with child:
        child.stdin.write(json.dumps({"home": str(house.home.root), "tenant": tenant, "work": work, "point": point}))
        child.stdin.close()
        said = child.stdout.readline().strip()
        child.kill()  # SIGKILL
    assert said == "stopped"


@pytest.mark.parametrize("point", ["1", "before commit"], ids=["a file is written", "before the commit"])
def test_publishing_that_is_killed_shows_nothing_half_and_is_completed(
    house: House, undisturbed: list[str], point: str
) -> None:
    with a_tenant(house) as (name, env):
        before = catalogue.waiting(env, now=datetime.now(UTC))

        killed(house, name, "publish", point)

        assert control_totals(env, "psp") == {}
        assert catalogue.waiting(env, now=datetime.now(UTC)) == before == {"psp": TWO, "bank": TWO}
        assert published(env) == ["published"] * 4
        assert closed(env) == undisturbed


@pytest.mark.parametrize("point", ["1", "before commit"], ids=["a file is written", "before the commit"])
def test_a_close_that_is_killed_does_not_stand_and_is_completed(
    house: House, undisturbed: list[str], point: str
) -> None:
    """The lock is free again; what the killed process wrote is garbage."""
    with a_tenant(house) as (name, env):
        published(env)

        killed(house, name, "close", point)

        assert closes.history(env, "psp_vs_bank") == []
        assert closed(env) == undisturbed
        assert collect_garbage(env, datetime.now(UTC) + timedelta(minutes=1)) > 0
        assert closed(env) == undisturbed
