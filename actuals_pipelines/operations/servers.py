"""The home's PostgreSQL, running for as long as somebody needs it.

Whoever needs the server holds a shared lock; the last to leave stops it, if it was started here. `actuals up` holds
the lock while it runs, so commands beside it never stop its server; a command alone starts the server for itself.
A command that was killed leaves the server running; the next one uses it, and stops it when it leaves as the last.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from actuals_pipelines.database.embedded import EmbeddedPostgres
from actuals_pipelines.database.server import ServerAddress, administrator, engine, production_address
from actuals_pipelines.encryption.providers import provider_for
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.platform_credentials import (
    CONTROL,
    SERVER,
    SUPERUSER,
    PlatformCredentialsRefused,
    credentials_file,
    read_platform_credentials,
)
from actuals_pipelines.operations.views import write_all_views
from actuals_pipelines.settings import Home

CONTROL_DATABASE = CONTROL_ROLE = "control"


@contextmanager
def running_postgres(home: Home) -> Iterator[Platform]:
    """Use the home's PostgreSQL; started if it is not running, stopped by the last who leaves.

    Raises:
        KekMissing, PlatformCredentialsRefused: the home is not complete; EmbeddedPostgresFailed: it does not start.
    """
    provider = provider_for(home)
    passwords = read_platform_credentials(home, provider)
    if CONTROL not in passwords:
        raise PlatformCredentialsRefused(str(credentials_file(home)), "the home was not made completely")
    with running_server(home, passwords) as (address, admin):
        control = engine(address, CONTROL_DATABASE, CONTROL_ROLE, passwords[CONTROL], name="actuals control")
        platform = Platform(home, provider, address, admin, control)
        try:
            _follow_the_server(platform)
            yield platform
        finally:
            control.dispose()


def _follow_the_server(platform: Platform) -> None:
    """Tell doors and code locations when the server listens elsewhere than at its last start."""
    written, address = platform.home.run / "views.address", repr(platform.address)
    if not written.exists() or written.read_text() != address:
        write_all_views(platform)
        written.write_text(address)


@contextmanager
def running_server(home: Home, passwords: dict[str, str]) -> Iterator[tuple[ServerAddress, sa.Engine]]:
    """The server alone, with its administrator: for `actuals init`, before there is a control database."""
    if SERVER in passwords:
        address, url = production_address(passwords[SERVER])
        admin = administrator(url)
        try:
            yield address, admin
        finally:
            admin.dispose()
        return
    embedded = EmbeddedPostgres(home, passwords[SUPERUSER])
    with _in_use(home, embedded) as address:
        admin = administrator(address.url("postgres", embedded.superuser, passwords[SUPERUSER]))
        try:
            yield address, admin
        finally:
            admin.dispose()


@contextmanager
def _in_use(home: Home, embedded: EmbeddedPostgres) -> Iterator[ServerAddress]:
    home.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    started_here = home.run / "postgres.on_demand"
    with (home.run / "postgres.lock").open("w") as lock:
        # Blocks while another process stops the server, which is bounded by its time limits.
        fcntl.flock(lock, fcntl.LOCK_SH)
        if not embedded.is_running:
            started_here.touch()
        address = embedded.start()
        try:
            yield address
        finally:
            _leave(lock.fileno(), embedded, started_here)


def _leave(lock: int, embedded: EmbeddedPostgres, started_here: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # others still use it; the last of them stops it
    if started_here.exists():
        embedded.stop()
        started_here.unlink(missing_ok=True)
