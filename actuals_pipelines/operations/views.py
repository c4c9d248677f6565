"""Writes what doors and code locations may know: from the registry, the key files and the tenants' own databases."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.database.server import tenant_role
from actuals_pipelines.domain.source import SourceKind
from actuals_pipelines.domain.tenant import Tenant, TenantRef
from actuals_pipelines.encryption.keyring import public_key
from actuals_pipelines.encryption.providers import platform_key
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.tenants.api_keys import list_api_keys
from actuals_pipelines.tenants.credentials import credentials
from actuals_pipelines.tenants.environment import keyring_path, login_engine
from actuals_pipelines.tenants.projections import (
    ApiKeyView,
    DatabaseLogin,
    DoorSource,
    DoorView,
    LocationView,
    SftpView,
    write_door_view,
    write_location_view,
)
from actuals_pipelines.tenants.registry import Registered, list_tenants

log = logging.getLogger(__name__)


def write_views(platform: Platform, registered: Registered, environments: Sequence[str] | None = None) -> None:
    """Write a tenant's door and location views: of the named environments, else of all that are provisioned."""
    keys = [key.view for key in list_api_keys(platform.control, registered.uuid)]
    for environment in registered.environments if environments is None else environments:
        _write(platform, registered, environment, tuple(key for key in keys if key.mode == environment))


def write_all_views(platform: Platform) -> None:
    """Write every tenant's views anew: the server's address changed, or the views were lost.

    A tenant for which that fails is logged and keeps its old views: it must not hold up the others.
    """
    for registered in list_tenants(platform.control):
        try:
            write_views(platform, registered)
        except (ActualsError, sa.exc.SQLAlchemyError) as error:
            log.error("views not written: tenant=%s kind=%s", registered.uuid, type(error).__name__)


def _write(platform: Platform, registered: Registered, environment: str, keys: tuple[ApiKeyView, ...]) -> None:
    home, tenant, ref = platform.home, registered.tenant, registered.ref(environment)
    passwords = credentials(platform.control, platform.provider, ref) or {}
    logins = {
        role: DatabaseLogin.at(platform.address, ref.database, tenant_role(ref, role), password)
        for role, password in passwords.items()
    }
    door = DoorView(
        ref=ref,
        name=tenant.name,
        public_key=public_key(keyring_path(home, ref)),
        login=logins["door"],
        sources=_sources(logins["app"], tenant),
        api_keys=keys,
        sftp=_accounts(tenant, ref),
    )
    location = LocationView(ref, tenant.name, registered.yaml, registered.version, logins["app"])
    # The location first: it must know a source before a door takes anything in for it.
    write_location_view(home.locations, platform_key(platform.provider, home.uuid, "locations"), location)
    write_door_view(home.doors, platform_key(platform.provider, home.uuid, "doors"), door)


def _sources(login: DatabaseLogin, tenant: Tenant) -> dict[str, DoorSource]:
    uuids = _source_uuids(login)
    return {
        source.name: DoorSource(uuids[source.name], source.kind, source.format, source.folder, source.side_file)
        for source in tenant.sources
    }


def _source_uuids(login: DatabaseLogin) -> dict[str, UUID]:
    engine = login_engine(login)
    try:
        with engine.connect() as connection:
            rows = connection.execute(sa.select(tables.source.c.name, tables.source.c.id)).all()
    finally:
        engine.dispose()
    return {row.name: row.id for row in rows}


def _accounts(tenant: Tenant, ref: TenantRef) -> tuple[SftpView, ...]:
    """In the test environment an account's user ends in `_test`: one server serves both."""
    drops = tuple(source.name for source in tenant.sources if source.kind is SourceKind.SFTP)
    suffix = "" if ref.environment == "prod" else f"_{ref.environment}"
    return tuple(
        SftpView(
            f"{account.user}{suffix}",
            account.public_keys,
            account.sources or drops,
            account.addresses,
            account.password_hash,
        )
        for account in tenant.sftp
    )
