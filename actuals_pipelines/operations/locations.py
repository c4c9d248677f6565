"""Which code locations a home runs, whom each serves, and what its process may open.

Tenants share the common location unless their file says `isolation: process`: then a location serves them alone.
No location is given the home's KEK. It gets a key of its own, derived from it, and a projection: copies of the views
and keyrings of the tenants it serves, sealed under that key, in a folder that exists while the home runs. To the code
in it this is the home; another tenant's view or keyring does not open there.
"""

from __future__ import annotations

import base64
import logging
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from actuals_pipelines.encryption.keyring import project_keyring
from actuals_pipelines.encryption.providers import EnvironmentProvider, KeyProvider, platform_key, provider_for
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.loaded import LoadedTenant, load_tenants
from actuals_pipelines.settings import COMMON_LOCATION, Home, location_environment
from actuals_pipelines.tenants.environment import keyring_path
from actuals_pipelines.tenants.projections import write_location_view

log = logging.getLogger(__name__)

COMMON = COMMON_LOCATION


@dataclass(frozen=True, slots=True)
class Location:
    """One code location: a process of its own, and the tenants it serves."""

    name: str
    isolation: str  # shared | process
    tenants: tuple[str, ...]  # asset prefixes


def location_of(loaded: LoadedTenant) -> str:
    """The location that serves a tenant's environment."""
    return f"tenant_{loaded.asset_prefix}" if loaded.tenant.isolation == "process" else COMMON


def locations_of(tenants: Sequence[LoadedTenant]) -> list[Location]:
    """The common location, which is always there, then one for each tenant that has a process of its own."""
    served: dict[str, list[str]] = defaultdict(list)
    for loaded in tenants:
        served[location_of(loaded)].append(loaded.asset_prefix)
    common = Location(COMMON, "shared", tuple(served.pop(COMMON, ())))
    return [common, *(Location(name, "process", tuple(prefixes)) for name, prefixes in sorted(served.items()))]


def project(home: Home) -> dict[str, dict[str, str]]:
    """Write every location's projection anew, as the tenants' views are now; those of others are taken away.

    Returns:
        location name -> what its process gets to find and open its projection.
    """
    provider = provider_for(home)
    tenants = load_tenants(home)
    environments = {one.name: _environment(home, one.name, provider) for one in locations_of(tenants)}
    for folder in home.projections.iterdir() if home.projections.exists() else ():
        if folder.name not in environments:
            shutil.rmtree(folder)
    for name in environments:
        _project(home, name, [loaded for loaded in tenants if location_of(loaded) == name], provider)
    return environments


def forget_projections(home: Home) -> None:
    """The home does not run any more: its projections go."""
    shutil.rmtree(home.projections, ignore_errors=True)


def _project(home: Home, name: str, tenants: Sequence[LoadedTenant], provider: KeyProvider) -> None:
    seen = home.projected(name)
    for folder in (seen.locations, seen.keyrings):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = EnvironmentProvider(_key(home, name, provider))
    key = platform_key(own, home.uuid, "locations")
    kept = set()
    for loaded in tenants:
        target = keyring_path(seen, loaded.ref)
        try:
            project_keyring(keyring_path(home, loaded.ref), target, loaded.ref, provider, own)
        except ActualsError as error:  # one tenant's lost keyring must not stop the others
            log.error("tenant left out: tenant=%s kind=%s", loaded.ref.uuid, type(error).__name__)
            continue
        kept |= {target, write_location_view(seen.locations, key, loaded.view)}
    for path in (*seen.locations.iterdir(), *seen.keyrings.iterdir()):
        if path not in kept:
            path.unlink()


def _environment(home: Home, name: str, provider: KeyProvider) -> dict[str, str]:
    return location_environment(name, _key(home, name, provider))


def _key(home: Home, name: str, provider: KeyProvider) -> str:
    return base64.b64encode(provider.derive(f"location {name}", home.uuid.bytes)).decode()
