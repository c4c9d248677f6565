"""What was pushed to the inbox becomes units: one NDJSON container per source, day and batch."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import msgspec
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
BATCH_BYTES = 64 << 20
_FETCH_ROWS = 1000


class _Stamp(msgspec.Struct):
    timestamp: str


_stamp = msgspec.json.Decoder(_Stamp)


def land_inbox(env: TenantEnvironment, source: Source, now: datetime) -> list[Unit]:
    """Land all events of a source that were received up to `now`: test events in the test environment, prod in prod.

    An event's day is the one it was received, in the tenant's time zone; its own timestamp's where the source says
    `day_from: timestamp`. Events and their units are marked in one transaction; a killed process leaves them waiting.
    An event that does not open is set to `rejected` and logged as an error, and the others are landed. Memory: a batch.
    """
    with env.engine.begin() as connection:
        source_id = units.source_id(connection, source.name)
    landed = []
    while True:
        batch = _land_batch(env, source, source_id, now)
        for unit in batch.units:
            log.info("inbox batch landed: tenant=%s unit=%s", env.ref.uuid, unit.id)
        landed += batch.units
        if batch.is_empty:
            return landed


@dataclass
class _Batch:
    """One pass over the oldest events that wait, within bounds: opened, by day, in the order they came."""

    size_bytes: int = 0
    bodies: dict[date, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    receipts: dict[date, list[UUID]] = field(default_factory=lambda: defaultdict(list))
    refused: list[UUID] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waited."""
        return not self.receipts and not self.refused


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
        with connection.execute(waiting) as rows:
            _open(env, source, batch, rows)
        for day, bodies in sorted(batch.bodies.items()):
            file_id = uuid4()
            sealed = raw.seal(env, source_id, file_id, _lines(bodies))
            unit = record_unit(connection, source, source_id, day, f"inbox {file_id}", sealed=sealed, may_repeat=False)
            _mark(connection, batch.receipts[day], "landed", unit.id)
            batch.units.append(unit)
        _mark(connection, batch.refused, "rejected", None)
    return batch


def _open(env: TenantEnvironment, source: Source, batch: _Batch, rows: Iterable[sa.Row[Any]]) -> None:
    """Open events into the batch until it is full."""
    zone = ZoneInfo(env.tenant.time_zone)
    keys: dict[UUID, MinuteKey | None] = {}
    for row in rows:
        if batch.size_bytes >= BATCH_BYTES:
            return
        try:
            body = _key(env, keys, row).open(row.receipt_id, row.source_id, row.sealed)
        except (EventRefused, SealedRefused) as error:
            kind = type(error).__name__
            log.error("inbox event refused: tenant=%s receipt=%s kind=%s", env.ref.uuid, row.receipt_id, kind)
            batch.refused.append(row.receipt_id)
            continue
        arrived = row.received_at.astimezone(zone).date()
        own = _own_day(body, zone) if source.day_from == "timestamp" else arrived
        # What lies before the tenant's start, or is still to come, is not believed.
        day = own if env.tenant.start <= own <= arrived else arrived
        batch.bodies[day].append(body)
        batch.receipts[day].append(row.receipt_id)
        batch.size_bytes += len(body)


def _own_day(body: bytes, zone: ZoneInfo) -> date:
    return datetime.fromisoformat(_stamp.decode(body).timestamp).astimezone(zone).date()


def _lines(bodies: Iterable[bytes]) -> Iterator[bytes]:
    # Outside strings JSON has line breaks as mere space, inside it has none: a line is one event.
    return (body.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n" for body in bodies)


def _key(env: TenantEnvironment, keys: dict[UUID, MinuteKey | None], row: sa.Row[Any]) -> MinuteKey:
    """A minute's key, opened once for all its events; one that does not open refuses each of them."""
    if row.data_key_id not in keys:
        keys[row.data_key_id] = None
        keys[row.data_key_id] = env.keys.open_minute_key(row.data_key_id, row.key_sealed)
    key = keys[row.data_key_id]
    if key is None:
        raise EventRefused(row.receipt_id)
    return key


def _mark(connection: sa.Connection, receipts: list[UUID], state: str, unit_id: UUID | None) -> None:
    if receipts:
        b = tables.inbox_body
        ids = sa.cast(receipts, sa.ARRAY(sa.Uuid))
        connection.execute(sa.update(b).where(b.c.receipt_id == sa.any_(ids)).values(state=state, unit_id=unit_id))
