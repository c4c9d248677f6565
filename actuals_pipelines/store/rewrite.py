"""Writes the difference that a publication makes: the file of rows that become live, and of those that cease to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from actuals_pipelines.store import difference, engine, files
from actuals_pipelines.store.difference import Difference
from actuals_pipelines.store.files import SEQUENCE, DataFile, FileKind
from actuals_pipelines.store.log import ROW_KEYS, Publication, Totals, open_log

if TYPE_CHECKING:
    import pyarrow.dataset as ds

    from actuals_pipelines.tenants.environment import TenantEnvironment

BATCH_ROWS = 122_880

# A unit may hold a line twice, alike in everything, so equal ids do not mean one row.
_ADDED = """
SELECT g.* EXCLUDE (_sequence) FROM givers g
SEMI JOIN (SELECT row_uid, row_digest, line, coalesce(_sequence, own.number) AS _sequence FROM to_add, own) t
  USING (row_uid, row_digest, line, _sequence)
"""
_EACH_ONCE = "QUALIFY row_number() OVER (PARTITION BY row_uid) = 1"
_REMOVED = "SELECT l.* EXCLUDE (_sequence) FROM leavers l SEMI JOIN to_remove USING (row_uid, _sequence)"
_RESTORED = "(FROM adds_file SEMI JOIN (SELECT row_uid FROM to_add WHERE entry IS NULL) USING (row_uid))"


class Giver(NamedTuple):
    """A generation's file and its unit's sequence: the higher, the newer."""

    sequence: int
    file: DataFile


@dataclass(frozen=True, slots=True)
class Written:
    """What a publication will name. `adds` is the generation's own file where all of it becomes live."""

    adds: DataFile | None
    removes: DataFile | None
    counts: Mapping[str, int]
    totals: Mapping[str, Totals]  # in, added, removed, repeats, overtaken, restored


def write_difference(
    env: TenantEnvironment,
    source_id: UUID,
    publication_id: UUID,
    *,
    own: Giver,
    leaving: Sequence[Giver],
    staying: Sequence[Giver],
    history: Sequence[Publication],
    connection: sa.Connection,
) -> Written:
    """Compute what publishing `own` changes and write it; see `difference.compute` for who gives what."""
    log = open_log(env, connection, history, schema=ROW_KEYS)
    work = engine.connect()
    try:
        with files.scanning(env, [g.file for g in (own, *leaving, *staying)] + list(log.files)):
            found = difference.compute(
                work,
                files.dataset(env, [own.file], schema=ROW_KEYS),
                log,
                newer=_tagged(env, [g for g in staying if g.sequence > own.sequence], ROW_KEYS),
                leaving=_tagged(env, leaving, ROW_KEYS),
                staying=_tagged(env, staying, ROW_KEYS),
            )
            adds: DataFile | None = own.file
            if found.own_added != found.rows or found.restored:
                query, schema = _added(env, work, found, own, staying)
                adds = _write(env, work, FileKind.TRANSACTIONS, (source_id, publication_id), query=query, schema=schema)
            removes = None
            if found.removed:
                schema = _register_leavers(env, connection, work, history)
                removes = _write(
                    env, work, FileKind.REMOVALS, (source_id, publication_id), query=_REMOVED, schema=schema
                )
            return Written(adds, removes, _counts(found), _totals(env, work, adds, removes))
    finally:
        work.close()


def _added(
    env: TenantEnvironment, work: duckdb.DuckDBPyConnection, found: Difference, own: Giver, staying: Sequence[Giver]
) -> tuple[str, pa.Schema]:
    """The statement that gives the rows that become live, and their columns."""
    heirs = {row[0] for row in work.execute("SELECT DISTINCT _sequence FROM to_add WHERE entry IS NULL").fetchall()}
    givers = [own, *(g for g in staying if g.sequence in heirs)]
    schema = files.unified_schema(env, [g.file for g in givers])
    work.register("givers", _tagged(env, givers, schema))
    work.execute("CREATE TABLE own AS SELECT $1::BIGINT AS number", [own.sequence])
    is_plain = not heirs and found.is_each_row_once
    return (_ADDED if is_plain else f"{_ADDED} {_EACH_ONCE}"), schema


def _register_leavers(
    env: TenantEnvironment,
    connection: sa.Connection,
    work: duckdb.DuckDBPyConnection,
    history: Sequence[Publication],
) -> pa.Schema:
    """Open the publications that the leaving rows came with; return the columns."""
    came_with = {row[0] for row in work.execute("SELECT DISTINCT _sequence FROM to_remove").fetchall()}
    leavers = open_log(env, connection, [p for p in history if p.sequence in came_with]).added
    work.register("leavers", leavers)
    return pa.schema([field for field in leavers.schema if field.name != SEQUENCE])


def _write(
    env: TenantEnvironment,
    work: duckdb.DuckDBPyConnection,
    kind: FileKind,
    owner_and_publication: tuple[UUID, UUID],
    *,
    query: str,
    schema: pa.Schema,
) -> DataFile | None:
    """Stream a statement's rows into a file; no rows, no file."""
    reader = work.sql(query).to_arrow_reader(BATCH_ROWS)
    written = files.write(env, kind, *owner_and_publication, reader.cast(schema))
    return written if written.rows else None  # an empty one is not named, and collected as garbage


def _tagged(env: TenantEnvironment, givers: Sequence[Giver], schema: pa.Schema) -> ds.Dataset:
    return files.dataset(env, [g.file for g in givers], schema=schema, sequences=[g.sequence for g in givers])


def _counts(found: Difference) -> dict[str, int]:
    return {
        "rows": found.rows,
        "added": found.own_added + found.restored,
        "removed": found.removed,
        "changed": found.changed,
        "repeats": found.repeats,
        "overtaken": found.overtaken,
        "restored": found.restored,
    }


def _totals(
    env: TenantEnvironment, work: duckdb.DuckDBPyConnection, adds: DataFile | None, removes: DataFile | None
) -> dict[str, Totals]:
    """Control totals; what was stored and removed is read back from the files as they were written."""
    for name, file in (("adds_file", adds), ("removes_file", removes)):
        work.register(name, files.dataset(env, [file] if file else [], schema=ROW_KEYS))
    return {
        "in": difference.totals(work, "candidate"),
        "added": difference.totals(work, "adds_file"),
        "removed": difference.totals(work, "removes_file"),
        "repeats": difference.totals(work, "(FROM not_stored WHERE is_repeat)"),
        "overtaken": difference.totals(work, "(FROM not_stored WHERE NOT is_repeat)"),
        "restored": difference.totals(work, _RESTORED),
    }
