"""Addresses and engines: production demands verified TLS, passwords are never shown, every wait has an end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest
import sqlalchemy as sa

from actuals_pipelines.database.server import ServerAddress, ServerAddressRefused, engine, production_address
from actuals_pipelines_tests.conftest import RunningPostgres, TenantDatabase


def test_a_production_address_with_verified_tls_is_taken() -> None:
    address, administrator = production_address(
        "postgresql://ops:secret@db.example.com:6432/postgres?sslmode=verify-full&sslrootcert=/etc/ca.pem"
    )

    assert address == ServerAddress(
        "db.example.com", 6432, None, (("sslmode", "verify-full"), ("sslrootcert", "/etc/ca.pem"))
    )
    assert administrator.username == "ops"
    assert address.url("t_1", "t_1_app", "pw").query["sslmode"] == "verify-full"
    storage = address.dagster_storage("dagster", "dagster", "pw")
    assert storage["scheme"] == "postgresql+psycopg2"
    assert storage["params"]["sslmode"] == "verify-full"


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://ops:secret@127.0.0.1/postgres",
        "postgresql://ops:secret@localhost/postgres",
        "postgresql://ops:secret@[::1]/postgres",
        "postgresql://ops:secret@/postgres?host=/run/postgresql",
    ],
)
def test_this_machine_needs_no_tls(dsn: str) -> None:
    assert production_address(dsn)[1].database == "postgres"


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://ops:secret@db.example.com/postgres",
        "postgresql://ops:secret@10.0.0.1/postgres?sslmode=require",
        "postgresql://ops:secret@db.example.com/postgres?sslmode=verify-ca",
        "postgresql://ops:secret@db.example.com/postgres?sslmode=prefer",
        "postgresql://ops:secret@127.0.0.1.example.com/postgres",
        "postgresql://ops:secret@127.0.0.1/postgres?host=db.example.com",  # libpq would go where `host` says
        "postgresql://ops:secret@127.0.0.1/postgres?hostaddr=10.0.0.1",
        "postgresql://ops:secret@127.0.0.1,db.example.com/postgres",
        "postgresql://ops:secret@/postgres?host=/run/postgresql,db.example.com",
        "postgresql://ops:secret@/postgres?host=/run/postgresql&host=db.example.com",
        "postgresql://ops:secret@127.0.0.1/postgres?options=-csynchronous_commit%3Doff",
        "postgresql://ops:secret@127.0.0.1/postgres?service=other",
        "postgresql+psycopg2://ops:secret@127.0.0.1/postgres",
        "mysql://ops:secret@127.0.0.1/postgres",
        "sqlite:///secret.db",
        "postgresql://127.0.0.1/secret",
        "postgresql:///secret",
        "secret",
        "",
        "postgresql://ops:secret@127.0.0.1:port/postgres",
    ],
)
def test_an_address_that_is_not_safe_is_refused_without_being_shown(dsn: str) -> None:
    with pytest.raises(ServerAddressRefused) as refused:
        production_address(dsn)

    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_an_engine_shows_no_password_and_ends_every_wait(
    postgres: RunningPostgres, tenant_database: Callable[..., TenantDatabase]
) -> None:
    tenant = tenant_database()

    assert tenant.passwords["app"] not in repr(tenant.app) + str(tenant.app.url)
    with tenant.app.connect() as connection:
        show = {name: connection.scalar(sa.text(f"show {name}")) for name in ("statement_timeout", "lock_timeout")}
        assert show == {"statement_timeout": "5min", "lock_timeout": "1min"}
        assert connection.scalar(sa.text("show idle_in_transaction_session_timeout")) == "10min"
        assert connection.scalar(sa.text("show application_name")) == "actuals"


def test_an_engine_recovers_when_its_sessions_were_ended(
    postgres: RunningPostgres, tenant_database: Callable[..., TenantDatabase]
) -> None:
    tenant = tenant_database()
    with tenant.app.connect() as connection:
        pid = connection.scalar(sa.text("select pg_backend_pid()"))
    with postgres.admin.connect() as admin:
        admin.execute(sa.text("select pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    with tenant.app.connect() as connection:
        assert connection.scalar(sa.text("select pg_backend_pid()")) != pid


def test_dagsters_driver_gets_in_with_what_it_is_given(postgres: RunningPostgres, platform: dict[str, str]) -> None:
    storage = postgres.address.dagster_storage("dagster", "dagster", platform["dagster"])

    connection = psycopg2.connect(
        host=storage["hostname"],
        port=storage["port"],
        user=storage["username"],
        password=storage["password"],
        dbname=storage["db_name"],
        **storage["params"],
    )
    with connection.cursor() as cursor:
        cursor.execute("create table dagster_may_make_its_tables (i int); show synchronous_commit")
        assert cursor.fetchone() == ("off",)
    connection.rollback()
    connection.close()


def test_without_its_socket_an_address_goes_over_tcp(
    postgres: RunningPostgres, tenant_database: Callable[..., TenantDatabase]
) -> None:
    tenant = tenant_database()
    assert isinstance(postgres.address.socket_folder, Path)

    for address, expected in ((postgres.address, None), (postgres.address.over_tcp(), "127.0.0.1")):
        over = engine(address, tenant.ref.database, f"{tenant.ref.database}_ro", tenant.passwords["ro"])
        with over.connect() as connection:
            assert connection.scalar(sa.text("select host(inet_client_addr())")) == expected
        over.dispose()
