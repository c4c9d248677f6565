"""Let a running home take up a tenant's new file: reload the code location, and wait until its assets are listed.

The reload goes to the code server, which the web server and the daemon share: the web server answers with the new
assets, and the daemon, which asks the code server every second whether it changed, follows within a second or two.
A run in flight goes on with what it was started with.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from actuals_pipelines.domain.tenant import Tenant, TenantRef
from actuals_pipelines.encryption.providers import provider_for
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.dagster_client import DagsterClient, DagsterRefused
from actuals_pipelines.operations.services import COOKIE, gateway_token, running
from actuals_pipelines.settings import Home

TIMEOUT_SECONDS = 120
_LOCATION = "actuals"
_RELOAD = """
mutation Reload($location: String!) {
  reloadRepositoryLocation(repositoryLocationName: $location) {
    __typename
    ... on WorkspaceLocationEntry { loadStatus locationOrLoadError { __typename } }
  }
}
"""


class AssetsNotTakenUp(ActualsError):
    """A tenant was applied, but the running home does not list its assets."""

    def __init__(self, tenant: str, missing: int) -> None:
        super().__init__(tenant, missing)
        self.tenant, self.missing = tenant, missing

    def __str__(self) -> str:
        return (
            f"Tenant {self.tenant!r} is applied, but {self.missing} of its assets are not listed after "
            f"{TIMEOUT_SECONDS} seconds. See the log of `location` (`actuals status`), then apply the file again."
        )


def reload_and_wait(home: Home, tenant: Tenant, ref: TenantRef) -> bool:
    """Reload a running home and wait until it lists the tenant's assets; false if the home is not running.

    Raises:
        DagsterRefused: the code location cannot be loaded. AssetsNotTakenUp: it can, and the assets are missing.
    """
    found = running(home)
    if found is None:
        return False
    token = gateway_token(home, provider_for(home), found.nonce)
    client = DagsterClient(found.url("dagster"), (COOKIE, token), str(home.tls / "ca.pem"))
    answer = client.ask(_RELOAD, location=_LOCATION)["reloadRepositoryLocation"]
    loaded = answer.get("locationOrLoadError") or {}
    if answer["__typename"] != "WorkspaceLocationEntry" or loaded.get("__typename") != "RepositoryLocation":
        raise DagsterRefused("reload the tenants", loaded.get("__typename", answer["__typename"]))
    _wait(client, tenant.name, set(_assets(tenant, ref)))
    return True


def _assets(tenant: Tenant, ref: TenantRef) -> Iterable[tuple[str, ...]]:
    prefix = tenant.name if ref.environment == "prod" else f"{tenant.name}_{ref.environment}"
    for source in tenant.sources:
        yield from ((prefix, source.name, step) for step in ("raw", "validated", "stored"))
    for package in tenant.packages:
        yield (prefix, package.name, "reconciliation")


def _wait(client: DagsterClient, name: str, expected: set[tuple[str, ...]]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while missing := expected - client.assets().keys():
        if time.monotonic() > deadline:
            raise AssetsNotTakenUp(name, len(missing))
        time.sleep(0.5)
