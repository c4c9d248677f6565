"""Databases and roles: the platform's two, and one database with its own roles for each tenant and environment.

Passwords are made here and returned once, by the role's short name; only their SCRAM verifiers go to the server.
Everything may be repeated after a crash: what exists stays, what is missing is made. A caller that lost the passwords
of an interrupted call asks again with `rotate=True`. Needs PostgreSQL 17 or later and an administrator who is superuser
(embedded), or may create roles and databases.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy as sa

from actuals_pipelines.database.grants import apply_grants, control_grants, tenant_grants
from actuals_pipelines.database.migrations import one_upgrade_at_a_time, upgrade_within
from actuals_pipelines.database.server import other_database, tenant_role
from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.errors import ActualsError


class RoleRefused(ActualsError):
    """The server did not let the administrator make a role, or give it a password."""

    def __init__(self, role: str, kind: str) -> None:
        super().__init__(role, kind)
        self.role, self.kind = role, kind

    def __str__(self) -> str:
        return (
            f"PostgreSQL did not make or change the role {self.role!r}: {self.kind}. The administrator must be "
            "superuser, or have CREATEROLE and CREATEDB and have made the role itself."
        )


TENANT_LOGINS = {"app": 20, "ro": 10, "door": 10}
"""A tenant's roles that log in, and how many connections each may hold at once."""

_PLATFORM_LOGINS = {"dagster": 100, "control": 30}
_CONTROL_OWNER = "control_owner"
_NO_POWER = "nosuperuser nocreatedb nocreaterole noreplication nobypassrls noinherit"
# Every role may keep blobs in every database it enters, unless these are shut.
# Iterations slow down guessing, and nobody guesses 256 random bits (DECISIONS, "SCRAM with one iteration").
_SCRAM_ITERATIONS = 1
_TELLS_ITERATIONS = 160_000  # PostgreSQL 16
_MAKES_LARGE_OBJECTS = "lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea)"


def create_platform(admin: sa.Engine, *, rotate: bool = False) -> dict[str, str]:
    """Make the databases and roles `dagster` and `control`, and shut the server's own databases to everybody.

    Returns:
        "dagster" and "control" -> password, for roles that were new, or for both with `rotate`.
    """
    with _statements(admin) as connection:
        passwords = {
            name: password
            for name, limit in _PLATFORM_LOGINS.items()
            if (password := _login(connection, name, limit, rotate=rotate)) is not None
        }
        _group(connection, _CONTROL_OWNER)
        for name, owner in (("dagster", "dagster"), ("control", _CONTROL_OWNER)):
            _database(connection, name, owner, logins=[name])
        for name in ("postgres", "template1"):
            _run(connection, "revoke all on database {} from public", name)
        # Run metadata may lose its last moments in a crash; what customers sent may not. Halves a range run's time.
        _run(connection, "alter database {} set synchronous_commit = off", "dagster")
    upgrade_control(admin)
    return passwords


def upgrade_control(admin: sa.Engine) -> None:
    """Bring the control database to the newest revision, and its role's rights with it."""
    with _inside(admin, "control", ["control"]) as connection:
        upgrade_within(connection, "control", _CONTROL_OWNER)
        apply_grants(connection, "control", control_grants(), sees_revision=True)


def create_tenant(admin: sa.Engine, ref: TenantRef, *, rotate: bool = False) -> dict[str, str]:
    """Make a tenant's database, roles and tables.

    Returns:
        "app", "ro" and "door" -> password, for roles that were new, or for all with `rotate`.
    """
    owner, logins = tenant_role(ref, "owner"), [tenant_role(ref, name) for name in TENANT_LOGINS]
    with _statements(admin) as connection:
        _group(connection, ref.database)
        _group(connection, owner)
        passwords = {
            name: password
            for name, limit in TENANT_LOGINS.items()
            if (password := _login(connection, tenant_role(ref, name), limit, rotate=rotate)) is not None
        }
        for login in logins:
            # Membership opens the door that pg_hba's `samerole` guards, and nothing else: the group has no rights.
            _run(connection, "grant {} to {} with inherit false, set false", ref.database, login)
        _database(connection, ref.database, owner, logins)
    upgrade_tenant(admin, ref)
    return passwords


def upgrade_tenant(admin: sa.Engine, ref: TenantRef) -> None:
    """Bring a tenant's database to the newest revision, and its roles' rights with it."""
    logins = [tenant_role(ref, name) for name in TENANT_LOGINS]
    with _inside(admin, ref.database, logins) as connection:
        upgrade_within(connection, "tenant", tenant_role(ref, "owner"))
        for name in TENANT_LOGINS:
            is_door = name == "door"
            apply_grants(connection, tenant_role(ref, name), tenant_grants(name), sees_revision=not is_door)


