"""Where a PostgreSQL server listens, and engines for one database, role and password on it.

Passwords are in engines' URLs, which print them as ***; parameters never appear in an error's text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.errors import ConfigurationError

_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_TLS_SETTINGS = frozenset({"sslmode", "sslrootcert", "sslcert", "sslkey"})
_STATEMENT_TIMEOUT = "300s"
_LOCK_TIMEOUT = "60s"


class ServerAddressRefused(ConfigurationError):
    """An address of a PostgreSQL server cannot be used, or not safely. Never shows the address: it has a password."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"The PostgreSQL address is refused: {self.reason}. Write it as "
            "postgresql://ROLE:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full&sslrootcert=CA.pem"
        )


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a server listens. With a socket folder, `engine` goes through the socket: 0700, no TCP, no TLS needed."""

    host: str
    port: int
    socket_folder: Path | None = None
    tls: tuple[tuple[str, str], ...] = ()  # libpq's ssl settings; empty for loopback and socket

    def over_tcp(self) -> ServerAddress:
        """The same server without its socket, for processes that may not enter the socket's folder."""
        return ServerAddress(self.host, self.port, None, self.tls)

    def url(self, database: str, role: str, password: str, driver: str = "psycopg") -> sa.URL:
        """The SQLAlchemy URL for one database and role; `driver` is psycopg, or psycopg2 for Dagster."""
        query: dict[str, str] = dict(self.tls)
        if self.socket_folder is not None:
            query["host"] = str(self.socket_folder)
        host = None if self.socket_folder is not None else self.host
        return sa.URL.create(f"postgresql+{driver}", role, password, host, self.port, database, query)

    def dagster_storage(self, database: str, role: str, password: str) -> dict[str, Any]:
        """What `storage.postgres.postgres_db` of dagster.yaml takes. Dagster speaks psycopg2 and TCP only."""
        return {
            "scheme": "postgresql+psycopg2",
            "username": role,
            "password": password,
            "hostname": self.host,
            "port": self.port,
            "db_name": database,
            "params": {"connect_timeout": 10, **dict(self.tls)},
        }


def engine(address: ServerAddress, database: str, role: str, password: str, *, name: str = "actuals") -> sa.Engine:
    """An engine with a small pool; every wait is bounded. `name` is what the server's activity list shows."""
    return _engine(address.url(database, role, password), name, pool_size=2, max_overflow=3, pool_timeout=30)


def tenant_engine(
    address: ServerAddress, ref: TenantRef, role: str, password: str, *, name: str = "actuals"
) -> sa.Engine:
    """An engine on a tenant's database as its `app`, `ro` or `door`."""
    return engine(address, ref.database, tenant_role(ref, role), password, name=name)


def tenant_role(ref: TenantRef, role: str) -> str:
    """The full name of a tenant's role: `app`, `ro`, `door` (they log in) or `owner` (it does not)."""
    return f"{ref.database}_{role}"


def other_database(admin: sa.Engine, database: str) -> sa.Engine:
    """An engine without a pool on another database of the same server, with the same role: for provisioning."""
    return _engine(admin.url.set(database=database), "actuals provision", poolclass=NullPool)


def production_address(dsn: str) -> tuple[ServerAddress, sa.URL]:
    """Read an operator's DSN; over a network the server must prove who it is (`sslmode=verify-full`).

    Returns:
        where the server is, and the URL (psycopg) of the administrator named in it.

    Raises:
        ServerAddressRefused: not a PostgreSQL URL, no role, an unknown setting, or TLS that is not verified.
    """
    try:
        url = sa.make_url(dsn)
    except (ArgumentError, ValueError):
        raise ServerAddressRefused("it is not a URL") from None
    if url.drivername not in _SCHEMES:
        raise ServerAddressRefused(f"its scheme is {url.drivername!r}")
    if not url.username:
        raise ServerAddressRefused("it names no role")
    settings = {key: value if isinstance(value, str) else "" for key, value in url.query.items()}
    socket_text = settings.pop("host", None)
    if socket_text is not None and (url.host or not socket_text.startswith("/")):
        raise ServerAddressRefused("the setting 'host' is for a socket's folder, an absolute path")
    if "," in (url.host or "") + (socket_text or ""):  # libpq would try each of a list
        raise ServerAddressRefused("it names several hosts")
    unknown = sorted(set(settings) - _TLS_SETTINGS)
    if unknown:
        raise ServerAddressRefused(f"it has settings that are not known here: {', '.join(unknown)}")
    if not socket_text and not url.host:
        raise ServerAddressRefused("it names no host")
    is_remote = not socket_text and not _is_loopback(url.host or "")
    if is_remote and settings.get("sslmode") != "verify-full":
        raise ServerAddressRefused("the host is not this machine and sslmode is not verify-full")
    address = ServerAddress(
        host=url.host or "localhost",
        port=url.port or 5432,
        socket_folder=Path(socket_text) if socket_text else None,
        tls=tuple(sorted(settings.items())),
    )
    return address, address.url(url.database or "postgres", url.username, url.password or "")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def administrator(url: sa.URL) -> sa.Engine:
    """An engine for the administrator of a server, without a pool: it is needed rarely."""
    return _engine(url, "actuals administrator", poolclass=NullPool)


def _engine(url: sa.URL, name: str, **pool: Any) -> sa.Engine:
    connect: Mapping[str, Any] = {
        "connect_timeout": 10,
        "application_name": name,
        # A server that vanished is noticed; a statement or a lock that hangs ends with an error.
        "keepalives_idle": 60,
        "options": f"-c statement_timeout={_STATEMENT_TIMEOUT} -c lock_timeout={_LOCK_TIMEOUT} "
        "-c idle_in_transaction_session_timeout=600s",
    }
    return sa.create_engine(url, connect_args=dict(connect), hide_parameters=True, pool_pre_ping=True, **pool)
