"""The home's server runs for as long as somebody needs it, and no longer."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from actuals_pipelines.database.embedded import EmbeddedPostgres
from actuals_pipelines.encryption.providers import provider_for
from actuals_pipelines.operations.init_home import init_home
from actuals_pipelines.operations.platform_credentials import read_platform_credentials
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines_tests.operations.conftest import NOW


def test_the_last_who_leaves_stops_a_server_that_a_command_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTUALS_KEYS", str(tmp_path / "keys"))
    home = init_home(tmp_path / "home", NOW).home
    server = EmbeddedPostgres(home, read_platform_credentials(home, provider_for(home))["superuser"])

    first, second = running_postgres(home), running_postgres(home)
    first.__enter__()
    platform = second.__enter__()
    first.__exit__(None, None, None)

    assert is_running(server) is True
    with platform.control.connect() as connection:
        assert connection.execute(sa.text("select 1")).scalar() == 1
    second.__exit__(None, None, None)
    assert is_running(server) is False


def test_a_server_that_was_running_already_is_used_and_left_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTUALS_KEYS", str(tmp_path / "keys"))
    home = init_home(tmp_path / "home", NOW).home
    server = EmbeddedPostgres(home, read_platform_credentials(home, provider_for(home))["superuser"])
    server.start()

    try:
        with running_postgres(home):
            pass
        assert server.is_running
    finally:
        server.stop()


def is_running(server: EmbeddedPostgres) -> bool:
    """Asked anew each time, which a type checker does not expect of a property."""
    return server.is_running
