"""A durable queue in one SQLite file: what was put in it is sent, whatever happens to the sender.

The file holds what you send, in the clear, readable by its owner alone; sent rows are overwritten. Keep it on a disk
that you trust as much as the system the transactions come from.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_SCHEMA = """
CREATE TABLE IF NOT EXISTS waiting (number INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS refused (number INTEGER PRIMARY KEY, body BLOB NOT NULL, reason TEXT NOT NULL);
"""


class Spool:
    """Raw transactions that wait to be sent, and those that the inbox refused."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        self._database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=60)
        for setting in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what waits stays in it."""
        self._database.close()

    def put(self, *transactions: Mapping[str, Any]) -> None:
        """Keep raw transactions for sending; durable on return."""
        self.put_lines(line_of(transaction) for transaction in transactions)

    def put_lines(self, lines: Iterable[bytes]) -> int:
        """Keep raw transactions given as JSON, one object each, all or none; durable on return. Returns how many."""
        before = self._database.total_changes
        with self._transaction():
            self._database.executemany("INSERT INTO waiting (body) VALUES (?)", ((line,) for line in lines))
        return self._database.total_changes - before

    def waiting(self, rows: int, max_bytes: int) -> list[tuple[int, bytes]]:
        """The oldest that wait: (number, JSON), at most so many and so long together, and at least one."""
        found: list[tuple[int, bytes]] = []
        size = 0
        for number, body in self._database.execute("SELECT number, body FROM waiting ORDER BY number LIMIT ?", (rows,)):
            size += len(body) + 1
            if found and size > max_bytes:
                break
            found.append((number, body))
        return found

    def forget(self, numbers: Sequence[int]) -> None:
        """Remove what was acknowledged."""
        with self._transaction():
            self._database.executemany("DELETE FROM waiting WHERE number = ?", ((number,) for number in numbers))

    def set_aside(self, reasons: Mapping[int, Mapping[str, Any]]) -> None:
        """Move what was refused out of the way, with the inbox's reason."""
        with self._transaction():
            self._database.executemany(
                "INSERT INTO refused SELECT number, body, ? FROM waiting WHERE number = ?",
                ((json.dumps(dict(reason)), number) for number, reason in reasons.items()),
            )
            self._database.executemany("DELETE FROM waiting WHERE number = ?", ((number,) for number in reasons))

    def refused(self) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
        """What the inbox refused: (number, raw transaction, reason with code, detail, field)."""
        for number, body, reason in self._database.execute("SELECT number, body, reason FROM refused ORDER BY number"):
            yield number, json.loads(body), json.loads(reason)

    def discard_refused(self, numbers: Iterable[int]) -> None:
        """Remove refused transactions, once they were corrected or written elsewhere."""
        with self._transaction():
            self._database.executemany("DELETE FROM refused WHERE number = ?", ((number,) for number in numbers))

    def __len__(self) -> int:
        """How many wait."""
        count: int = self._database.execute("SELECT count(*) FROM waiting").fetchone()[0]
        return count

    def _transaction(self) -> _Transaction:
        return _Transaction(self._database)


class _Transaction:
    """BEGIN IMMEDIATE .. COMMIT, or ROLLBACK: a second sender on the same file waits instead of failing midway."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._database.execute("COMMIT" if kind is None else "ROLLBACK")


def line_of(transaction: Mapping[str, Any]) -> bytes:
    """A raw transaction as one line of JSON. NaN and infinity are no JSON, so they raise ValueError."""
    return json.dumps(transaction, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
