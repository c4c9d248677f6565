"""Figures that hold amounts, as sealed columns: JSON under the tenant's column key, bound to table, column and row."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from actuals_pipelines.encryption.columns import RowId, open_column, seal_column

if TYPE_CHECKING:
    from actuals_pipelines.tenants.environment import TenantEnvironment


def seal_json(env: TenantEnvironment, column: sa.Column[Any], row_id: RowId, value: object) -> bytes:
    """Seal a value that JSON can hold for one row of a sealed column."""
    return seal_bytes(env, column, row_id, json.dumps(value, sort_keys=True).encode())


def open_json(env: TenantEnvironment, column: sa.Column[Any], row_id: RowId, sealed: bytes) -> Any:
    """Open what `seal_json` sealed for this very row."""
    return json.loads(open_bytes(env, column, row_id, sealed))


def seal_bytes(env: TenantEnvironment, column: sa.Column[Any], row_id: RowId, value: bytes) -> bytes:
    """Seal one value for one row of a sealed column."""
    return seal_column(env.keys, column.table.fullname, column.name, row_id, value)


def open_bytes(env: TenantEnvironment, column: sa.Column[Any], row_id: RowId, sealed: bytes) -> bytes:
    """Open what `seal_bytes` sealed for this very row."""
    return open_column(env.keys, column.table.fullname, column.name, row_id, sealed)
