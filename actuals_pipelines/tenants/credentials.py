"""The passwords of a tenant's database roles: in the control database, each wrapped by the KEK for its role alone."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from actuals_pipelines.database.tables import tenant_environment
from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.encryption.environments import ref_bytes
from actuals_pipelines.encryption.providers import KeyProvider
from actuals_pipelines.tenants.audit import record_on_platform


def save_credentials(control: sa.Engine, provider: KeyProvider, ref: TenantRef, passwords: Mapping[str, str]) -> None:
    """Keep the passwords (role `app`, `ro`, `door` -> password); takes the place of those kept before."""
    wrapped = {
        role: base64.b64encode(provider.wrap(password.encode(), _context(ref, role))).decode()
        for role, password in passwords.items()
    }
    row = {"tenant_id": ref.uuid, "environment": ref.environment, "credentials_wrapped": wrapped}
    statement = insert(tenant_environment).values(row)
    keys = [tenant_environment.c.tenant_id, tenant_environment.c.environment]
    update = statement.on_conflict_do_update(index_elements=keys, set_={"credentials_wrapped": wrapped})
    with control.begin() as connection:
        connection.execute(update)
        record_on_platform(connection, ref.uuid, "environment.credentials", ref.environment)


def credentials(control: sa.Engine, provider: KeyProvider, ref: TenantRef) -> dict[str, str] | None:
    """The passwords by role; None if this environment was never provisioned. Raises WrappedKeyRefused."""
    table = tenant_environment
    query = sa.select(table.c.credentials_wrapped).where(
        table.c.tenant_id == ref.uuid, table.c.environment == ref.environment
    )
    with control.connect() as connection:
        wrapped = connection.execute(query).scalar()
    if wrapped is None:
        return None
    return {
        role: provider.unwrap(base64.b64decode(text), _context(ref, role)).decode() for role, text in wrapped.items()
    }


def _context(ref: TenantRef, role: str) -> bytes:
    return b"actuals database role 1" + ref_bytes(ref) + role.encode()
