"""Who may do what in a tenant's database and in the control database, in one place; applied after every migration.

`owner` makes tables and does not log in. `app` works with rows and makes nothing. `ro` reads what people may see.
`door` inserts what arrives and reads back receipts, never a body: a door's credential opens nothing that came before.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from actuals_pipelines.database.tables import CONTROL, TENANT

ROWS = "select, insert, update, delete"

_HIDDEN_FROM_READERS = frozenset({"secret", "oauth_token", "error_original"})
_READABLE = {  # where readers may not see every column
    "sftp_connection": "select (source_id, public_key, host_key, refused_host_key, changed_at)",
}
_NARROW = {  # where `app` and `control` may not do everything with rows
    "audit_outbox": "select, insert",
    "policy": "select",
    "decision": "select, insert (id, package_id, kind, target_id, author, expires_on, pass, detail_sealed)",
    "decision_row": "select, insert (decision_id, row_uid)",
    "release": "select, insert (id, generation_id, asked_by, reason_sealed), update (approved_by, approved_at)",
}

# Columns are named where a door must not choose the rest: the state of a body, the unit it became part of, a refusal.
_DOOR = {
    "arrival": "insert (id, door, source_id, delivery, name_sealed, partition, path, size_bytes, container_sha256, "
    "sealed_key, content_mac, received_at)",
    "inbox_data_key": "insert",
    "inbox_key": "insert, select",  # ON CONFLICT, "same id, other body", receipts
    "inbox_body": "insert (id, source_id, mode, rows, data_key_id, sealed), "
    "select (id, source_id, mode, received_at, state, changed_at)",
    "inbox_reject": "select (receipt_id, reason)",
    "inbox_nonce": "insert, select, delete",
    "inbox_key_use": "select, insert, update (used_at)",
}


def tenant_grants(role: str) -> dict[str, str]:
    """Table -> privileges of `app`, `ro` or `door`. A table that is not named is closed."""
    if role == "door":
        return dict(_DOOR)
    if role == "ro":
        shown = (name for name in sorted(TENANT.tables) if name not in _HIDDEN_FROM_READERS)
        return {name: _READABLE.get(name, "select") for name in shown}
    return {name: _NARROW.get(name, ROWS) for name in sorted(TENANT.tables)}


def control_grants() -> dict[str, str]:
    """Table -> privileges of the role `control`."""
    return {name: _NARROW.get(name, ROWS) for name in sorted(CONTROL.tables)}


def apply_grants(connection: sa.Connection, role: str, grants: Mapping[str, str], *, sees_revision: bool) -> None:
    """Give `role` exactly these rights in schema `public`, taking away what it had beyond. The caller owns the tables.

    Args:
        sees_revision: whether it may read at which revision the database is.
    """
    quote = connection.dialect.identifier_preparer.quote_identifier
    connection.exec_driver_sql(f"revoke all on all tables in schema public from {quote(role)}")
    connection.exec_driver_sql(f"revoke all on all sequences in schema public from {quote(role)}")
    for table, privileges in grants.items():
        # Revoking a table's rights takes those on its columns along.
        connection.exec_driver_sql(f"grant {privileges} on public.{quote(table)} to {quote(role)}")
    if sees_revision:
        connection.exec_driver_sql(f"grant select on public.alembic_version to {quote(role)}")
