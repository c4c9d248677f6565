"""Advisory locks: one process at a time publishes a source, or closes a package, in a tenant's database.

They are held until the caller's transaction ends, so a process that dies lets go of them.
"""

from __future__ import annotations

import hashlib
from uuid import UUID

import psycopg
import sqlalchemy as sa

from actuals_pipelines.errors import ActualsError

_TIMEOUT_SECONDS = 60


class HeldByAnother(ActualsError):
    """Another process publishes the same source, or closes the same package, and did not finish in time."""

    def __init__(self, doing: str, object_id: UUID, waited_seconds: int) -> None:
        super().__init__(doing, object_id, waited_seconds)
        self.doing, self.object_id, self.waited_seconds = doing, object_id, waited_seconds

    def __str__(self) -> str:
        return (
            f"Another process was still at it after {self.waited_seconds} seconds: {self.doing} {self.object_id}. "
            "Wait until it ends and run this again; `actuals status` shows what runs."
        )


def publish_lock(connection: sa.Connection, source_id: UUID, timeout_seconds: int = _TIMEOUT_SECONDS) -> None:
    """Wait for the right to publish this source, until the transaction ends. Raises HeldByAnother."""
    _lock(connection, "publish source", source_id, timeout_seconds)


def close_lock(connection: sa.Connection, package_id: UUID, timeout_seconds: int = _TIMEOUT_SECONDS) -> None:
    """Wait for the right to close this package, until the transaction ends. Raises HeldByAnother."""
    _lock(connection, "close package", package_id, timeout_seconds)


def lock_key(doing: str, object_id: UUID) -> int:
    """The lock's key, signed 64 bits: the same in every process and version, and another for each kind of work."""
    digest = hashlib.sha256(doing.encode() + b"\0" + object_id.bytes).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _lock(connection: sa.Connection, doing: str, object_id: UUID, timeout_seconds: int) -> None:
    before = connection.exec_driver_sql("show lock_timeout").scalar_one()
    _set_lock_timeout(connection, f"{timeout_seconds}s")
    try:
        connection.execute(sa.text("select pg_advisory_xact_lock(:key)"), {"key": lock_key(doing, object_id)})
    except sa.exc.OperationalError as error:
        if isinstance(error.orig, psycopg.errors.LockNotAvailable):
            raise HeldByAnother(doing, object_id, timeout_seconds) from None
        raise
    _set_lock_timeout(connection, before)


def _set_lock_timeout(connection: sa.Connection, value: str) -> None:
    connection.execute(sa.text("select set_config('lock_timeout', :value, true)"), {"value": value})
