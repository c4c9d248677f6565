"""The tenants that one process serves, each opened on first use and guarded ever after."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial

from actuals_pipelines.domain.package import MatchingPackage
from actuals_pipelines.domain.source import Source
from actuals_pipelines.domain.tenant import Tenant, TenantRef
from actuals_pipelines.encryption.providers import platform_key, provider_for
from actuals_pipelines.errors import guarded
from actuals_pipelines.operations.error_store import keep_error
from actuals_pipelines.settings import Home, HomeNotFound, find_home
from actuals_pipelines.tenants.environment import TenantEnvironment, open_environment
from actuals_pipelines.tenants.parse import parse_tenant
from actuals_pipelines.tenants.projections import LocationView, read_location_views
from actuals_pipelines.tenants.registry import TenantUnknown
from actuals_pipelines.yaml_text import YamlRefused

log = logging.getLogger(__name__)


@dataclass(slots=True)
class LoadedTenant:
    """One tenant and environment, as its location view says it at the time of loading."""

    home: Home
    view: LocationView
    tenant: Tenant
    _environment: TenantEnvironment | None = field(default=None, repr=False)

    @property
    def ref(self) -> TenantRef:
        """The tenant's opaque id and environment."""
        return self.view.ref

    @property
    def asset_prefix(self) -> str:
        """See `asset_prefix`."""
        return asset_prefix(self.tenant.name, self.ref)

    @property
    def pool(self) -> str:
        """Dagster's pool of this tenant: one run at a time touches it."""
        return f"tenant_{self.asset_prefix}"

    def mapping_version(self, source: Source) -> str:
        """Changes when anything does that decides what the source's transactions look like."""
        return _digest([asdict(replace(source, expected=None)), [asdict(scheme) for scheme in self.tenant.ids]])

    def package_version(self, package: MatchingPackage) -> str:
        """Changes when the package does."""
        return _digest(asdict(package))

    @contextmanager
    def opened(self, place: str = "a step") -> Iterator[TenantEnvironment]:
        """The tenant's database and keys. A foreign error inside is replaced by ours; the original is kept sealed."""
        if self._environment is None:
            self._environment = open_environment(self.home, self.view)
        environment = self._environment
        with guarded(f"{place} of {self.asset_prefix}", partial(keep_error, environment)):
            yield environment


def load_tenants(home: Home | None = None) -> list[LoadedTenant]:
    """Every tenant of this home's location views, by name. None where there is no home yet: a location loads empty.

    One whose configuration does not fit any more is logged and left out: it must not stop the others.
    """
    try:
        home = home or find_home()
    except HomeNotFound:
        return []
    loaded = []
    for view in _views(home):
        try:
            loaded.append(_loaded(home, view))
        except YamlRefused as error:
            log.error("tenant left out: tenant=%s kind=%s", view.ref.uuid, type(error).__name__)
    return sorted(loaded, key=lambda one: one.asset_prefix)


def load_tenant(home: Home, name: str) -> LoadedTenant:
    """The tenant of this name ("acme", or "acme_test" for its test environment). Raises TenantUnknown, YamlRefused."""
    views = {asset_prefix(view.name, view.ref): view for view in _views(home)}
    if name not in views:
        raise TenantUnknown(name, tuple(sorted(views)))
    return _loaded(home, views[name])


def asset_prefix(name: str, ref: TenantRef) -> str:
    """The first part of a tenant's asset keys: its name; `acme_test` for its test environment."""
    return name if ref.environment == "prod" else f"{name}_{ref.environment}"


def _views(home: Home) -> list[LocationView]:
    return read_location_views(home.locations, platform_key(provider_for(home), home.uuid, "locations"))


def _loaded(home: Home, view: LocationView) -> LoadedTenant:
    return LoadedTenant(home, view, parse_tenant(view.yaml, origin=view.name))


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, default=str, sort_keys=True).encode()).hexdigest()[:16]
