"""A source's tokens: sealed in the tenant's database, one refresh at a time over all processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from actuals_pipelines.database.locks import lock_key
from actuals_pipelines.database.tables import oauth_token
from actuals_pipelines.encryption.columns import open_column, seal_column
from actuals_pipelines.encryption.keyring import TenantKeys
from actuals_pipelines.sources.oauth_api.failures import TokenBusy

_LOCK_SECONDS = 90  # longer than one token request may take


@dataclass(frozen=True, slots=True)
class Credentials:
    """An OAuth client. Neither part is ever printed."""

    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Token:
    """What the token endpoint gave. Its repr holds no token."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    issued_at: datetime
    expires_at: datetime

    def is_fresh(self, now: datetime, margin_seconds: int) -> bool:
        """Whether it still lives after the margin; of a short life the last quarter is the margin."""
        margin = min(timedelta(seconds=margin_seconds), (self.expires_at - self.issued_at) / 4)
        return now < self.expires_at - margin

    def to_bytes(self) -> bytes:
        """For sealing."""
        return json.dumps(
            [self.access_token, self.refresh_token, self.issued_at.isoformat(), self.expires_at.isoformat()]
        ).encode()

    @classmethod
    def from_bytes(cls, opened: bytes) -> Token:
        """The reverse."""
        access, refresh, issued_at, expires_at = json.loads(opened)
        return cls(access, refresh, datetime.fromisoformat(issued_at), datetime.fromisoformat(expires_at))


class TokenStore(Protocol):
    """Where one source's token is kept. How it is sealed is the store's business."""

    def load(self) -> Token | None:
        """The kept token, None before the first."""
        ...

    def save(self, token: Token) -> None:
        """Keep this one from now on; call it inside `locked()`."""
        ...

    def locked(self) -> AbstractContextManager[None]:
        """Nobody else renews this source's token meanwhile; what was saved is kept when it ends well."""
        ...


class DatabaseTokenStore:
    """The tenant's table `oauth_token`, as role `app`. One instance serves one thread; any number serve one source.

    `locked()` is one transaction with an advisory lock, which also holds before there is a row. A refresh token that
    rotates is lost if the process dies between the API's answer and our commit: then the owner must consent again.
    """

    def __init__(self, engine: sa.Engine, keys: TenantKeys, source_id: UUID, lock_seconds: int = _LOCK_SECONDS) -> None:
        self._engine, self._keys, self._source_id = engine, keys, source_id
        self._lock_seconds = lock_seconds
        self._open: sa.Connection | None = None

    def load(self) -> Token | None:
        """Open the kept token. Raises encryption.columns.ColumnRefused if it was tampered with."""
        with self._connection() as connection:
            query = sa.select(oauth_token.c.sealed).where(oauth_token.c.source_id == self._source_id)
            sealed = connection.execute(query).scalar_one_or_none()
        if sealed is None:
            return None
        return Token.from_bytes(open_column(self._keys, "oauth_token", "sealed", self._source_id, sealed))

    def save(self, token: Token) -> None:
        """Seal and keep the token."""
        sealed = seal_column(self._keys, "oauth_token", "sealed", self._source_id, token.to_bytes())
        values = {"sealed": sealed, "expires_at": token.expires_at, "changed_at": sa.func.now()}
        statement = insert(oauth_token).values(source_id=self._source_id, **values)
        with self._connection() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["source_id"], set_=values))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the source's advisory lock, in one transaction with whatever is loaded and saved inside."""
        with self._engine.begin() as connection:
            connection.execute(sa.select(sa.func.set_config("lock_timeout", f"{self._lock_seconds}s", True)))
            key = lock_key("renew token", self._source_id)
            try:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
            except sa.exc.OperationalError as error:
                if isinstance(error.orig, psycopg.errors.LockNotAvailable):
                    raise TokenBusy(f"source {self._source_id}", f"no end within {self._lock_seconds} s") from None
                raise
            self._open = connection
            try:
                yield
            finally:
                self._open = None

    @contextmanager
    def _connection(self) -> Iterator[sa.Connection]:
        if self._open is not None:
            yield self._open
        else:
            with self._engine.begin() as connection:
                yield connection
