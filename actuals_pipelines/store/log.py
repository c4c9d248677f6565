"""The log of publications: what became live and what ceased to be, in order. Rows are live by their last event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pyarrow as pa
import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.store import files
from actuals_pipelines.store.sealed import open_json

if TYPE_CHECKING:
    import pyarrow.dataset as ds

    from actuals_pipelines.tenants.environment import TenantEnvironment

ROW_KEYS = pa.schema(
    [
        pa.field("row_uid", pa.uuid(), nullable=False),
        pa.field("row_digest", pa.uuid(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("currency", pa.string(), nullable=False),
        pa.field("amount_minor_units", pa.int64(), nullable=False),
    ]
)
"""What the store itself reads of a row; naming the columns saves opening every footer."""

Totals = Mapping[str, tuple[int, int]]
"""Currency -> (rows, minor units): a control total."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One unit made live, as a difference of rows."""

    id: UUID
    sequence: int
    source: str
    source_id: UUID
    partition: date
    generation_id: UUID
    unit_id: UUID
    adds_file_id: UUID | None
    removes_file_id: UUID | None
    counts: Mapping[str, int]  # rows, added, removed, changed, repeats, overtaken, restored
    totals_sealed: bytes
    published_at: datetime


@dataclass(frozen=True, slots=True)
class RowLog:
    """The rows of some publications, each row with its publication's `_sequence`. Removed rows are whole rows."""

    added: ds.Dataset
    removed: ds.Dataset
    files: Sequence[files.DataFile]
    has_removals: bool


def publications(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> list[Publication]:
    """The publications for which all conditions over `tables.publication` hold, in order."""
    p = tables.publication
    query = (
        sa.select(p, tables.source.c.name, tables.generation.c.unit_id)
        .join(tables.source, tables.source.c.id == p.c.source_id)
        .join(tables.generation, tables.generation.c.id == p.c.generation_id)
        .where(*conditions)
        .order_by(p.c.sequence)
    )
    return [_publication(row) for row in connection.execute(query)]


def open_log(
    env: TenantEnvironment, connection: sa.Connection, log: Sequence[Publication], *, schema: pa.Schema | None = None
) -> RowLog:
    """Open the files that these publications name.

    Args:
        schema: the columns to show; without it the union of the files' columns.
    """
    named = files.named(connection, [i for p in log for i in (p.adds_file_id, p.removes_file_id) if i is not None])
    known = schema or files.unified_schema(env, list(named.values()))
    added = [(named[p.adds_file_id], p.sequence) for p in log if p.adds_file_id is not None]
    removed = [(named[p.removes_file_id], p.sequence) for p in log if p.removes_file_id is not None]

    def opened(tagged: list[tuple[files.DataFile, int]]) -> ds.Dataset:
        return files.dataset(env, [f for f, _ in tagged], schema=known, sequences=[s for _, s in tagged])

    return RowLog(opened(added), opened(removed), list(named.values()), bool(removed))


def manifest(env: TenantEnvironment, publication: Publication) -> dict[str, Totals]:
    """The sealed totals of one publication: in, added, removed, repeats, overtaken; each per currency."""
    column = tables.publication.c.totals_sealed
    opened: dict[str, dict[str, list[int]]] = open_json(env, column, publication.id, publication.totals_sealed)
    return {term: {c: (rows, minor) for c, (rows, minor) in totals.items()} for term, totals in opened.items()}


def net(terms: Sequence[tuple[int, Totals]]) -> dict[str, tuple[int, int]]:
    """Add control totals with their signs (+1 or -1); a currency that comes to nothing stays, with zeros."""
    result: dict[str, tuple[int, int]] = {}
    for sign, totals in terms:
        for currency, (rows, minor) in totals.items():
            before = result.get(currency, (0, 0))
            result[currency] = (before[0] + sign * rows, before[1] + sign * minor)
    return result


def _publication(row: sa.Row[Any]) -> Publication:
    return Publication(
        id=row.id,
        sequence=row.sequence,
        source=row.name,
        source_id=row.source_id,
        partition=row.partition,
        generation_id=row.generation_id,
        unit_id=row.unit_id,
        adds_file_id=row.adds_file_id,
        removes_file_id=row.removes_file_id,
        counts=row.counts,
        totals_sealed=row.totals_sealed,
        published_at=row.published_at,
    )
