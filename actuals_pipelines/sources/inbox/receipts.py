"""Storing posts and reading receipts in a tenant's database, as role `door`: it inserts, and reads no body.

A receipt is given after COMMIT alone. Keys and bodies are written in one transaction; the same (source, mode, id) again
is a duplicate if its body is the same and a conflict if not, for ever. What is stored together is sealed together: a
row for each idempotency key, and one for all bodies of a source and mode. Measured: 4 us of PostgreSQL's CPU a row
where a row for each body took 12.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import sqlalchemy as sa
from psycopg.adapt import Dumper
from psycopg.pq import Format

from actuals_pipelines.database.tables import inbox_body, inbox_key, inbox_reject
from actuals_pipelines.encryption.door import DoorKey
from actuals_pipelines.errors import ActualsError

MAX_PAGE = 1000
MAX_BODY_BYTES = 4 << 20  # sealed as one, unless a single record has more: what a landing process opens at once
_MAX_BODY_ROWS = 1 << 16  # the last two bytes of a receipt's id


class Post(NamedTuple):
    """One raw transaction on its way in. `mode` is "test" or "prod"; both MACs have 16 bytes."""

    source_id: UUID
    mode: str
    id_mac: bytes
    body_mac: bytes
    body: bytes  # canonical JSON in one line, in memory alone


class Outcome(Enum):
    """What became of a post."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


class Receipt(NamedTuple):
    """What a caller is given. `outcome` CONFLICT: the receipt is of the body that was received first."""

    receipt_id: str  # a UUID in its usual form
    received_at: datetime
    outcome: Outcome


class ReceiptRow(NamedTuple):
    """A receipt as it is read back. `state`: received | landed | rejected."""

    receipt_id: UUID
    source_id: UUID
    received_at: datetime
    state: str
    reject_reason: str | None
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which receipts a page shows: of these sources, received in [since, until), changed at or after `updated_since`,
    behind the receipt `after`."""

    mode: str
    source_ids: Sequence[UUID]
    since: datetime | None = None
    until: datetime | None = None
    updated_since: datetime | None = None
    after: UUID | None = None


class NotDurable(ActualsError):
    """The database would acknowledge what it has not written to disk."""

    def __init__(self, database: str, setting: str, found: str) -> None:
        super().__init__(database, setting, found)
        self.database, self.setting, self.found = database, setting, found

    def __str__(self) -> str:
        return (
            f"Database {self.database} has {self.setting}={self.found}: what a door acknowledges could be lost in a "
            f"crash. Set {self.setting}=on and start the inbox again."
        )


class BatchConflict(ActualsError):
    """A batch holds ids that were received before with another body, or twice with two bodies; none was stored."""

    def __init__(self, positions: Sequence[int]) -> None:
        super().__init__(positions)
        self.positions = positions  # 0-based in the batch

    def __str__(self) -> str:
        return f"{len(self.positions)} ids of the batch were received before with another body; nothing was stored."


def refuse_if_not_durable(connection: psycopg.Connection[tuple[str]], _record: object = None) -> None:
    """Raise NotDurable unless a commit on this connection means that the disk has it. A pool calls it."""
    for setting in ("fsync", "synchronous_commit"):
        row = connection.execute(f"SHOW {setting}").fetchone()
        if row is None or row[0] == "off":
            raise NotDurable(connection.info.dbname, setting, row[0] if row else "unknown")
    connection.rollback()  # SHOW began a transaction


@dataclass(slots=True)
class _Body:
    """Posts of one source and mode that are sealed as one."""

    source_id: UUID
    mode: str
    id: bytes
    size_bytes: int = 0
    positions: list[int] = field(default_factory=list)  # among the posts; a receipt's number is its place here

    def holds(self, more_bytes: int) -> bool:
        """Whether a post of this size has room."""
        return len(self.positions) < _MAX_BODY_ROWS and self.size_bytes + more_bytes <= MAX_BODY_BYTES

    def receipts(self) -> Iterator[bytes]:
        return (self.id[:14] + number.to_bytes(2, "big") for number in range(len(self.positions)))


_NOBODY_IS_TOLD = datetime.min.replace(tzinfo=UTC)  # nothing was new, so every receipt has the time of its first post
_KEYS = """
    INSERT INTO inbox_key (id_mac, body_mac, receipt_id, body_id)
    SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[])
    ON CONFLICT (id_mac) DO NOTHING
"""
_KNOWN = """
    SELECT uuid_send(key.id_mac), uuid_send(key.body_mac), uuid_send(key.receipt_id), body.received_at
    FROM inbox_key key LEFT JOIN inbox_body body ON body.id = key.body_id
    WHERE key.id_mac = ANY (%b::uuid[])
"""
_BODIES = """
    WITH data_key AS (
        INSERT INTO inbox_data_key (id, sealed) VALUES (%b, %b) ON CONFLICT DO NOTHING
    )
    INSERT INTO inbox_body (id, source_id, mode, rows, data_key_id, sealed)
    SELECT id, source_id, mode, rows, %b, sealed
    FROM unnest(%b::uuid[], %b::uuid[], %b::text[], %b::int[], %b::bytea[])
        AS given (id, source_id, mode, rows, sealed)
    RETURNING received_at
