"""What a library really said when it failed: sealed in the tenant's database, for that tenant's operator alone."""

from __future__ import annotations

import logging
import traceback
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
        return f"Tenant {self.tenant!r} keeps no error {self.reference!r}. References stand in the text of a failure."


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
