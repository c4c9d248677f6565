"""Apply a tenant's file: store the version, make what the tenant needs, and tell doors and code locations.

Each step finds out for itself whether it was done, so an apply that failed half way is simply run again.
Order: the keyring before the database, the database before its passwords are kept, so that kept passwords mean that
all three are there; a keyring that is missing then is an error and never made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from actuals_pipelines.database import tables
from actuals_pipelines.database.provision import create_tenant
from actuals_pipelines.database.server import tenant_engine
from actuals_pipelines.domain.tenant import Tenant, TenantRef
from actuals_pipelines.encryption.keyring import KeyringMissing, create_keyring
from actuals_pipelines.operations.api_keys import ShownOnce, first_api_keys
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.releases import follow_policy
from actuals_pipelines.operations.views import write_views
from actuals_pipelines.tenants.credentials import credentials, save_credentials
from actuals_pipelines.tenants.difference import Difference
from actuals_pipelines.tenants.environment import keyring_path
from actuals_pipelines.tenants.registry import Plan, Registered, plan, store


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply did."""

    ref: TenantRef
    tenant: Tenant
    version: int
    is_new: bool
    difference: Difference
    api_keys_shown_once: tuple[ShownOnce, ...]
    sftp_users: tuple[str, ...]

    @property
    def name(self) -> str:
        """The tenant's name."""
        return self.tenant.name


def apply(
    platform: Platform,
    yaml: str,
    origin: str,
    *,
    environment: str = "prod",
    agree: Callable[[Plan], bool] | None = None,
) -> Applied | None:
    """Bring a tenant to what its file says.

    Args:
        origin: the file's name, for complaints.
        environment: "prod" or "test"; made on demand. Those that are there already are brought along.
        agree: asked before an existing tenant is changed; None agrees.

    Returns:
        what was done; None if `agree` said no, and nothing was done.

    Raises:
        YamlRefused, ExpectationRefused, SourceKindChanged, SftpUserTaken, TenantChangedMeanwhile: nothing was done.
    """
    planned = plan(platform.control, yaml, origin)
    _refuse_expectations(planned.tenant)
    changes_something = planned.before is not None and bool(planned.difference)
    if changes_something and agree is not None and not agree(planned):
        return None
    registered = store(platform.control, planned)
    environments = sorted({*registered.environments, environment})
    for each in environments:
        ref = registered.ref(each)
        password = _keys_and_database(platform, ref)
        (platform.home.data / ref.prefix).mkdir(mode=0o700, parents=True, exist_ok=True)
        _rows(platform, ref, password, registered)
        follow_policy(platform, ref)
    # Views before keys: what could fail has then been tried, and a key that is shown works.
    write_views(platform, registered, environments)
    shown = first_api_keys(platform, registered)
    if shown:
        write_views(platform, registered, environments)
    return Applied(
        ref=registered.ref(environment),
        tenant=registered.tenant,
        version=registered.version,
        is_new=planned.before is None,
        difference=planned.difference,
        api_keys_shown_once=shown,
        sftp_users=tuple(account.user for account in registered.tenant.sftp),
    )


def _refuse_expectations(tenant: Tenant) -> None:
    """What validation could not run is refused now and not at the first delivery."""
    asking = [source for source in tenant.sources if source.expectations]
    if asking:
        from actuals_pipelines.validate import check_expectations  # noqa: PLC0415 - loads Great Expectations: 4 s

        for source in asking:
            check_expectations(source)


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
