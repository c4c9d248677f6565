"""Let a running home take up a tenant's new file: reload its code location, and wait until its assets are listed.

The reload goes to the code server, which the web server and the daemon share: the web server answers with the new
assets, and the daemon, which asks the code server every second whether it changed, follows within a second or two.
A run in flight goes on with what it was started with. A tenant that got a process of its own, or gave it back, has
another location: then that process is started or stopped first, and the workspace is read again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from actuals_pipelines.domain.tenant import Tenant, TenantRef
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.dagster_home import write_workspace
from actuals_pipelines.operations.loaded import asset_prefix
from actuals_pipelines.operations.locations import COMMON
from actuals_pipelines.operations.platform_credentials import read_platform_credentials
from actuals_pipelines.operations.running import dagster_of, running
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.operations.services import location_services
from actuals_pipelines.operations.supervisor import follow_locations
from actuals_pipelines.settings import Home

TIMEOUT_SECONDS = 120


class AssetsNotTakenUp(ActualsError):
    """A tenant was applied, but the running home does not list its assets."""

    def __init__(self, tenant: str) -> None:
        super().__init__(tenant)
        self.tenant = tenant

    def __str__(self) -> str:
        return (
            f"Tenant {self.tenant!r} is applied, but its assets are not listed after {TIMEOUT_SECONDS} seconds. "
            "See its code location's log (`actuals status` names it), then apply the file again."
        )


def reload_and_wait(home: Home, tenant: Tenant, ref: TenantRef) -> bool:
    """Reload a running home and wait until it lists the tenant's assets; false if the home is not running.

    Raises:
        DagsterRefused: the code location cannot be loaded. AssetsNotTakenUp: it can, and the assets are missing.
    """
    found = running(home)
    if found is None:
        return False
    prefix = asset_prefix(tenant.name, ref)
    client = dagster_of(home, found)
    with running_postgres(home) as platform:
        passwords = read_platform_credentials(home, platform.provider)
        locations = location_services(platform, passwords, found.sockets, found.look_every_seconds)
    own = f"tenant_{prefix}" if tenant.isolation == "process" else COMMON
    if follow_locations(locations, home.run / "logs", found.sockets):
        write_workspace(home, found.sockets, [location.name for location in locations])
        _wait(tenant.name, lambda: client.reload_workspace().get(own, False))
    for name in {own, COMMON}:  # the common one may have lost it to a process of its own
        client.reload(name)
    expected = dict.fromkeys(_assets(tenant, prefix), own)
    _wait(tenant.name, lambda: not expected.items() - client.locations_of_assets().items())
    return True


def _wait(name: str, is_done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not is_done():
        if time.monotonic() > deadline:
            raise AssetsNotTakenUp(name)
        time.sleep(0.5)


def _assets(tenant: Tenant, prefix: str) -> Iterable[tuple[str, ...]]:
    for source in tenant.sources:
        yield from ((prefix, source.name, step) for step in ("raw", "validated", "stored"))
    for package in tenant.packages:
        yield (prefix, package.name, "reconciliation")
