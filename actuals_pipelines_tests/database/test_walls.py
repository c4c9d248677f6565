"""What each credential must not reach, tried from outside over TCP and over the socket, beside what it must."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from actuals_pipelines.database.server import ServerAddress, tenant_role
from actuals_pipelines_tests.conftest import RunningPostgres, TenantDatabase

WAYS = ["tcp", "socket"]
LOGINS = ["app", "ro", "door"]


@dataclass(frozen=True)
class House:
    """Two tenants and the platform on one server."""

    postgres: RunningPostgres
    platform: dict[str, str]
    a: TenantDatabase
    b: TenantDatabase

    def address(self, way: str) -> ServerAddress:
        return self.postgres.address.over_tcp() if way == "tcp" else self.postgres.address


@pytest.fixture(scope="module")
def house(postgres: RunningPostgres, platform: dict[str, str], tenant_database: Callable[..., TenantDatabase]) -> House:
    return House(postgres, platform, tenant_database(), tenant_database())


def ask(address: ServerAddress, database: str, role: str, password: str, question: str = "select 1") -> object:
    engine = sa.create_engine(address.url(database, role, password), poolclass=NullPool)
    with engine.connect() as connection:
        return connection.exec_driver_sql(question).scalar()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("role", LOGINS)
def test_a_tenants_credential_opens_its_own_database(house: House, role: str, way: str) -> None:
    who = tenant_role(house.a.ref, role)

    assert ask(house.address(way), house.a.ref.database, who, house.a.passwords[role], "select current_user") == who


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("role", LOGINS)
@pytest.mark.parametrize("database", ["b", "dagster", "control", "postgres", "template1"])
def test_a_tenants_credential_opens_no_other_database(house: House, database: str, role: str, way: str) -> None:
    database = house.b.ref.database if database == "b" else database

    with pytest.raises(sa.exc.OperationalError, match=r"pg_hba\.conf rejects"):
        ask(house.address(way), database, tenant_role(house.a.ref, role), house.a.passwords[role])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("role", LOGINS)
def test_a_wrong_password_opens_nothing(house: House, role: str, way: str) -> None:
    for wrong in (house.b.passwords[role], secrets.token_urlsafe(32), ""):
        with pytest.raises(sa.exc.OperationalError, match="password"):
            ask(house.address(way), house.a.ref.database, tenant_role(house.a.ref, role), wrong)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("role", ["dagster", "control"])
def test_the_platforms_roles_open_their_own_database_alone(house: House, role: str, way: str) -> None:
    assert ask(house.address(way), role, role, house.platform[role]) == 1
    other = "control" if role == "dagster" else "dagster"
    for database in (house.a.ref.database, other, "postgres", "template1"):
        with pytest.raises(sa.exc.OperationalError, match=r"pg_hba\.conf rejects"):
            ask(house.address(way), database, role, house.platform[role])


def test_the_superuser_comes_in_over_the_socket_alone(house: House) -> None:
    password = house.postgres.superuser_password

    assert ask(house.address("socket"), house.a.ref.database, "postgres", password) == 1
    for database in ("postgres", "dagster", house.a.ref.database):
        with pytest.raises(sa.exc.OperationalError, match=r"pg_hba\.conf rejects"):
            ask(house.address("tcp"), database, "postgres", password)


@pytest.mark.parametrize("role", ["owner", None], ids=["owner", "group"])
def test_owner_and_group_do_not_log_in(house: House, role: str | None) -> None:
    name = tenant_role(house.a.ref, role) if role else house.a.ref.database

    with pytest.raises(sa.exc.OperationalError, match=r"pg_hba\.conf rejects|password authentication failed"):
        ask(house.address("tcp"), house.a.ref.database, name, house.a.passwords["app"])


def test_replication_which_would_copy_every_tenant_is_shut(house: House) -> None:
    roles = {tenant_role(house.a.ref, "app"): house.a.passwords["app"], "postgres": house.postgres.superuser_password}
    for role, password in roles.items():
        with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
            psycopg.connect(
                host="127.0.0.1", port=house.postgres.address.port, user=role, password=password, replication="true"
            )


@pytest.fixture
def open_to_public(house: House) -> Iterator[str]:
    """A database that somebody made by hand: PUBLIC may connect to it, as PostgreSQL has it by default."""
    name = f"made_by_hand_{uuid4().hex}"
    with house.postgres.admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f'create database "{name}"')
        yield name
        connection.exec_driver_sql(f'drop database "{name}" with (force)')


@pytest.mark.parametrize("way", WAYS)
def test_even_a_database_that_is_open_to_public_stays_shut_to_tenants(
    house: House, open_to_public: str, way: str
) -> None:
    with pytest.raises(sa.exc.OperationalError, match=r"pg_hba\.conf rejects"):
        ask(house.address(way), open_to_public, tenant_role(house.a.ref, "app"), house.a.passwords["app"])


def test_no_database_of_ours_lets_public_in(house: House) -> None:
    """The second wall, which also stands on a server whose pg_hba.conf is not ours."""
    with house.postgres.admin.connect() as connection:
        open_ones = connection.scalars(
            sa.text(
                "select datname from pg_database where datallowconn and datname not like 'made_by_hand%' and "
                "exists (select from aclexplode(coalesce(datacl, acldefault('d', datdba))) where grantee = 0)"
            )
        )
        assert list(open_ones) == []


# --- Inside its own database ------------------------------------------------------------------------------------------

DOOR_WRITES = [
    "insert into inbox_data_key (id, sealed) values (gen_random_uuid(), 'k') on conflict do nothing",
    "insert into arrival (id, door, path, size_bytes, container_sha256, content_mac) "
    "values (gen_random_uuid(), 'sftp', 'p', 1, 'd', 'm')",
    "insert into inbox_body (id, source_id, mode, rows, data_key_id, sealed) "
    "values (gen_random_uuid(), gen_random_uuid(), 'prod', 1, gen_random_uuid(), 's') returning id, received_at",
    "insert into inbox_key (id_mac, body_mac, receipt_id, body_id) values "
    "(gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid()) on conflict (id_mac) do nothing",
    "select body_mac, receipt_id from inbox_key",
    "select id, source_id, mode, received_at, state, changed_at from inbox_body",
    "select receipt_id, reason from inbox_reject",
    "insert into inbox_nonce (key_id, nonce_mac, expires_at) values ('k', gen_random_uuid(), now()) "
    "on conflict do nothing",
    "delete from inbox_nonce where expires_at < now()",
    "insert into inbox_key_use (key_id, used_at) values ('k', now()) "
    "on conflict (key_id) do update set used_at = excluded.used_at",
]
DOOR_MUST_NOT = [
    "select sealed from inbox_body",
    "select * from inbox_body",
    "select data_key_id from inbox_body",
    "select count(*) from inbox_body where sealed = 'guess'",
    "select sealed from inbox_data_key",
    "select id from inbox_data_key",
    "select path from arrival",
    "insert into arrival (id, door, path, size_bytes, container_sha256, content_mac) "
    "values (gen_random_uuid(), 'sftp', 'p', 1, 'd', 'm') returning path",
    "insert into inbox_body (id, source_id, mode, rows, data_key_id, sealed, state) "
    "values (gen_random_uuid(), gen_random_uuid(), 'prod', 1, gen_random_uuid(), 's', 'landed')",
    "insert into inbox_landed (body_id, first_row, rows, unit_id, first_line) "
    "values (gen_random_uuid(), 0, 1, gen_random_uuid(), 1)",
    "insert into inbox_reject (receipt_id, unit_id, reason) values (gen_random_uuid(), gen_random_uuid(), 'r')",
    "insert into inbox_data_key (id, sealed) values (gen_random_uuid(), 'k') "
    "on conflict (id) do update set sealed = excluded.sealed",
    "update inbox_body set sealed = 'x'",
    "update inbox_key set body_mac = gen_random_uuid()",
    "update arrival set path = 'x'",
    "delete from inbox_body",
    "delete from inbox_key",
    "delete from arrival",
    "truncate inbox_body",
    "select lo_create(0)",
    "select lo_from_bytea(0, 'x')",
    *(
        f"select * from {table}"  # noqa: S608 - our own table names
        for table in ("unit", "source", "secret", "oauth_token", "generation", "publication", "data_file", "close")
    ),
    "select * from error_original",
    "select * from audit_outbox",
    "select * from alembic_version",
    "insert into unit (id) values (gen_random_uuid())",
]
APP_MUST_NOT = [
    "create table x (i int)",
    "create temp table x (i int)",
    "create schema x",
    "create view x as select 1",
    "create function x() returns int language sql as 'select 1'",
    "alter table unit add column x int",
    "alter table generation disable trigger all",
    "drop trigger generation_guard on generation",
    "drop table unit",
    "truncate unit",
    "set session_replication_role = replica",
    "update audit_outbox set actor = 'x'",
    "delete from audit_outbox",
    "insert into policy values ('four_eyes', false)",
    "update release set needs_another = false",
    "drop trigger release_guard on release",
    "update alembic_version set version_num = 'x'",
    "select rolpassword from pg_authid",
    "select pg_read_file('/etc/passwd')",
    "copy (select 1) to program 'id'",
    "copy unit to '/tmp/x'",
    "create role x",
    "select lo_create(0)",
    "alter system set log_statement = 'all'",
    "set log_statement = 'all'",
    "set log_min_error_statement = 'error'",
    "set log_min_messages = 'debug5'",
    "set log_parameter_max_length = -1",
    "reset log_min_messages",
    "select pg_reload_conf()",
]


def refused(engine: sa.Engine, statement: str) -> bool:
    """Whether the statement fails for want of a right; each stands for itself, some cannot run in a transaction."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        try:
            connection.exec_driver_sql(statement)
        except sa.exc.ProgrammingError as error:
            return isinstance(error.orig, psycopg.errors.InsufficientPrivilege)
    return False


