"""Writing units into the catalogue: the same content again is recorded, and not processed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID, uuid4

import sqlalchemy as sa

from actuals_pipelines.database import tables, units
from actuals_pipelines.domain.source import ProcessingSet, Source
from actuals_pipelines.domain.unit import Unit
from actuals_pipelines.landing.raw import Sealed


@dataclass(frozen=True, slots=True)
class Delivery:
    """What becomes one unit."""

    partition: date
    name: str  # what tells it from others of its day: the unit's `delivery`
    sealed: Sealed
    name_sealed: bytes | None = None  # the file's own


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
    """Insert one unit; see `record_units`."""
    one = Delivery(partition, delivery, sealed, name_sealed)
    [unit] = record_units(connection, source, source_id, [one], may_repeat=may_repeat)
    return unit


def record_units(
    connection: sa.Connection,
    source: Source,
    source_id: UUID,
    deliveries: Sequence[Delivery],
    *,
    may_repeat: bool = True,
) -> list[Unit]:
    """Insert units in the order in which they were delivered; the caller holds `lock_landing`.

    Args:
        may_repeat: whether equal content makes it a repeat. Not for inbox batches, whose events are told apart by
            their idempotency keys: two batches may well be equal.
    """
    ids = [uuid4() for _ in deliveries]
    repeats = _repeats(connection, source, source_id, list(zip(ids, deliveries, strict=True))) if may_repeat else {}
    rows = [
        {
            "id": unit_id,
            "source_id": source_id,
            "partition": each.partition,
            "delivery": each.name,
            "digest": each.sealed.digest,
            "path": each.sealed.path,
            "container_sha256": each.sealed.container_sha256,
            "sealed_key": each.sealed.sealed_key,
            "size_bytes": each.sealed.size_bytes,
            "name_sealed": each.name_sealed,
            "repeat_of": repeats.get(unit_id),
        }
        for unit_id, each in zip(ids, deliveries, strict=True)
    ]
    connection.execute(sa.insert(tables.unit), rows)
    return units.units_where(connection, tables.unit.c.id.in_(ids))


def lock_landing(connection: sa.Connection, source_id: UUID) -> None:
    """Two equal deliveries at the same time must see one another, or neither would be the repeat."""
    key = sa.func.hashtextextended(f"land {source_id}", 0)
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def _repeats(
    connection: sa.Connection, source: Source, source_id: UUID, deliveries: Sequence[tuple[UUID, Delivery]]
) -> dict[UUID, UUID]:
    """Unit id -> the unit that it repeats.

    Added content repeats whatever came before. Where a unit replaces others, only the newest can be repeated: content
    that was replaced and comes back must be processed again.
    """
    u = tables.unit
    query = sa.select(u.c.id, u.c.digest, u.c.partition, u.c.repeat_of).where(u.c.source_id == source_id)
    if source.publishes is ProcessingSet.ADD:
        query = query.where(u.c.digest.in_([each.sealed.digest for _, each in deliveries])).order_by(u.c.sequence)
    elif source.publishes is ProcessingSet.REPLACE:
        days = {each.partition for _, each in deliveries}
        newest = query.where(u.c.partition.in_(days)).distinct(u.c.partition)
        query = newest.order_by(u.c.partition, u.c.sequence.desc())
    else:
        query = query.order_by(u.c.sequence.desc()).limit(1)

    def place(digest: bytes, partition: date) -> object:
        """Deliveries of one place are compared with one another."""
        if source.publishes is ProcessingSet.ADD:
            return digest
        return partition if source.publishes is ProcessingSet.REPLACE else None

    there: dict[object, tuple[UUID, bytes]] = {}
    for row in connection.execute(query):
        there.setdefault(place(row.digest, row.partition), (row.repeat_of or row.id, row.digest))
    found: dict[UUID, UUID] = {}
    for unit_id, each in deliveries:
        at = place(each.sealed.digest, each.partition)
        before = there.get(at)
        if before is not None and before[1] == each.sealed.digest:
            found[unit_id] = before[0]
        else:
            there[at] = (unit_id, each.sealed.digest)
    return found
