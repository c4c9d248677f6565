"""A control database of its own for each test that asks."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from actuals_pipelines.database.server import administrator
from actuals_pipelines.database.tables import CONTROL
from actuals_pipelines_tests.conftest import RunningPostgres


@pytest.fixture
def control(postgres: RunningPostgres) -> Iterator[sa.Engine]:
    """An empty control database."""
    name = f"control_{secrets.token_hex(4)}"
    with postgres.admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text(f'create database "{name}"'))
    engine = administrator(postgres.address.url(name, postgres.server.superuser, postgres.superuser_password))
    CONTROL.create_all(engine)
    yield engine
    engine.dispose()
    with postgres.admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text(f'drop database "{name}" with (force)'))
