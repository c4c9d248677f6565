"""What people did, written in the transaction that does it: nothing is changed without its entry, nor the reverse.

A tenant's own database keeps what happens in it, the control database what is done to the tenant from outside. Both
outboxes are append-only for the roles that write them. Entries hold ids and names; a detail (a reason) is sealed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import sqlalchemy as sa

from actuals_pipelines.database.tables import audit_outbox, platform_audit_outbox
from actuals_pipelines.encryption.columns import open_column, seal_column
from actuals_pipelines.encryption.keyring import TenantKeys
from actuals_pipelines.settings import operator

if TYPE_CHECKING:
    from actuals_pipelines.tenants.environment import TenantEnvironment


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that somebody did."""

    at: datetime
    actor: str  # an opaque id, "uid:1000"
    action: str  # "unit.release", "secret.set", ...
    about: str
    detail: str | None = None


def record(
    connection: sa.Connection,
    action: str,
    about: object,
    *,
    by: str | None = None,
    detail: str | None = None,
    keys: TenantKeys | None = None,
) -> None:
    """Add an entry to the tenant's outbox.

    Args:
        by: who did it; None is the person who runs this process.
        detail: what only the tenant's keys may open again; needs `keys`.
    """
    entry_id, sealed = uuid4(), None
    if detail is not None and keys is not None:
        sealed = seal_column(keys, "audit_outbox", "detail_sealed", entry_id, detail.encode())
    row = {"id": entry_id, "actor": by or operator(), "action": action, "object": str(about), "detail_sealed": sealed}
    connection.execute(sa.insert(audit_outbox).values(row))


def record_on_platform(connection: sa.Connection, tenant_id: UUID, action: str, about: object) -> None:
    """Add an entry about a tenant to the control database's outbox."""
    row = {"tenant_id": tenant_id, "actor": operator(), "action": action, "object": str(about)}
    connection.execute(sa.insert(platform_audit_outbox).values(row))


def entries(environments: Iterable[TenantEnvironment], control: sa.Engine, tenant_id: UUID) -> list[Entry]:
    """All that is recorded about a tenant, in its databases and on the platform, oldest first."""
    found = []
    for env in environments:
        with env.engine.connect() as connection:
            rows = connection.execute(sa.select(audit_outbox).order_by(audit_outbox.c.sequence)).all()
        found += [
            Entry(row.at, row.actor, row.action, row.object, _detail(env, row.id, row.detail_sealed)) for row in rows
        ]
    p = platform_audit_outbox
    with control.connect() as connection:
        rows = connection.execute(sa.select(p).where(p.c.tenant_id == tenant_id).order_by(p.c.sequence)).all()
    found += [Entry(row.at, row.actor, row.action, row.object) for row in rows]
    return sorted(found, key=lambda entry: entry.at)


def _detail(env: TenantEnvironment, entry_id: UUID, sealed: bytes | None) -> str | None:
    return None if sealed is None else open_column(env.keys, "audit_outbox", "detail_sealed", entry_id, sealed).decode()
