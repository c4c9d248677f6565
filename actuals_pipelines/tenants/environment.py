"""A tenant's environment, opened: what every operation on a tenant takes as its first argument."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from actuals_pipelines.database import server
from actuals_pipelines.domain.tenant import Tenant, TenantRef
from actuals_pipelines.encryption.keyring import TenantKeys, open_keyring
from actuals_pipelines.encryption.providers import platform_key, provider_for
from actuals_pipelines.settings import Home
from actuals_pipelines.tenants.parse import parse_tenant
from actuals_pipelines.tenants.projections import DatabaseLogin, LocationView, read_location_views
from actuals_pipelines.tenants.registry import TenantUnknown


@dataclass(frozen=True, slots=True)
class TenantEnvironment:
    """One tenant's database (role `app`), keys and files, in one process."""

    ref: TenantRef
    tenant: Tenant
    engine: sa.Engine
    keys: TenantKeys
    prefix: Path  # the folder of its encrypted files

    def close(self) -> None:
        """Give the database connections back."""
        self.engine.dispose()


def open_environment(home: Home, tenant: LocationView | str, environment: str = "prod") -> TenantEnvironment:
    """Open a tenant's environment in the process that works for it.

    Args:
        tenant: its location view, or its name, by which the view is looked up.

    Raises:
        TenantUnknown, ViewRefused: there is no view, or it does not open.
        KekMissing, KeyringMissing, KeyringRefused: its keys do not open.
    """
    provider = provider_for(home)
    if isinstance(tenant, str):
        tenant = _view(home, platform_key(provider, home.uuid, "locations"), tenant, environment)
    return TenantEnvironment(
        ref=tenant.ref,
        tenant=parse_tenant(tenant.yaml, origin=tenant.name),
        engine=login_engine(tenant.login, name=f"actuals {tenant.name}"),
        keys=open_keyring(keyring_path(home, tenant.ref), tenant.ref, provider),
        prefix=home.data / tenant.prefix,
    )


def login_engine(login: DatabaseLogin, name: str = "actuals") -> sa.Engine:
    """An engine for a view's login."""
    return server.engine(login.address, login.database, login.role, login.password, name=name)


def keyring_path(home: Home, ref: TenantRef) -> Path:
    """Where an environment's keyring lies: an opaque name, outside the database and the data."""
    return home.keyrings / f"{ref.prefix}.json"


def _view(home: Home, key: bytes, name: str, environment: str) -> LocationView:
    views = [view for view in read_location_views(home.locations, key) if view.ref.environment == environment]
    found = next((view for view in views if view.name == name), None)
    if found is None:
        raise TenantUnknown(name, tuple(view.name for view in views))
    return found
