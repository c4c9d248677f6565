"""What was pushed to the inbox becomes units: one NDJSON container per source, day and batch.

Which line of a unit is which event is kept, so that a receipt can tell what became of its event.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
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
_FETCH_BODIES = 8  # of up to 4 MB, or one event of whatever size


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


def mark_rejects(env: TenantEnvironment, unit_id: UUID, reasons: Mapping[int, str]) -> None:
    """Let receipts tell which events of a unit could not be normalised, in place of what was told of it before.

    Args:
        reasons: by 1-based line of the unit: field and rule, never a value.
    """
    landed, reject, body = tables.inbox_landed, tables.inbox_reject, tables.inbox_body
    with env.engine.begin() as connection:
        its_bodies = sa.select(landed.c.body_id).where(landed.c.unit_id == unit_id)
        before = connection.execute(sa.delete(reject).where(reject.c.unit_id == unit_id)).rowcount
        if reasons:
            lines = sorted(reasons)
            connection.execute(_REJECT, {"unit_id": unit_id, "lines": lines, "reasons": [reasons[n] for n in lines]})
        if reasons or before:
            changed = sa.update(body).where(body.c.id.in_(its_bodies)).values(changed_at=sa.func.now())
            connection.execute(changed)


# A receipt is found by its place among the receipts of its body, in the order of their ids.
_REJECT = sa.text(
    """
    INSERT INTO inbox_reject (receipt_id, unit_id, reason)
    SELECT keys.receipt_id, landed.unit_id, given.reason
    FROM unnest(cast(:lines AS int[]), cast(:reasons AS text[])) AS given (line, reason)
    JOIN inbox_landed landed ON landed.unit_id = :unit_id
        AND given.line >= landed.first_line AND given.line < landed.first_line + landed.rows
    JOIN LATERAL (
        SELECT receipt_id FROM inbox_key
        WHERE receipt_id >= landed.body_id AND body_id = landed.body_id
        ORDER BY receipt_id OFFSET landed.first_row + given.line - landed.first_line LIMIT 1
    ) keys ON true
    """
)


@dataclass
class _Day:
    """What becomes one unit: its lines, and which of them came from where."""

    lines: list[bytes] = field(default_factory=list)
    parts: list[dict[str, Any]] = field(default_factory=list)  # rows of `inbox_landed`, without the unit

    def add(self, body_id: UUID, row: int, line: bytes) -> None:
        last = self.parts[-1] if self.parts else None
        if last is not None and last["body_id"] == body_id and last["first_row"] + last["rows"] == row:
            last["rows"] += 1
        else:
            first_line = len(self.lines) + 1
            self.parts.append({"body_id": body_id, "first_row": row, "rows": 1, "first_line": first_line})
        self.lines.append(line)


@dataclass
class _Batch:
    """One pass over the oldest events that wait, within bounds: opened, by day, in the order they came."""

    size_bytes: int = 0
    rows: int = 0
    days: dict[date, _Day] = field(default_factory=lambda: defaultdict(_Day))
    opened: list[UUID] = field(default_factory=list)
    refused: list[UUID] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waited."""
        return not self.opened and not self.refused


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
            .order_by(b.c.received_at, b.c.id)
            .limit(BATCH_ROWS)
            .with_for_update(skip_locked=True, of=b)
            .execution_options(yield_per=_FETCH_BODIES)
        )
        with connection.execute(waiting) as rows:
            _open(env, source, batch, rows)
        for day, found in sorted(batch.days.items()):
            file_id = uuid4()
            sealed = raw.seal(env, source_id, file_id, (line + b"\n" for line in found.lines))
            unit = record_unit(connection, source, source_id, day, f"inbox {file_id}", sealed=sealed, may_repeat=False)
            connection.execute(sa.insert(tables.inbox_landed), [{**part, "unit_id": unit.id} for part in found.parts])
            batch.units.append(unit)
        _mark(connection, batch.opened, "landed")
        _mark(connection, batch.refused, "rejected")
    return batch


def _open(env: TenantEnvironment, source: Source, batch: _Batch, rows: Iterable[sa.Row[Any]]) -> None:
    """Open events into the batch until it is full."""
    zone = ZoneInfo(env.tenant.time_zone)
    keys: dict[UUID, MinuteKey | None] = {}
    for row in rows:
        if batch.size_bytes >= BATCH_BYTES or batch.rows >= BATCH_ROWS:
            return
        try:
            body = _key(env, keys, row).open(row.id, row.source_id, row.sealed)
        except (EventRefused, SealedRefused) as error:
            kind = type(error).__name__
            log.error("inbox events refused: tenant=%s body=%s kind=%s", env.ref.uuid, row.id, kind)
            batch.refused.append(row.id)
            continue
        arrived = row.received_at.astimezone(zone).date()
        for number, line in enumerate(body.split(b"\n")):
            own = _own_day(line, zone) if source.day_from == "timestamp" else arrived
            # What lies before the tenant's start, or is still to come, is not believed.
            batch.days[own if env.tenant.start <= own <= arrived else arrived].add(row.id, number, line)
        batch.opened.append(row.id)
        batch.rows += row.rows
        batch.size_bytes += len(body)


def _own_day(line: bytes, zone: ZoneInfo) -> date:
    return datetime.fromisoformat(_stamp.decode(line).timestamp).astimezone(zone).date()


def _key(env: TenantEnvironment, keys: dict[UUID, MinuteKey | None], row: sa.Row[Any]) -> MinuteKey:
    """A minute's key, opened once for all its events; one that does not open refuses each of them."""
    if row.data_key_id not in keys:
        keys[row.data_key_id] = None
        keys[row.data_key_id] = env.keys.open_minute_key(row.data_key_id, row.key_sealed)
    key = keys[row.data_key_id]
    if key is None:
        raise EventRefused(row.id)
    return key


def _mark(connection: sa.Connection, bodies: list[UUID], state: str) -> None:
    if bodies:
        b = tables.inbox_body
        is_one = b.c.id == sa.any_(sa.cast(bodies, sa.ARRAY(sa.Uuid)))
        connection.execute(sa.update(b).where(is_one).values(state=state, changed_at=sa.func.now()))