@pytest.mark.parametrize("statement", DOOR_WRITES)
def test_a_door_does_its_work(house: House, statement: str) -> None:
    with house.a.door.begin() as connection:
        connection.exec_driver_sql(statement)


@pytest.mark.parametrize("statement", DOOR_MUST_NOT)
def test_a_door_reads_no_body_and_changes_nothing(house: House, statement: str) -> None:
    assert refused(house.a.door, statement)


@pytest.mark.parametrize("statement", APP_MUST_NOT)
def test_the_app_makes_nothing_and_rewrites_no_audit(house: House, statement: str) -> None:
    assert refused(house.a.app, statement)


@pytest.mark.parametrize("login", LOGINS)
def test_no_login_becomes_another_role(house: House, login: str) -> None:
    engine = {"app": house.a.app, "ro": house.a.ro, "door": house.a.door}[login]
    others = [house.a.ref.database, tenant_role(house.b.ref, "app"), "postgres", "dagster", "pg_read_all_data"]
    for role in (*others, *(tenant_role(house.a.ref, name) for name in ("owner", *LOGINS) if name != login)):
        assert refused(engine, f'set role "{role}"')


def test_the_app_works_with_the_rows_of_every_table(house: House) -> None:
    with house.a.app.connect() as connection:
        for table in sa.inspect(connection).get_table_names():
            connection.exec_driver_sql(f'select count(*) from "{table}"')  # noqa: S608 - the catalogue's names
        connection.exec_driver_sql(
            "insert into audit_outbox (id, actor, action, object) values (gen_random_uuid(), 'a', 'b', 'c')"
        )
        connection.exec_driver_sql("insert into secret (name, sealed) values ('a', 'b')")
        connection.exec_driver_sql("update secret set sealed = 'c'")
        connection.exec_driver_sql("delete from secret")


