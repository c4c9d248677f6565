"""Storing posts and reading receipts in a tenant's database, as role `door`: it inserts, and reads no body.

A receipt is given after COMMIT alone. Key and body are written by one statement; the same (source, mode, id) again is a
duplicate if its body is the same and a conflict if not, for ever.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa

from actuals_pipelines.database.tables import inbox_body, inbox_key
from actuals_pipelines.errors import ActualsError

MAX_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Post:
    """One raw transaction on its way in. `mode` is "test" or "prod"."""

    receipt_id: UUID
    source_id: UUID
    mode: str
    id_mac: bytes
    body_mac: bytes
    body: bytes  # canonical JSON, in memory alone


@dataclass(frozen=True, slots=True)
class SealedPost:
    """A post whose body is sealed under the data key of its minute."""

    post: Post
    sealed: bytes  # nonce | ciphertext and tag


class Outcome(Enum):
    """What became of a post."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a caller is given. `outcome` CONFLICT: the receipt is of the body that was received first."""

    receipt_id: UUID
    source_id: UUID
    received_at: datetime
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """A receipt as it is read back. `state`: received | landed | rejected."""

    receipt_id: UUID
    source_id: UUID
    received_at: datetime
    state: str


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


def new_receipt_id() -> UUID:
    """A UUID of version 7 (RFC 9562 5.7): milliseconds, then random bits, so that receipts sort by time."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | (0x7 << 76)
    return UUID(int=value & ~(0x3 << 62) | (0x2 << 62))


def refuse_if_not_durable(connection: psycopg.Connection[tuple[str]], _record: object = None) -> None:
    """Raise NotDurable unless a commit on this connection means that the disk has it. A pool calls it."""
    for setting in ("fsync", "synchronous_commit"):
        row = connection.execute(f"SHOW {setting}").fetchone()
        if row is None or row[0] == "off":
            raise NotDurable(connection.info.dbname, setting, row[0] if row else "unknown")
    connection.rollback()  # SHOW began a transaction


_STORE = """
    WITH given AS (
        SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::text[], %b::bytea[], %b::bytea[], %b::bytea[])
            AS given (receipt_id, source_id, mode, id_mac, body_mac, sealed)
    ), data_key AS (
        INSERT INTO inbox_data_key (id, sealed) VALUES (%b::uuid, %b::bytea) ON CONFLICT DO NOTHING
    ), new AS (
        INSERT INTO inbox_key (source_id, mode, id_mac, body_mac, receipt_id)
        SELECT source_id, mode, id_mac, body_mac, receipt_id FROM given
        ON CONFLICT DO NOTHING
        RETURNING receipt_id, received_at
    ), bodies AS (
        INSERT INTO inbox_body (receipt_id, source_id, mode, data_key_id, sealed)
        SELECT receipt_id, source_id, mode, %b::uuid, sealed FROM given JOIN new USING (receipt_id)
    )
    SELECT receipt_id, received_at FROM new
"""
_KNOWN = """
    SELECT source_id, mode, id_mac, body_mac, receipt_id, received_at FROM inbox_key
    JOIN unnest(%b::uuid[], %b::text[], %b::bytea[]) AS given (source_id, mode, id_mac)
        USING (source_id, mode, id_mac)
"""


def store(
    connection: sa.Connection, data_key_id: UUID, data_key_sealed: bytes, sealed: Sequence[SealedPost]
) -> list[Receipt]:
    """Write posts and the data key they were sealed under; receipts in order of `sealed`. The caller commits."""
    # One order for all writers: two that hold keys the other waits for would be a deadlock.
    rows = sorted(sealed, key=lambda one: (one.post.source_id.bytes, one.post.mode, one.post.id_mac))
    posts = [one.post for one in rows]
    arguments = (
        [post.receipt_id for post in posts],
        [post.source_id for post in posts],
        [post.mode for post in posts],
        [post.id_mac for post in posts],
        [post.body_mac for post in posts],
        [one.sealed for one in rows],
        data_key_id,
        data_key_sealed,
        data_key_id,
    )
    new: dict[UUID, datetime] = {row[0]: row[1] for row in connection.exec_driver_sql(_STORE, arguments).all()}
    known = _known(connection, [post for post in posts if post.receipt_id not in new])
    return [_receipt(one.post, new, known) for one in sealed]


def _known(connection: sa.Connection, posts: list[Post]) -> dict[tuple[UUID, str, bytes], Any]:
    """The keys that were there before. A statement of its own: it sees what others committed meanwhile."""
    if not posts:
        return {}
    arguments = ([post.source_id for post in posts], [post.mode for post in posts], [post.id_mac for post in posts])
    rows = connection.exec_driver_sql(_KNOWN, arguments)
    return {(row.source_id, row.mode, bytes(row.id_mac)): row for row in rows}


def _receipt(post: Post, new: dict[UUID, datetime], known: dict[tuple[UUID, str, bytes], Any]) -> Receipt:
    if received_at := new.get(post.receipt_id):
        return Receipt(post.receipt_id, post.source_id, received_at, Outcome.NEW)
    first = known[(post.source_id, post.mode, post.id_mac)]
    outcome = Outcome.DUPLICATE if bytes(first.body_mac) == post.body_mac else Outcome.CONFLICT
    return Receipt(first.receipt_id, post.source_id, first.received_at, outcome)


def page(
    connection: sa.Connection, mode: str, source_ids: Sequence[UUID], after: UUID | None, limit: int
) -> list[ReceiptRow]:
    """Receipts of these sources in the order they came, at most `limit`; `after` is the last of the page before."""
    query = _receipts(mode, source_ids).order_by(inbox_key.c.receipt_id).limit(limit)
    if after is not None:
        query = query.where(inbox_key.c.receipt_id > after)
    return [ReceiptRow(*row) for row in connection.execute(query)]


def find(connection: sa.Connection, mode: str, source_ids: Sequence[UUID], receipt_id: UUID) -> ReceiptRow | None:
    """One receipt, if it belongs to one of these sources."""
    row = connection.execute(_receipts(mode, source_ids).where(inbox_key.c.receipt_id == receipt_id)).first()
    return ReceiptRow(*row) if row else None


def _receipts(mode: str, source_ids: Sequence[UUID]) -> sa.Select[UUID, UUID, datetime, str]:
    return (
        sa.select(inbox_key.c.receipt_id, inbox_key.c.source_id, inbox_key.c.received_at, inbox_body.c.state)
        .join(inbox_body, inbox_body.c.receipt_id == inbox_key.c.receipt_id)
        .where(inbox_key.c.mode == mode, inbox_key.c.source_id.in_(source_ids))
    )
