"""When each API key was last used, for `actuals api-key list`; and the nonces that are too old to be kept."""

from __future__ import annotations

import logging

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from actuals_pipelines.database.tables import inbox_key_use
from actuals_pipelines.sources.inbox.admission import TenantInbox
from actuals_pipelines.sources.inbox.signatures import forget_old_nonces

log = logging.getLogger(__name__)

EVERY_SECONDS = 60


def write_uses(tenant: TenantInbox) -> None:
    """Write down which keys were used since the last time, and forget nonces that are too old to matter."""
    uses = dict(tenant.uses)
    if not uses:
        return
    tenant.uses.clear()
    row = insert(inbox_key_use)
    upsert = row.on_conflict_do_update(index_elements=["key_id"], set_={"used_at": row.excluded.used_at})
    try:
        with tenant.engine.begin() as connection:
            connection.execute(upsert, [{"key_id": key_id, "used_at": at} for key_id, at in sorted(uses.items())])
            forget_old_nonces(connection)
    except sa.exc.SQLAlchemyError as error:  # said again after the next use
        log.warning("uses of keys not written: tenant=%s kind=%s", tenant.view.ref.uuid, type(error).__name__)
