"""On a managed server nobody gives us a superuser: a role that may create roles and databases is enough."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from uuid import uuid4

import pytest
import sqlalchemy as sa

from actuals_pipelines.database.embedded import EmbeddedPostgres
from actuals_pipelines.database.provision import create_platform, create_tenant, drop_tenant, upgrade_tenant
from actuals_pipelines.database.server import ServerAddress, administrator, tenant_engine
from actuals_pipelines.domain.tenant import TenantRef


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerAddress]:
    """A server whose pg_hba.conf is not ours but as most are: any role with its password, on any database."""
    embedded = EmbeddedPostgres(tmp_path_factory.mktemp("managed"), "root's")
    try:
        address = embedded.start()
        (embedded.data / "pg_hba.conf").write_text(
            "host all all 127.0.0.1/32 scram-sha-256\nlocal all all scram-sha-256"
        )
        root = administrator(address.url("postgres", embedded.superuser, "root's"))
        with root.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("select pg_reload_conf()")
            connection.exec_driver_sql("create role ops login createrole createdb password 'theirs'")
        yield address.over_tcp()
    finally:
        embedded.stop()
        shutil.rmtree(embedded.folder)


@pytest.fixture(scope="module")
def ops(server: ServerAddress) -> sa.Engine:
    return administrator(server.url("postgres", "ops", "theirs"))


def test_it_makes_the_platform_and_tenants_and_repeats_it(server: ServerAddress, ops: sa.Engine) -> None:
    assert set(create_platform(ops)) == {"dagster", "control"}
    assert create_platform(ops) == {}
    ref = TenantRef(uuid4())
    passwords = create_tenant(ops, ref)
    assert create_tenant(ops, ref) == {}
    upgrade_tenant(ops, ref)

    app = tenant_engine(server, ref, "app", passwords["app"])
    with app.begin() as connection:
        connection.exec_driver_sql("insert into source (id, name) values (gen_random_uuid(), 'bank')")
        owner = connection.scalar(sa.text("select tableowner from pg_tables where tablename = 'source'"))
    app.dispose()
    assert owner == f"{ref.database}_owner"
    drop_tenant(ops, ref)


def test_without_our_pg_hba_the_second_wall_still_keeps_tenants_apart(server: ServerAddress, ops: sa.Engine) -> None:
    a, b = TenantRef(uuid4()), TenantRef(uuid4())
    platform, of_a = create_platform(ops, rotate=True), create_tenant(ops, a)
    create_tenant(ops, b)

    for role, password in of_a.items():
        for database in (b.database, "dagster", "control"):
            with pytest.raises(sa.exc.OperationalError, match="permission denied for database"):
                administrator(server.url(database, f"{a.database}_{role}", password)).connect()
    for role, password in platform.items():
        with pytest.raises(sa.exc.OperationalError, match="permission denied for database"):
            administrator(server.url(a.database, role, password)).connect()