@contextmanager
def as_owner(admin: sa.Engine, ref: TenantRef) -> Iterator[sa.Connection]:
    """A transaction in a tenant's database as the owner of its tables: for what its own roles may not write."""
    with other_database(admin, ref.database).begin() as connection:
        _run(connection, "set local role {}", tenant_role(ref, "owner"))
        yield connection


def rotate_tenant(admin: sa.Engine, ref: TenantRef) -> dict[str, str]:
    """Give a tenant's roles new passwords; sessions that are open stay. Returns "app", "ro", "door" -> password."""
    with _statements(admin) as connection:
        return {
            name: _login(connection, tenant_role(ref, name), limit, rotate=True) or ""
            for name, limit in TENANT_LOGINS.items()
        }


def drop_tenant(admin: sa.Engine, ref: TenantRef) -> None:
    """Remove a tenant's database and roles, ending its sessions. Nothing to do for what is gone."""
    with _statements(admin) as connection:
        _run(connection, "drop database if exists {} with (force)", ref.database)
        for role in (*TENANT_LOGINS, "owner"):
            _run(connection, "drop role if exists {}", tenant_role(ref, role))
        _run(connection, "drop role if exists {}", ref.database)


@contextmanager
def _statements(admin: sa.Engine) -> Iterator[sa.Connection]:
    """Each statement for itself: databases cannot be made in a transaction."""
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


@contextmanager
def _inside(admin: sa.Engine, database: str, logins: list[str]) -> Iterator[sa.Connection]:
    """A transaction inside a database, whose schema was shut to everybody but `logins`."""
    engine = other_database(admin, database)
    try:
        with engine.begin() as connection:
            one_upgrade_at_a_time(connection)
            _run(connection, "revoke all on schema public from public")
            for login in logins:
                _run(connection, "grant usage on schema public to {}", login)
            if _is_superuser(connection):
                connection.exec_driver_sql(f"revoke execute on function {_MAKES_LARGE_OBJECTS} from public")
            yield connection
    finally:
        engine.dispose()


def _group(connection: sa.Connection, name: str) -> None:
    if not _exists(connection, name):
        _run(connection, f"create role {{}} nologin {_NO_POWER}", name)


def _login(connection: sa.Connection, name: str, limit: int, *, rotate: bool) -> str | None:
    """Make a role that logs in, or give it a new password; None if it is there and stays as it is."""
    is_new = not _exists(connection, name)
    if not is_new and not rotate:
        return None
    password = secrets.token_urlsafe(32)
    # What a role may not do is said when it is made; only a superuser could say it again.
    statement = f"create role {{}} login {_NO_POWER}" if is_new else "alter role {} login"
    verifier = _verifier(connection, name, password)
    try:
        _run(connection, f"{statement} connection limit {limit:d} password '{verifier}'", name)
    except sa.exc.DBAPIError as error:
        raise RoleRefused(name, type(error.orig).__name__) from None  # its text quotes the verifier
    return password


def _verifier(connection: sa.Connection, role: str, password: str) -> str:
    """The SCRAM verifier, made by the client library: letters, digits and `$:+/=` only. The password stays here."""
    server: psycopg.Connection[object] = connection.connection.driver_connection  # type: ignore[assignment]  # psycopg's
    if server.info.server_version >= _TELLS_ITERATIONS:  # it reports the setting, and the library follows it
        connection.exec_driver_sql(f"set scram_iterations = {_SCRAM_ITERATIONS}")
    made = server.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    return made.decode("ascii")


def _database(connection: sa.Connection, name: str, owner: str, logins: list[str]) -> None:
    """A database that only `logins` may enter. PUBLIC may enter every new database until it is told not to."""
    if not _is_superuser(connection):  # then the administrator acts as the owner, whose role it made
        _run(connection, "grant {} to current_user with inherit true, set true", owner)
    found = connection.execute(sa.text("select 1 from pg_database where datname = :name"), {"name": name}).first()
    if found is None:
        _run(
            connection,
            "create database {} owner {} template template0 encoding 'UTF8' locale 'C' "
            "locale_provider builtin builtin_locale 'C.UTF-8'",
            name,
            owner,
        )
    _run(connection, "revoke all on database {} from public", name)
    for login in logins:
        _run(connection, "grant connect on database {} to {}", name, login)


def _exists(connection: sa.Connection, role: str) -> bool:
    found = connection.execute(sa.text("select 1 from pg_roles where rolname = :role"), {"role": role})
    return found.first() is not None


def _is_superuser(connection: sa.Connection) -> bool:
    return connection.exec_driver_sql("select rolsuper from pg_roles where rolname = current_user").scalar_one() is True


def _run(connection: sa.Connection, statement: str, *names: str) -> None:
    """Run DDL with identifiers, always quoted, in the place of `{}`."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    connection.exec_driver_sql(statement.format(*map(quote, names)))
