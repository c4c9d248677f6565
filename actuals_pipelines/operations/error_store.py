"""What a library really said when it failed: sealed in the tenant's database, for that tenant's operator alone."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

import sqlalchemy as sa

from actuals_pipelines.database.tables import error_original
from actuals_pipelines.encryption.columns import open_column, seal_column
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.tenants import audit
from actuals_pipelines.tenants.environment import TenantEnvironment

log = logging.getLogger(__name__)


class ErrorNotFound(ActualsError):
    """No kept error has this reference."""

    def __init__(self, tenant: str, reference: str) -> None:
        super().__init__(tenant, reference)
        self.tenant, self.reference = tenant, reference

    def __str__(self) -> str:
        known = f"`actuals error list {self.tenant}` shows those it keeps."
        return f"Tenant {self.tenant!r} keeps no error {self.reference!r}. {known}"


def keep_error(environment: TenantEnvironment, place: str, error: BaseException) -> str:
    """Seal the original error with its traceback; return the reference under which an operator reads it.

    Fails open: where even this cannot be written (the database is down), the reference says so, and the step's own
    failure is what people see.
    """
    reference = uuid4()
    text = "".join(traceback.format_exception(error))
    sealed = seal_column(environment.keys, "error_original", "sealed", reference, text.encode())
    row = {"id": reference, "place": place, "kind": type(error).__name__, "sealed": sealed}
    try:
        with environment.engine.begin() as connection:
            connection.execute(sa.insert(error_original).values(row))
    except sa.exc.SQLAlchemyError as second:
        log.error("error not kept: place=%s kind=%s second=%s", place, type(error).__name__, type(second).__name__)
        return "not-kept"
    return str(reference)


@dataclass(frozen=True, slots=True)
class KeptError:
    """What is known of a kept error without opening it."""

    reference: UUID
    at: datetime
    place: str  # the step, request or command
    kind: str  # the exception's class


def kept_errors(environment: TenantEnvironment, limit: int = 50) -> list[KeptError]:
    """The last kept errors, newest first, unopened."""
    e = error_original
    query = sa.select(e.c.id, e.c.at, e.c.place, e.c.kind).order_by(e.c.at.desc(), e.c.id).limit(limit)
    with environment.engine.connect() as connection:
        return [KeptError(row.id, row.at, row.place, row.kind) for row in connection.execute(query)]


def kept_error(environment: TenantEnvironment, reference: str) -> str:
    """Open a kept error: its traceback, which may hold the tenant's values."""
    try:
        row_id = UUID(reference)
    except ValueError:
        raise ErrorNotFound(environment.tenant.name, reference) from None
    with environment.engine.begin() as connection:
        sealed = connection.execute(sa.select(error_original.c.sealed).where(error_original.c.id == row_id)).scalar()
        if sealed is None:
            raise ErrorNotFound(environment.tenant.name, reference)
        audit.record(connection, "error.show", row_id)  # reading is the access: no entry, no text
    return open_column(environment.keys, "error_original", "sealed", row_id, sealed).decode()