def test_a_reader_reads_all_but_secrets_tokens_and_error_texts_and_writes_nothing(house: House) -> None:
    hidden = {"secret", "oauth_token", "error_original", "sftp_connection"}
    with house.a.app.connect() as connection:
        tables = set(sa.inspect(connection).get_table_names())

    readable = {name for name in tables if not refused(house.a.ro, f'select * from "{name}"')}  # noqa: S608 - as above

    assert readable == tables - hidden
    assert refused(house.a.ro, "insert into source (id, name) values (gen_random_uuid(), 'x')")
    assert refused(house.a.ro, "delete from unit")


def test_what_is_inside_another_database_is_not_even_named(house: House) -> None:
    """PostgreSQL shows database and role names to everybody: that is why they are opaque."""
    with house.a.app.connect() as connection:
        names = connection.scalars(sa.text("select datname from pg_database where datname like 't\\_%'"))
        assert all(len(name.removeprefix("t_").split("_")[0]) == 32 for name in names)
        assert connection.scalar(sa.text("select count(*) from pg_tables where tablename = 'tenant_version'")) == 0


def test_a_tenant_cannot_use_up_the_servers_connections(house: House) -> None:
    address, password = house.address("tcp"), house.a.passwords["door"]
    engine = sa.create_engine(
        address.url(house.a.ref.database, tenant_role(house.a.ref, "door"), password), poolclass=NullPool
    )
    held: list[sa.Connection] = []
    try:
        with pytest.raises(sa.exc.OperationalError, match="too many connections for role"):
            for _ in range(11):
                held.append(engine.connect())
        assert ask(address, house.b.ref.database, tenant_role(house.b.ref, "door"), house.b.passwords["door"]) == 1
    finally:
        for connection in held:
            connection.close()
