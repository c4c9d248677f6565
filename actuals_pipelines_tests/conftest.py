"""What every room's tests may ask for: a real PostgreSQL, started once per test session."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from actuals_pipelines.database.embedded import EmbeddedPostgres
from actuals_pipelines.database.server import ServerAddress, administrator


@dataclass(frozen=True)
class RunningPostgres:
    """A server of this test session: our own embedded one, as `actuals up` starts it."""

    server: EmbeddedPostgres
    address: ServerAddress
    superuser_password: str
    admin: sa.Engine  # superuser, database `postgres`, over the socket


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPostgres]:
    """A running embedded PostgreSQL in a temporary folder; stopped when the session ends."""
    password = secrets.token_urlsafe(24)
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), password)
    address = server.start()
    admin = administrator(address.url("postgres", server.superuser, password))
    yield RunningPostgres(server, address, password, admin)
    admin.dispose()
    server.stop()
