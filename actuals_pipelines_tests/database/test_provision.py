"""Databases, roles and passwords are made once, may be made again, and disappear without a trace."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
import sqlalchemy as sa

from actuals_pipelines.database.provision import (
    TENANT_LOGINS,
    create_platform,
    create_tenant,
    drop_tenant,
    rotate_tenant,
    upgrade_tenant,
)
from actuals_pipelines.database.server import tenant_engine
from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines_tests.conftest import RunningPostgres, TenantDatabase


def roles_and_databases(postgres: RunningPostgres, ref: TenantRef) -> list[str]:
    with postgres.admin.connect() as connection:
        return list(
            connection.scalars(
                sa.text(
                    "select rolname::text from pg_roles where rolname like :name || '%' "
                    "union all select datname::text from pg_database where datname like :name || '%' order by 1"
                ),
                {"name": ref.database},
            )
        )


def test_a_second_call_makes_nothing_and_changes_no_password(
    postgres: RunningPostgres, tenant_database: Callable[..., TenantDatabase]
) -> None:
    tenant = tenant_database()

    assert create_tenant(postgres.admin, tenant.ref) == {}
    engine = tenant_engine(postgres.address, tenant.ref, "app", tenant.passwords["app"])
    with engine.connect() as connection:
        assert connection.scalar(sa.text("select current_user")) == f"{tenant.ref.database}_app"
    engine.dispose()


def test_what_an_interrupted_call_left_out_is_made_by_the_next(postgres: RunningPostgres) -> None:
    ref = TenantRef(uuid4())
    create_tenant(postgres.admin, ref)
    with postgres.admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f'drop database "{ref.database}"')
        connection.exec_driver_sql(f'drop role "{ref.database}_door"')

    assert list(create_tenant(postgres.admin, ref)) == ["door"]
    assert list(create_tenant(postgres.admin, ref, rotate=True)) == ["app", "ro", "door"]


def test_a_rotated_password_replaces_the_old_one(
    postgres: RunningPostgres, tenant_database: Callable[..., TenantDatabase]
) -> None:
    tenant = tenant_database()

    passwords = rotate_tenant(postgres.admin, tenant.ref)

    for role in TENANT_LOGINS:
        engine = tenant_engine(postgres.address, tenant.ref, role, passwords[role])
        with engine.connect() as connection:
            assert connection.scalar(sa.text("select 1")) == 1
        engine.dispose()
        old = tenant_engine(postgres.address, tenant.ref, role, tenant.passwords[role])
        with pytest.raises(sa.exc.OperationalError, match="password authentication failed"):
            old.connect()


def test_the_environments_of_one_tenant_are_two_databases_with_roles_of_their_own(postgres: RunningPostgres) -> None:
    uuid = uuid4()
    prod, test = TenantRef(uuid), TenantRef(uuid, "test")
    in_prod, in_test = create_tenant(postgres.admin, prod), create_tenant(postgres.admin, test)

    assert set(in_prod) == set(in_test) == {"app", "ro", "door"}
    assert not set(in_prod.values()) & set(in_test.values())
    drop_tenant(postgres.admin, prod)
    assert len(roles_and_databases(postgres, test)) == 6


def test_dropping_a_tenant_leaves_no_database_and_no_role_even_while_it_is_used(
    postgres: RunningPostgres, tenant_database: Callable[..., TenantDatabase]
) -> None:
    tenant = tenant_database()
    with tenant.app.connect() as connection:
        connection.scalar(sa.text("select 1"))
        drop_tenant(postgres.admin, tenant.ref)
        drop_tenant(postgres.admin, tenant.ref)
        connection.invalidate()

    assert roles_and_databases(postgres, tenant.ref) == []


def test_two_processes_may_upgrade_one_tenant_at_once(
    postgres: RunningPostgres, tenant_database: Callable[..., TenantDatabase]
) -> None:
    tenant = tenant_database()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: upgrade_tenant(postgres.admin, tenant.ref), range(8)))


def test_the_platform_is_made_once_and_only_run_metadata_may_be_written_late(
    postgres: RunningPostgres, platform: dict[str, str], tenant_database: Callable[..., TenantDatabase]
) -> None:
    tenant = tenant_database()

    assert create_platform(postgres.admin) == {}
    assert set(platform) == {"dagster", "control"}
    with postgres.admin.connect() as connection:
        late = connection.execute(
            sa.text("select datname, setconfig from pg_db_role_setting join pg_database d on setdatabase = d.oid")
        ).all()
    assert [(row.datname, row.setconfig) for row in late] == [("dagster", ["synchronous_commit=off"])]
    with tenant.app.connect() as connection:
        assert connection.scalar(sa.text("show synchronous_commit")) == "on"


def test_no_password_reaches_the_servers_log_or_files(postgres: RunningPostgres, platform: dict[str, str]) -> None:
    ref = TenantRef(uuid4())
    secrets = [*create_tenant(postgres.admin, ref).values(), *platform.values(), postgres.superuser_password]
    with postgres.admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("checkpoint")

    for path in postgres.server.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [secret for secret in secrets if secret.encode() in content], path


def test_only_scram_verifiers_are_kept(
    postgres: RunningPostgres, tenant_database: Callable[..., TenantDatabase], platform: dict[str, str]
) -> None:
    """Of one iteration where we make the password: it has 256 random bits, which no iteration makes safer."""
    ours = {*platform, *(f"{tenant_database().ref.database}_{name}" for name in TENANT_LOGINS)}

    with postgres.admin.connect() as connection:
        rows = connection.execute(sa.text("select rolname, rolpassword from pg_authid where rolcanlogin")).all()
    kept = {row.rolname: row.rolpassword for row in rows}

    assert all(verifier.startswith("SCRAM-SHA-256$") for verifier in kept.values())
    assert all(kept[name].startswith("SCRAM-SHA-256$1:") for name in ours)
