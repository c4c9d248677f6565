"""A tenant's secrets by name, sealed in its own database: what a configuration file may only name."""

from __future__ import annotations

import re
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from actuals_pipelines.database.tables import secret
from actuals_pipelines.encryption.columns import open_column, seal_column
from actuals_pipelines.errors import ConfigurationError
from actuals_pipelines.tenants import audit
from actuals_pipelines.tenants.environment import TenantEnvironment

MAX_BYTES = 16_384
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class SecretRefused(ConfigurationError):
    """A secret cannot be kept under that name, or with that value."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return f"The secret {self.name!r} was not set: {self.reason}."


class SecretMissing(ConfigurationError):
    """A configuration names a secret that was never set."""

    def __init__(self, tenant: str, name: str) -> None:
        super().__init__(tenant, name)
        self.tenant, self.name = tenant, name

    def __str__(self) -> str:
        command = f"actuals secret set {self.tenant} {self.name}"
        return f"Tenant {self.tenant!r} has no secret {self.name!r}. Set it with `{command}`."


def set_secret(environment: TenantEnvironment, name: str, value: bytes) -> None:
    """Seal a value under a name; takes the place of the one before. Raises SecretRefused."""
    if not _NAME.fullmatch(name):
        raise SecretRefused(
            name, "a name has small letters, digits and _, begins with a letter, and at most 40 of them"
        )
    if not value:
        raise SecretRefused(name, "the value is empty")
    if len(value) > MAX_BYTES:
        raise SecretRefused(name, f"the value has more than {MAX_BYTES} bytes")
    sealed = seal_column(environment.keys, "secret", "sealed", name, value)
    statement = insert(secret).values(name=name, sealed=sealed)
    update = statement.on_conflict_do_update(
        index_elements=[secret.c.name], set_={"sealed": sealed, "changed_at": sa.func.now()}
    )
    with environment.engine.begin() as connection:
        connection.execute(update)
        audit.record(connection, "secret.set", name)


def get_secret(environment: TenantEnvironment, name: str) -> bytes:
    """Open a secret. Raises SecretMissing, ColumnRefused."""
    with environment.engine.connect() as connection:
        sealed = connection.execute(sa.select(secret.c.sealed).where(secret.c.name == name)).scalar()
    if sealed is None:
        raise SecretMissing(environment.tenant.name, name)
    return open_column(environment.keys, "secret", "sealed", name, bytes(sealed))


def list_secrets(environment: TenantEnvironment) -> list[tuple[str, datetime]]:
    """Names of the secrets that are set, with when they were changed last."""
    query = sa.select(secret.c.name, secret.c.changed_at).order_by(secret.c.name)
    with environment.engine.connect() as connection:
        return [(str(row.name), row.changed_at) for row in connection.execute(query)]
