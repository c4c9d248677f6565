"""Landing a stream that an operator or a pull hands over."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, BinaryIO
from uuid import UUID, uuid4

import sqlalchemy as sa

from actuals_pipelines.database import tables, units
from actuals_pipelines.domain.source import Source
from actuals_pipelines.domain.unit import Unit
from actuals_pipelines.encryption.columns import seal_to_public
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.landing import raw
from actuals_pipelines.landing.raw import Written
from actuals_pipelines.landing.record import Delivery, lock_landing, record_unit, record_units
from actuals_pipelines.tenants import audit

if TYPE_CHECKING:
    from actuals_pipelines.tenants.environment import TenantEnvironment

log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20


class EmptyDelivery(ActualsError):
    """A delivery has no bytes: a broken export looks like this, an empty day does not."""

    def __init__(self, source: str, delivery: str) -> None:
        super().__init__(source, delivery)
        self.source, self.delivery = source, delivery

    def __str__(self) -> str:
        return (
            f"Delivery {self.delivery!r} for source {self.source!r} has no bytes, so it was not landed. "
            "Look whether the export failed; a day without transactions still has a header or an empty list."
        )


def land(
    env: TenantEnvironment,
    source: Source,
    stream: BinaryIO,
    *,
    door: str,
    delivery: str,
    partition: date,
    name: str | None = None,
) -> Unit:
    """Seal a stream and make it a unit, in one transaction with its arrival. Memory: a few chunks.

    Args:
        door: upload | pull | fetch.
        delivery: what tells this delivery from others of its day (a pull's window and time, an upload's id). The same
            delivery with the same content is landed once: the unit that is there is returned.
        partition: the source-day.
        name: the file's own name; kept sealed.

    Raises:
        EmptyDelivery: no bytes.
    """
    with env.engine.begin() as connection:
        source_id = units.source_id(connection, source.name)
    arrival_id = uuid4()
    sealed = raw.seal(env, source_id, arrival_id, _chunks(stream))
    if sealed.size_bytes == 0:
        raw.discard(env, arrival_id)
        raise EmptyDelivery(source.name, delivery)
    name_sealed = None if name is None else _sealed_name(env, arrival_id, name)
    u = tables.unit
    with env.engine.begin() as connection:
        lock_landing(connection, source_id)
        mine = (u.c.source_id == source_id, u.c.partition == partition, u.c.digest == sealed.digest)
        known = units.units_where(connection, *mine, u.c.delivery == delivery)
        if known:
            raw.discard(env, arrival_id)
            return known[0]
        connection.execute(
            sa.insert(tables.arrival).values(
                _arrival(source_id, door, Delivery(partition, delivery, sealed, name_sealed))
            )
        )
        unit = record_unit(connection, source, source_id, partition, delivery, sealed=sealed, name_sealed=name_sealed)
        if door == "upload":
            audit.record(connection, "source.upload", unit.id)
    log.info("unit landed: tenant=%s unit=%s door=%s repeat_of=%s", env.ref.uuid, unit.id, door, unit.repeat_of)
    return unit


def land_fetched(
    env: TenantEnvironment,
    connection: sa.Connection,
    source: Source,
    source_id: UUID,
    fetched: Sequence[tuple[Written, str, date, str]],
) -> list[Unit]:
    """Make units of files that were fetched, in the caller's transaction, in which it notes that it has them.

    A failure, or a transaction that is not committed, leaves containers that nobody can open (`delete_unnamed`).

    Args:
        fetched: each container that was written aside, with its delivery, day and name.
    """
    kept = raw.keep(env, [written for written, _, _, _ in fetched])
    deliveries = [
        Delivery(day, delivery, sealed, _sealed_name(env, sealed.file_id, name))
        for sealed, (_, delivery, day, name) in zip(kept, fetched, strict=True)
    ]
    lock_landing(connection, source_id)
    rows = [_arrival(source_id, "fetch", each) for each in deliveries]
    connection.execute(sa.insert(tables.arrival), rows)
    return record_units(connection, source, source_id, deliveries)


def _arrival(source_id: UUID, door: str, delivery: Delivery) -> dict[str, object]:
    sealed = delivery.sealed
    return {
        "id": sealed.file_id,
        "door": door,
        "source_id": source_id,
        "delivery": delivery.name,
        "name_sealed": delivery.name_sealed,
        "partition": delivery.partition,
        "path": sealed.path,
        "size_bytes": sealed.size_bytes,
        "container_sha256": sealed.container_sha256,
        "content_mac": sealed.digest,
    }


def _sealed_name(env: TenantEnvironment, arrival_id: UUID, name: str) -> bytes:
    return seal_to_public(env.keys.public_key, raw.NAME_KIND, arrival_id, name.encode())


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk
