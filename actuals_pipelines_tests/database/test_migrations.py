"""The migrated databases are what tables.py says, and migrating tells nothing to the log."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from actuals_pipelines.database.migrations import newest, revision, upgrade
from actuals_pipelines.database.server import other_database, tenant_role
from actuals_pipelines.database.tables import CONTROL, TENANT
from actuals_pipelines_tests.conftest import RunningPostgres, TenantDatabase


def differences(engine: sa.Engine, metadata: sa.MetaData) -> list[object]:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))


def check_constraints(engine: sa.Engine) -> set[str]:
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        return {str(c["name"]) for t in inspector.get_table_names() for c in inspector.get_check_constraints(t)}


def declared_checks(metadata: sa.MetaData) -> set[str]:
    return {str(c.name) for t in metadata.tables.values() for c in t.constraints if isinstance(c, sa.CheckConstraint)}


def test_a_tenants_database_is_what_the_tables_say(
    postgres: RunningPostgres, tenant_database: Callable[..., TenantDatabase]
) -> None:
    tenant = tenant_database()
    engine = other_database(postgres.admin, tenant.ref.database)

    assert differences(engine, TENANT) == []
    assert check_constraints(engine) == declared_checks(TENANT)  # Alembic does not compare these


def test_the_control_database_is_what_the_tables_say(postgres: RunningPostgres, platform: dict[str, str]) -> None:
    engine = other_database(postgres.admin, "control")

    assert differences(engine, CONTROL) == []
    assert check_constraints(engine) == declared_checks(CONTROL)


def test_the_owner_owns_every_table_and_the_app_sees_the_revision(
    postgres: RunningPostgres, tenant_database: Callable[..., TenantDatabase]
) -> None:
    tenant = tenant_database()

    with tenant.app.connect() as connection:
        owners = connection.scalars(sa.text("select distinct tableowner from pg_tables where schemaname = 'public'"))
        assert list(owners) == [tenant_role(tenant.ref, "owner")]
        assert revision(connection) == newest("tenant")


def test_upgrading_again_does_nothing_and_logs_no_statement(
    postgres: RunningPostgres, tenant_database: Callable[..., TenantDatabase], caplog: pytest.LogCaptureFixture
) -> None:
    tenant = tenant_database()
    caplog.set_level(logging.INFO)

    upgrade(other_database(postgres.admin, tenant.ref.database), "tenant", tenant_role(tenant.ref, "owner"))
    tenant_database()

    assert [record for record in caplog.records if "create" in record.getMessage().lower()] == []
