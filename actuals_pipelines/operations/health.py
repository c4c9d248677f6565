"""Whether a home's services do their work: each is asked, none is believed."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import sqlalchemy as sa

from actuals_pipelines.database.server import engine
from actuals_pipelines.encryption.providers import provider_for
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.landing import count_stuck
from actuals_pipelines.operations.dagster_client import DagsterRefused
from actuals_pipelines.operations.loaded import LoadedTenant, load_tenants
from actuals_pipelines.operations.locations import COMMON, Location, location_of, locations_of
from actuals_pipelines.operations.platform_credentials import DAGSTER, read_platform_credentials
from actuals_pipelines.operations.running import Running, dagster_of, running, trusted
from actuals_pipelines.settings import Home


@dataclass(frozen=True, slots=True)
class Health:
    """What `actuals status` tells of one service."""

    name: str
    url: str
    healthy: bool
    fingerprint: str | None = None  # of the sFTP drop's host key: what a sender compares at the first connection


@dataclass(frozen=True, slots=True)
class LocationHealth:
    """What `actuals status` tells of one code location, which is a process of its own."""

    name: str
    isolation: str  # shared | process
    tenants: tuple[str, ...]  # that it serves
    healthy: bool  # Dagster has loaded it


def health(home: Home) -> list[Health]:
    """Ask each service whether it does its work; all unhealthy where the home is not running."""
    found = running(home)
    if found is None:
        return [Health(name, "", False) for name in ("postgres", "inbox", "sftp", "dagster", "daemon")]
    passwords = read_platform_credentials(home, provider_for(home))
    address = found.postgres
    database = engine(address, "dagster", "dagster", passwords[DAGSTER], name="actuals health")
    try:
        return [
            Health("postgres", f"postgresql://{address.host}:{address.port}", _answers(database, "select 1")),
            Health("inbox", found.url("inbox"), _is_up(home, f"{found.url('inbox')}/health")),
            Health("sftp", found.url("sftp"), _greets(found.ports["sftp"]), _fingerprint(home)),
            # It answers and lists the common location as loaded; a tenant's own location stands for itself.
            Health("dagster", found.url("dagster"), _loaded_locations(home, found).get(COMMON, False)),
            Health("daemon", "", _answers(database, _HEARTBEAT)),
        ]
    finally:
        database.dispose()


def location_health(home: Home) -> list[LocationHealth]:
    """Each code location that the home's tenants ask for, and whether Dagster has loaded it."""
    found = running(home)
    loaded = _loaded_locations(home, found) if found else {}

    def state(one: Location) -> LocationHealth:
        return LocationHealth(one.name, one.isolation, one.tenants, loaded.get(one.name, False))

    return [state(one) for one in locations_of(load_tenants(home))]


_HEARTBEAT = (
    "select 1 from daemon_heartbeats where daemon_type = 'SENSOR' "
    "and timestamp > (now() at time zone 'utc') - interval '90 seconds'"  # it is written every 30
)


def status_document(home: Home) -> dict[str, Any]:
    """What `actuals status --json` prints."""
    is_running = running(home) is not None
    return {
        "home": str(home.root),
        "ca_certificate": str(home.tls / "ca.pem"),
        "asked_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "services": [asdict(one) for one in health(home)],
        "locations": [asdict(one) for one in location_health(home)],
        "tenants": [
            {
                "name": one.asset_prefix,
                "isolation": one.tenant.isolation,
                "location": location_of(one),
                "arrivals_stuck": _arrivals_stuck(one) if is_running else None,
            }
            for one in load_tenants(home)
        ],
    }


def _arrivals_stuck(tenant: LoadedTenant) -> int | None:
    """What arrived and no run will take; None where the tenant cannot be asked, which must not hide the others."""
    try:
        with tenant.opened("status") as environment:
            found = count_stuck(environment)
            environment.close()
            return found
    except ActualsError:
        return None


def _loaded_locations(home: Home, found: Running) -> dict[str, bool]:
    """The locations that the web server lists, and whether each is loaded; none where it does not answer."""
    try:
        return dagster_of(home, found, timeout_seconds=10).locations()
    except (DagsterRefused, httpx.HTTPError, OSError):
        return {}


def _is_up(home: Home, url: str) -> bool:
    try:
        return httpx.get(url, verify=trusted(home), timeout=5, trust_env=False).status_code == httpx.codes.OK
    except (httpx.HTTPError, OSError):
        return False


def _fingerprint(home: Home) -> str | None:
    from actuals_pipelines.sources.sftp.host_key import fingerprint  # noqa: PLC0415 - loads asyncssh

    return fingerprint(home)


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _answers(database: sa.Engine, question: str) -> bool:
    try:
        with database.connect() as connection:
            return connection.execute(sa.text(question)).scalar() == 1
    except sa.exc.SQLAlchemyError:
        return False


def all_healthy(states: Sequence[Health]) -> bool:
    """Whether every service does its work."""
    return all(state.healthy for state in states)
