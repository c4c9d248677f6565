"""What was pushed to the inbox becomes units: one NDJSON container per source, day and batch."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from actuals_pipelines.database import tables, units
from actuals_pipelines.domain.source import Source
from actuals_pipelines.domain.unit import Unit
from actuals_pipelines.encryption.door import EventRefused, MinuteKey
from actuals_pipelines.encryption.hpke import SealedRefused
from actuals_pipelines.landing import raw
from actuals_pipelines.landing.record import record_unit

if TYPE_CHECKING:
    from actuals_pipelines.tenants.environment import TenantEnvironment

log = logging.getLogger(__name__)

BATCH_ROWS = 100_000
BATCH_BYTES = 256 << 20
_FETCH_ROWS = 1000


def land_inbox(env: TenantEnvironment, source: Source, now: datetime) -> list[Unit]:
    """Land all events of a source that were received up to `now`: test events in the test environment, prod in prod.

    An event's day is the one it was received, in the tenant's time zone. Events and their unit are marked in one
    transaction; a killed process leaves them waiting. An event that does not open is set to `rejected` and logged as
    an error, and the others are landed. Memory: some thousand events.
    """
    with env.engine.begin() as connection:
        source_id = units.source_id(connection, source.name)
    landed = []
    while True:
        batch = _land_batch(env, source, source_id, now)
        if batch.unit is not None:
            landed.append(batch.unit)
            log.info("inbox batch landed: tenant=%s unit=%s events=%s", env.ref.uuid, batch.unit.id, len(batch.taken))
        if not batch.taken and not batch.refused:
            return landed


@dataclass
class _Batch:
    """One pass over the oldest events that wait: those of one day, within bounds."""

    day: date | None = None
    size_bytes: int = 0
    taken: list[UUID] = field(default_factory=list)
    refused: list[UUID] = field(default_factory=list)
    unit: Unit | None = None


def _land_batch(env: TenantEnvironment, source: Source, source_id: UUID, now: datetime) -> _Batch:
    b, batch = tables.inbox_body, _Batch()
    with env.engine.begin() as connection:
        # Rows are locked as they are fetched; another process takes others.
        waiting = (
            sa.select(b, tables.inbox_data_key.c.sealed.label("key_sealed"))
            .join(tables.inbox_data_key, tables.inbox_data_key.c.id == b.c.data_key_id)
            .where(
                b.c.source_id == source_id,
                b.c.state == "received",
                b.c.mode == env.ref.environment,
                b.c.received_at <= now,
            )
            .order_by(b.c.received_at, b.c.receipt_id)
            .limit(BATCH_ROWS)
            .with_for_update(skip_locked=True, of=b)
            .execution_options(yield_per=_FETCH_ROWS)
        )
        rows = connection.execute(waiting)
        first = next(rows, None)
        if first is None:
            return batch
        file_id = uuid4()
        with rows:
            sealed = raw.seal(env, source_id, file_id, _lines(env, batch, first, rows))
        if batch.taken and batch.day is not None:
            batch.unit = record_unit(
                connection, source, source_id, batch.day, f"inbox {file_id}", sealed=sealed, may_repeat=False
            )
            _mark(connection, batch.taken, "landed", batch.unit.id)
        else:
            (env.prefix / sealed.path).unlink()
        _mark(connection, batch.refused, "rejected", None)
    return batch


def _lines(env: TenantEnvironment, batch: _Batch, first: sa.Row[Any], rest: Iterator[sa.Row[Any]]) -> Iterator[bytes]:
    """Open events until the day changes or the batch is full; each one a line."""
    zone = ZoneInfo(env.tenant.time_zone)
    keys: dict[UUID, MinuteKey | None] = {}
    batch.day = first.received_at.astimezone(zone).date()
    for row in _and_rest(first, rest):
        if row.received_at.astimezone(zone).date() != batch.day or batch.size_bytes >= BATCH_BYTES:
            return
        try:
            body = _key(env, keys, row).open(row.receipt_id, row.source_id, row.sealed)
        except (EventRefused, SealedRefused) as error:
            kind = type(error).__name__
            log.error("inbox event refused: tenant=%s receipt=%s kind=%s", env.ref.uuid, row.receipt_id, kind)
            batch.refused.append(row.receipt_id)
            continue
        batch.taken.append(row.receipt_id)
        batch.size_bytes += len(body)
        # Outside strings JSON has line breaks as mere space, inside it has none: a line is one event.
        yield body.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"


def _key(env: TenantEnvironment, keys: dict[UUID, MinuteKey | None], row: sa.Row[Any]) -> MinuteKey:
    """A minute's key, opened once for all its events; one that does not open refuses each of them."""
    if row.data_key_id not in keys:
        keys[row.data_key_id] = None
        keys[row.data_key_id] = env.keys.open_minute_key(row.data_key_id, row.key_sealed)
    key = keys[row.data_key_id]
    if key is None:
        raise EventRefused(row.receipt_id)
    return key


def _and_rest(first: sa.Row[Any], rest: Iterator[sa.Row[Any]]) -> Iterator[sa.Row[Any]]:
    yield first
    yield from rest


def _mark(connection: sa.Connection, receipts: list[UUID], state: str, unit_id: UUID | None) -> None:
    if receipts:
        b = tables.inbox_body
        ids = sa.cast(receipts, sa.ARRAY(sa.Uuid))
        connection.execute(sa.update(b).where(b.c.receipt_id == sa.any_(ids)).values(state=state, unit_id=unit_id))
