"""A tenant's environments, `prod` and `test`, each with keys, database, roles and folder of its own; made on demand.

Order: the keyring before the database, the database before its passwords are kept, so that kept passwords mean that
all three are there; a keyring that is missing then is an error and never made anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from actuals_pipelines.database import tables
from actuals_pipelines.database.provision import create_tenant
from actuals_pipelines.database.server import tenant_engine
from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.encryption.keyring import KeyringMissing, create_keyring
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.releases import follow_policy
from actuals_pipelines.tenants.credentials import credentials, save_credentials
from actuals_pipelines.tenants.environment import keyring_path
from actuals_pipelines.tenants.registry import Registered


def ensure_environment(platform: Platform, registered: Registered, environment: str) -> TenantRef:
    """Make what is missing of an environment; the caller writes its views.

    Raises:
        KeyringMissing: its database is there and its keyring is not.
    """
    ref = registered.ref(environment)
    password = _keys_and_database(platform, ref)
    (platform.home.data / ref.prefix).mkdir(mode=0o700, parents=True, exist_ok=True)
    _rows(platform, ref, password, registered)
    follow_policy(platform, ref)
    return ref


def _keys_and_database(platform: Platform, ref: TenantRef) -> str:
    """Make keyring, database and roles where they are missing; return the password of `app`."""
    kept = credentials(platform.control, platform.provider, ref)
    path = keyring_path(platform.home, ref)
    if not path.exists():
        if kept is not None:
            raise KeyringMissing(str(path))
        create_keyring(path, ref, platform.provider)
    made = create_tenant(platform.admin, ref, rotate=kept is None)
    passwords = {**(kept or {}), **made}
    if made:
        save_credentials(platform.control, platform.provider, ref, passwords)
    return passwords["app"]


def _rows(platform: Platform, ref: TenantRef, password: str, registered: Registered) -> None:
    """A row with an opaque id for each source and package; those that left the file keep theirs."""
    engine = tenant_engine(platform.address, ref, "app", password, name="actuals provision")
    try:
        with engine.begin() as connection:
            _add_names(connection, tables.source, [source.name for source in registered.tenant.sources])
            _add_names(connection, tables.package, [package.name for package in registered.tenant.packages])
    finally:
        engine.dispose()


def _add_names(connection: sa.Connection, table: sa.Table, names: Iterable[str]) -> None:
    rows = [{"id": uuid4(), "name": name} for name in names]
    if rows:
        connection.execute(insert(table).on_conflict_do_nothing(index_elements=[table.c.name]), rows)
