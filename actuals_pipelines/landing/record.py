"""Writing units into the catalogue: the same content again is recorded, and not processed."""

from __future__ import annotations

from datetime import date
from uuid import UUID, uuid4

import sqlalchemy as sa

from actuals_pipelines.database import tables, units
from actuals_pipelines.domain.source import ProcessingSet, Source
from actuals_pipelines.domain.unit import Unit
from actuals_pipelines.landing.raw import Sealed


def record_unit(
    connection: sa.Connection,
    source: Source,
    source_id: UUID,
    partition: date,
    delivery: str,
    *,
    sealed: Sealed,
    name_sealed: bytes | None = None,
    may_repeat: bool = True,
) -> Unit:
    """Insert one unit.

    Args:
        may_repeat: whether equal content makes it a repeat. Not for inbox batches, whose events are told apart by
            their idempotency keys: two batches may well be equal.
    """
    repeat_of = _repeat_of(connection, source, source_id, partition, sealed.digest) if may_repeat else None
    unit_id = uuid4()
    connection.execute(
        sa.insert(tables.unit).values(
            id=unit_id,
            source_id=source_id,
            partition=partition,
            delivery=delivery,
            digest=sealed.digest,
            path=sealed.path,
            container_sha256=sealed.container_sha256,
            sealed_key=sealed.sealed_key,
            size_bytes=sealed.size_bytes,
            name_sealed=name_sealed,
            repeat_of=repeat_of,
        )
    )
    [unit] = units.units_where(connection, tables.unit.c.id == unit_id)
    return unit


def lock_landing(connection: sa.Connection, source_id: UUID) -> None:
    """Two equal deliveries at the same time must see one another, or neither would be the repeat."""
    key = sa.func.hashtextextended(f"land {source_id}", 0)
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def _repeat_of(
    connection: sa.Connection, source: Source, source_id: UUID, partition: date, digest: bytes
) -> UUID | None:
    """The unit that this content repeats.

    Added content repeats whatever came before. Where a unit replaces others, only the newest can be repeated: content
    that was replaced and comes back must be processed again.
    """
    u = tables.unit
    query = sa.select(u.c.id, u.c.digest, u.c.repeat_of).where(u.c.source_id == source_id)
    if source.publishes is ProcessingSet.ADD:
        found = connection.execute(query.where(u.c.digest == digest).order_by(u.c.sequence).limit(1)).first()
    else:
        if source.publishes is ProcessingSet.REPLACE:
            query = query.where(u.c.partition == partition)
        found = connection.execute(query.order_by(u.c.sequence.desc()).limit(1)).first()
    if found is None or found.digest != digest:
        return None
    repeated: UUID = found.repeat_of or found.id
    return repeated
