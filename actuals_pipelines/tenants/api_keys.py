"""API keys of the inbox as the control database keeps them: owner, mode, scope and hash, never the key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from actuals_pipelines.database.tables import api_key
from actuals_pipelines.errors import ConfigurationError
from actuals_pipelines.tenants.audit import record_on_platform
from actuals_pipelines.tenants.projections import ApiKeyView, SigningView


class ApiKeyUnknown(ConfigurationError):
    """A tenant has no API key of that id."""

    def __init__(self, tenant: str, key_id: str) -> None:
        super().__init__(tenant, key_id)
        self.tenant, self.key_id = tenant, key_id

    def __str__(self) -> str:
        return (
            f"Tenant {self.tenant!r} has no API key with the id {self.key_id!r}. `actuals api-key list {self.tenant}` "
            "shows their ids; the id is the part of the key between its first two underscores."
        )


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key with when it was made."""

    view: ApiKeyView
    created_at: datetime
    replaces: str | None = None


def add_api_key(control: sa.Engine, tenant_id: UUID, key: ApiKeyView) -> None:
    """Keep a new key's description."""
    with control.begin() as connection:
        _insert(connection, tenant_id, key)
        record_on_platform(connection, tenant_id, "api-key.create", f"{key.key_id} ({key.mode})")


def replace_api_key(control: sa.Engine, tenant_id: UUID, old: ApiKeyView, new: ApiKeyView, until: datetime) -> None:
    """Keep a new key in place of an old one, which is refused from `until` on, or from when it was over anyway."""
    ends = sa.func.least(sa.func.coalesce(api_key.c.expires_at, until), until)
    with control.begin() as connection:
        _insert(connection, tenant_id, new, replaces=old.key_id)
        connection.execute(sa.update(api_key).where(api_key.c.id == old.key_id).values(expires_at=ends))
        record_on_platform(connection, tenant_id, "api-key.rotate", f"{old.key_id} -> {new.key_id}")


def _insert(connection: sa.Connection, tenant_id: UUID, key: ApiKeyView, replaces: str | None = None) -> None:
    row = {
        "id": key.key_id,
        "tenant_id": tenant_id,
        "mode": key.mode,
        "owner": key.owner,
        "owner_kind": key.owner_kind,
        "hash": key.hash,
        "sources": list(key.sources) if key.sources is not None else sa.null(),
        "expires_at": key.expires_at,
        "signing_algorithm": key.signing.algorithm if key.signing else None,
        "signing_key": key.signing.key if key.signing else None,
        "certificate": key.certificate,
        "networks": list(key.networks) if key.networks is not None else sa.null(),
        "replaces": replaces,
    }
    connection.execute(sa.insert(api_key).values(row))


def list_api_keys(control: sa.Engine, tenant_id: UUID) -> list[ApiKey]:
    """Every key of a tenant, revoked and expired ones too, oldest first."""
    query = sa.select(api_key).where(api_key.c.tenant_id == tenant_id).order_by(api_key.c.created_at, api_key.c.id)
    with control.connect() as connection:
        rows = connection.execute(query).all()
    return [
        ApiKey(
            ApiKeyView(
                key_id=row.id,
                hash=bytes(row.hash),
                mode=row.mode,
                owner=row.owner,
                expires_at=row.expires_at,
                revoked_at=row.revoked_at,
                sources=tuple(row.sources) if row.sources is not None else None,
                owner_kind=row.owner_kind,
                signing=SigningView(row.signing_algorithm, bytes(row.signing_key)) if row.signing_algorithm else None,
                certificate=bytes(row.certificate) if row.certificate is not None else None,
                networks=tuple(row.networks) if row.networks is not None else None,
            ),
            row.created_at,
            row.replaces,
        )
        for row in rows
    ]


def find_api_key(control: sa.Engine, tenant_id: UUID, tenant: str, key_id: str) -> ApiKey:
    """One key of a tenant. Raises ApiKeyUnknown."""
    for key in list_api_keys(control, tenant_id):
        if key.view.key_id == key_id:
            return key
    raise ApiKeyUnknown(tenant, key_id)


def mark_revoked(control: sa.Engine, tenant_id: UUID, tenant: str, key_id: str, now: datetime) -> None:
    """Revoke a key; one that is revoked already stays as it was. Raises ApiKeyUnknown."""
    is_it = (api_key.c.id == key_id) & (api_key.c.tenant_id == tenant_id)
    update = sa.update(api_key).where(is_it).values(revoked_at=sa.func.coalesce(api_key.c.revoked_at, now))
    with control.begin() as connection:
        if connection.execute(update).rowcount == 0:
            raise ApiKeyUnknown(tenant, key_id)
        record_on_platform(connection, tenant_id, "api-key.revoke", key_id)
