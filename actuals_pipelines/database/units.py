"""Units and sources as rows of the catalogue: what landing writes and the store reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from actuals_pipelines.database import tables
from actuals_pipelines.domain.unit import Unit


def ensure_named(connection: sa.Connection, table: sa.Table, names: Iterable[str]) -> dict[str, UUID]:
    """Give each name of `source` or `package` an id, once and for ever; return name -> id."""
    wanted = sorted(set(names))
    if not wanted:
        return {}
    known = _ids(connection, table, wanted)
    missing = [name for name in wanted if name not in known]
    if missing:
        rows = [{"id": uuid4(), "name": name} for name in missing]
        connection.execute(insert(table).values(rows).on_conflict_do_nothing(index_elements=["name"]))
        known = _ids(connection, table, wanted)
    return known


def source_id(connection: sa.Connection, name: str) -> UUID:
    """The id of a source of this tenant; it gets one if it has none."""
    return ensure_named(connection, tables.source, [name])[name]


def units_where(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> list[Unit]:
    """The units for which all conditions over `tables.unit` hold, oldest first."""
    query = (
        sa.select(tables.unit, tables.source.c.name)
        .join(tables.source, tables.source.c.id == tables.unit.c.source_id)
        .where(*conditions)
        .order_by(tables.unit.c.sequence)
    )
    return [_unit(row) for row in connection.execute(query)]


def _ids(connection: sa.Connection, table: sa.Table, names: list[str]) -> dict[str, UUID]:
    found = connection.execute(sa.select(table.c.name, table.c.id).where(table.c.name.in_(names)))
    return {row.name: row.id for row in found}


def _unit(row: sa.Row[Any]) -> Unit:
    return Unit(
        id=row.id,
        source=row.name,
        source_id=row.source_id,
        partition=row.partition,
        delivery=row.delivery,
        digest=row.digest,
        path=row.path,
        container_sha256=row.container_sha256,
        size_bytes=row.size_bytes,
        landed_at=row.landed_at,
        sequence=row.sequence,
        raw_state=row.raw_state,
        repeat_of=row.repeat_of,
    )