"""


def store(connection: sa.Connection, key: DoorKey, posts: Sequence[Post]) -> list[Receipt]:
    """Write posts, and the data key they are sealed under; receipts in the order of `posts`. The caller commits."""
    if not posts:
        return []
    bodies = _bodies(posts)
    receipts, body_ids = [b""] * len(posts), [b""] * len(posts)
    for body in bodies:
        for at, receipt in zip(body.positions, body.receipts(), strict=True):
            receipts[at], body_ids[at] = receipt, body.id
    # One order for all writers: two that hold keys the other waits for would be a deadlock.
    order = sorted(range(len(posts)), key=lambda at: posts[at].id_mac)
    columns = ([posts[at].id_mac for at in order], [posts[at].body_mac for at in order])
    ours = ([receipts[at] for at in order], [body_ids[at] for at in order])
    arguments = tuple(_Uuids.of(each) for each in (*columns, *ours))
    is_all_new = connection.exec_driver_sql(_KEYS, arguments).rowcount == len(posts)
    # A statement of its own: it sees what others committed meanwhile.
    known = {} if is_all_new else {row[0]: row for row in connection.exec_driver_sql(_KNOWN, arguments[:1])}
    is_new = [is_all_new or known[post.id_mac][2] == receipt for post, receipt in zip(posts, receipts, strict=True)]
    received_at = _seal_and_write(connection, key, posts, bodies, is_new) or _NOBODY_IS_TOLD
    texts = list(map(_text, receipts))
    if is_all_new:
        return [Receipt(text, received_at, Outcome.NEW) for text in texts]
    return [
        Receipt(text, received_at, Outcome.NEW) if new else _known(post, known[post.id_mac], received_at)
        for post, text, new in zip(posts, texts, is_new, strict=True)
    ]


def _bodies(posts: Sequence[Post]) -> list[_Body]:
    full: list[_Body] = []
    open_: dict[tuple[UUID, str], _Body] = {}
    for at, post in enumerate(posts):
        body = open_.get((post.source_id, post.mode))
        if body is None or not body.holds(len(post.body)):
            body = open_[post.source_id, post.mode] = _Body(post.source_id, post.mode, _new_body_id())
            full.append(body)
        body.positions.append(at)
        body.size_bytes += len(post.body) + 1
    return full


def _seal_and_write(
    connection: sa.Connection, key: DoorKey, posts: Sequence[Post], bodies: Sequence[_Body], is_new: Sequence[bool]
) -> datetime | None:
    """Seal what is new, a line a receipt; returns when it was received, None if nothing was new."""
    rows = []
    for body in bodies:
        lines = [posts[at].body for at in body.positions if is_new[at]]
        if lines:
            body_id = UUID(bytes=body.id)
            sealed = key.seal(body_id, body.source_id, b"\n".join(lines))
            rows.append((body_id, body.source_id, body.mode, len(lines), sealed))
    if not rows:
        return None
    columns = [list(column) for column in zip(*rows, strict=True)]
    result = connection.exec_driver_sql(_BODIES, (key.key_id, key.sealed, key.key_id, *columns))
    received_at: datetime = result.all()[0][0]
    return received_at


def _known(post: Post, row: Sequence[Any], now: datetime) -> Receipt:
    body_mac, receipt_id, received_at = row[1:4]
    outcome = Outcome.DUPLICATE if body_mac == post.body_mac else Outcome.CONFLICT
    return Receipt(_text(receipt_id), received_at or now, outcome)  # none: its first one is in this very batch


def page(connection: sa.Connection, wanted: Wanted, limit: int) -> list[ReceiptRow]:
    """Receipts in the order they came, at most `limit`."""
    query = _receipts(wanted.mode, wanted.source_ids).order_by(inbox_key.c.receipt_id).limit(limit)
    if wanted.after is not None:
        query = query.where(inbox_key.c.receipt_id > wanted.after)
    if wanted.since is not None:
        query = query.where(inbox_body.c.received_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(inbox_body.c.received_at < wanted.until)
    if wanted.updated_since is not None:
        query = query.where(inbox_body.c.changed_at >= wanted.updated_since)
    return [ReceiptRow(*row) for row in connection.execute(query)]


def find(connection: sa.Connection, mode: str, source_ids: Sequence[UUID], receipt_id: UUID) -> ReceiptRow | None:
    """One receipt, if it belongs to one of these sources."""
    row = connection.execute(_receipts(mode, source_ids).where(inbox_key.c.receipt_id == receipt_id)).first()
    return ReceiptRow(*row) if row else None


def _receipts(mode: str, source_ids: Sequence[UUID]) -> sa.Select[Any]:
    key, body, reject = inbox_key.c, inbox_body.c, inbox_reject.c
    return (
        sa.select(key.receipt_id, body.source_id, body.received_at, body.state, reject.reason, body.changed_at)
        .join(inbox_body, body.id == key.body_id)
        .outerjoin(inbox_reject, reject.receipt_id == key.receipt_id)
        .where(body.mode == mode, body.source_id.in_(source_ids))
    )


def _new_body_id() -> bytes:
    """A UUID of version 7 (RFC 9562 5.7): milliseconds, then random bits, so that receipts sort by time. Its last two
    bytes are zero: they number the body's receipts."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big") & ~0xFFFF
    value = value & ~(0xF << 76) | (0x7 << 76)
    return (value & ~(0x3 << 62) | (0x2 << 62)).to_bytes(16, "big")


def _text(uuid: bytes) -> str:
    h = uuid.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


class _Uuids(bytes):
    """A `uuid[]` in PostgreSQL's binary form (array_recv), put together without an object for each."""

    @classmethod
    def of(cls, each: Sequence[bytes]) -> _Uuids:
        """From one or more UUIDs of 16 bytes: one dimension, no nulls, oid 2950, counted from 1."""
        size = struct.pack(">i", 16)
        return cls(struct.pack(">iiiii", 1, 0, 2950, len(each), 1) + size + size.join(each))


class _UuidsDumper(Dumper):
    format = Format.BINARY
    oid = 2951  # uuid[]

    def dump(self, obj: _Uuids) -> bytes:
        return bytes(obj)


psycopg.adapters.register_dumper(_Uuids, _UuidsDumper)
