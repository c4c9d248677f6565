"""What is live, what became live and what ceased to be: reading the log of publications back.

A row is live if its last event in the log is an add. The whole log has one version of a row at a time, because each
publication removes what it replaces. A close reads a part of the log (source-days up to its own, not taken in before),
in which events may be missing between two others; `changes` is exact there too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING
from uuid import UUID

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.store import engine, files
from actuals_pipelines.store.files import SEQUENCE
from actuals_pipelines.store.log import ROW_KEYS, Publication, RowLog, Totals, manifest, net, open_log, publications
from actuals_pipelines.tables import TRANSACTIONS

if TYPE_CHECKING:
    import pyarrow.dataset as ds

    from actuals_pipelines.tenants.environment import TenantEnvironment

_BATCH_ROWS = 122_880

_LIVE = """
SELECT a.* EXCLUDE (_sequence) FROM added a
LEFT JOIN (SELECT row_uid, max(_sequence) AS last_removal FROM removed GROUP BY row_uid) r ON r.row_uid = a.row_uid
WHERE r.last_removal IS NULL OR r.last_removal <= a._sequence
"""
# Events in order: a publication removes a row before it adds it again. `moment` orders them.
_EVENTS = """
CREATE TABLE event AS
  SELECT row_uid, row_digest, _sequence, true AS is_add, 2 * _sequence + 1 AS moment FROM new_added
  UNION ALL SELECT row_uid, row_digest, _sequence, false, 2 * _sequence FROM new_removed
"""
# Rows that publications outside this set also changed (`_foreign`): for them the set alone does not say what the
# earlier closes know. Their whole history within those closes does.
_CONTESTED = """
CREATE TABLE contested AS
  SELECT DISTINCT row_uid FROM event SEMI JOIN
    (SELECT row_uid FROM between_added UNION ALL SELECT row_uid FROM between_removed) USING (row_uid);
CREATE TABLE earlier AS
  SELECT row_uid, row_digest, _sequence, true AS is_add, 2 * _sequence + 1 AS moment
  FROM taken_added SEMI JOIN contested USING (row_uid)
  UNION ALL
  SELECT row_uid, row_digest, _sequence, false, 2 * _sequence FROM taken_removed SEMI JOIN contested USING (row_uid)
"""
_NET = """
CREATE TABLE opening AS
  SELECT row_uid, arg_min(row_digest, moment) AS row_digest, arg_min(_sequence, moment) AS _sequence, 'new' AS log
  FROM event ANTI JOIN contested USING (row_uid) GROUP BY row_uid HAVING NOT arg_min(is_add, moment)
  UNION ALL
  SELECT row_uid, arg_max(row_digest, moment), arg_max(_sequence, moment), 'taken'
  FROM earlier GROUP BY row_uid HAVING arg_max(is_add, moment);
CREATE TABLE closing AS
  SELECT row_uid, arg_max(row_digest, moment) AS row_digest, arg_max(_sequence, moment) AS _sequence
  FROM (FROM event UNION ALL FROM earlier) GROUP BY row_uid HAVING arg_max(is_add, moment);
CREATE TABLE entering AS SELECT row_uid, _sequence FROM closing ANTI JOIN opening USING (row_uid, row_digest);
CREATE TABLE leaving AS SELECT row_uid, _sequence, log FROM opening ANTI JOIN closing USING (row_uid, row_digest)
"""
_ADDS = "SELECT a.* EXCLUDE (_sequence) FROM new_added a SEMI JOIN entering USING (row_uid, _sequence)"
_REMOVES = """
SELECT r.* EXCLUDE (_sequence) FROM new_removed r
  SEMI JOIN (FROM leaving WHERE log = 'new') USING (row_uid, _sequence)
UNION ALL BY NAME
SELECT a.* EXCLUDE (_sequence) FROM taken_added a
  SEMI JOIN (FROM leaving WHERE log = 'taken') USING (row_uid, _sequence)
"""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a close takes in: each row at most once in `adds` and at most once in `removes`.

    A row in both changed; a row whose content came back as it was is in neither. The readers may be read once, in any
    order, also side by side.
    """

    publications: Sequence[Publication]  # all that were not taken in before, also those without effect
    adds: pa.RecordBatchReader
    removes: pa.RecordBatchReader
    totals: dict[str, dict[str, tuple[int, int]]]  # source -> currency -> net (rows, minor units)


def live(env: TenantEnvironment, source: str, as_of_sequence: int | None = None) -> pa.RecordBatchReader:
    """Stream the live rows of a source: TRANSACTIONS, extra fields and match keys; each row_uid once.

    Args:
        as_of_sequence: as they were right after that publication; None is now.
    """
    with env.engine.begin() as connection:
        log = publications(connection, *_of([source], as_of_sequence))
        rows = open_log(env, connection, log, schema=None if log else TRANSACTIONS)
    schema = _without_sequence(rows.added.schema)
    if not rows.has_removals:
        return _scanned(env, rows.added, schema, rows.files)
    work = engine.connect()
    work.register("added", rows.added)
    work.register("removed", rows.removed)
    return _streamed(env, work, _LIVE, schema, rows.files)


def control_totals(env: TenantEnvironment, source: str, as_of_sequence: int | None = None) -> Totals:
    """Live rows and minor units per currency, added up from the publications' sealed totals: no file is read."""
    with env.engine.begin() as connection:
        log = publications(connection, *_of([source], as_of_sequence))
    return _net_of(env, log)


def changes(
    env: TenantEnvironment,
    sources: Sequence[str],
    *,
    until: date,
    taken: Collection[UUID],
    columns: Callable[[list[str]], Collection[str]] | None = None,
) -> Changes:
    """What a close of day `until` takes in: publications with source-day <= `until` that are not `taken`, netted.

    Args:
        sources: the package's members, each once.
        until: the close day.
        taken: the publications that earlier closes of the package took in (`closes.taken_in`).
        columns: chooses from the columns there are those that the rows shall have; None: all.
    """
    with env.engine.begin() as connection:
        whole = publications(connection, *_of(sources, None))
        new = [p for p in whole if p.partition <= until and p.id not in taken]
        between = _foreign(whole, new, taken)
        # Earlier files are opened only where a row's history may be needed.
        before = [p for p in whole if p.id in taken] if between else []
        # Where nothing is new, the last publication says which columns the rows would have.
        shown = [*new, *before] or whole[-1:]
        rows = open_log(env, connection, shown, schema=None if shown else TRANSACTIONS)
        wide = _without_sequence(rows.added.schema)
        if columns is not None:
            chosen = set(columns(wide.names)) | set(ROW_KEYS.names)
            wide = pa.schema([field for field in wide if field.name in chosen])
        whole_rows = [open_log(env, connection, part, schema=wide) for part in (new, before)]
        is_plain = not between and not whole_rows[0].has_removals
        keys = [] if is_plain else [open_log(env, connection, part, schema=ROW_KEYS) for part in (new, between, before)]
    if is_plain:  # rows were only added, each once: a row is added again only after it was removed
        net_totals = {source: _net_of(env, [p for p in new if p.source == source]) for source in sources}
        adds, removes = (_scanned(env, part, wide, rows.files) for part in (whole_rows[0].added, whole_rows[0].removed))
        return Changes(new, adds, removes, net_totals)
    return _netted(env, sources, new, keys=keys, whole_rows=whole_rows, rows=rows, wide=wide)


def _netted(
    env: TenantEnvironment,
    sources: Sequence[str],
    new: Sequence[Publication],
    *,
    keys: Sequence[RowLog],
    whole_rows: Sequence[RowLog],
    rows: RowLog,
    wide: pa.Schema,
) -> Changes:
    """The net of publications that also removed rows, or between which others stand."""
    work = engine.connect()
    for name, part in zip(("new", "between", "taken"), keys, strict=True):
        _register(work, name, part)
    with files.scanning(env, [file for part in keys for file in part.files]):
        for script in (_EVENTS, _CONTESTED):
            work.execute(script)
        [(is_contested,)] = work.execute("SELECT count(*) > 0 FROM contested").fetchall()
        [(has_histories,)] = work.execute("SELECT count(*) > count(DISTINCT row_uid) FROM event").fetchall()
        if is_contested or has_histories:
            work.execute(_NET)
    if not is_contested:
        net_totals = {source: _net_of(env, [p for p in new if p.source == source]) for source in sources}
    if not is_contested and not has_histories:  # as in a first load: every event is a change of its own
        work.close()
        parts = (whole_rows[0].added, whole_rows[0].removed)
        adds, removes = (_scanned(env, part, wide, rows.files) for part in parts)
        return Changes(new, adds, removes, net_totals)
    for name, part in zip(("new", "taken"), whole_rows, strict=True):
        _register(work, name, part)
    if is_contested:
        net_totals = _totals_of_rows(work)
    readers = []
    for query in (_ADDS, _REMOVES):
        own = work.cursor()  # shares the tables; what is registered is its own
        for name, part in zip(("new", "taken"), whole_rows, strict=True):
            _register(own, name, part)
        readers.append(_streamed(env, own, query, wide, rows.files))
    return Changes(new, readers[0], readers[1], net_totals)


def _foreign(whole: Sequence[Publication], new: Sequence[Publication], taken: Collection[UUID]) -> list[Publication]:
    """The publications whose events may stand between those of `new`, or before them without having been taken in.

    Where none of them touches a row, the new events of that row follow upon what the earlier closes know of it.
    """
    if not new:
        return []
    is_new = {p.id for p in new}
    first, last = new[0].sequence, new[-1].sequence
    others = (p for p in whole if p.id not in is_new)
    return [p for p in others if (p.sequence > first if p.id in taken else p.sequence < last)]


def _of(sources: Sequence[str], as_of_sequence: int | None) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [tables.source.c.name.in_(sources)]
    if as_of_sequence is not None:
        conditions.append(tables.publication.c.sequence <= as_of_sequence)
    return conditions


def _net_of(env: TenantEnvironment, log: Sequence[Publication]) -> dict[str, tuple[int, int]]:
    terms: list[tuple[int, Totals]] = []
    for publication in log:
        totals = manifest(env, publication)
        terms += [(1, totals["added"]), (-1, totals["removed"])]
    return net(terms)


def _totals_of_rows(work: duckdb.DuckDBPyConnection) -> dict[str, dict[str, tuple[int, int]]]:
    """Net totals from the rows themselves: the sealed totals hold only where no publication in between is left out."""
    query = f"""
        SELECT source, currency, sum(n), sum(n * amount_minor_units) FROM (
          SELECT source, currency, amount_minor_units, 1 AS n FROM ({_ADDS}) UNION ALL BY NAME
          SELECT source, currency, amount_minor_units, -1 AS n FROM ({_REMOVES})
        ) GROUP BY source, currency ORDER BY source, currency
    """  # noqa: S608 - both are constants above
    result: dict[str, dict[str, tuple[int, int]]] = {}
    for source, currency, rows, minor in work.execute(query).fetchall():
        result.setdefault(source, {})[currency] = (int(rows), int(minor))
    return result


def _register(work: duckdb.DuckDBPyConnection, name: str, log: RowLog) -> None:
    work.register(f"{name}_added", log.added)
    work.register(f"{name}_removed", log.removed)


def _without_sequence(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field for field in schema if field.name != SEQUENCE])


def _scanned(
    env: TenantEnvironment, rows: ds.Dataset, schema: pa.Schema, scanned: Sequence[files.DataFile]
) -> pa.RecordBatchReader:
    def batches() -> Iterator[pa.RecordBatch]:
        with files.scanning(env, scanned):
            yield from rows.scanner(columns=schema.names, batch_size=_BATCH_ROWS).to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())


def _streamed(
    env: TenantEnvironment,
    work: duckdb.DuckDBPyConnection,
    query: str,
    schema: pa.Schema,
    scanned: Sequence[files.DataFile],
) -> pa.RecordBatchReader:
    """Run a statement when its reader is first read; the connection ends with the reader."""

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            with files.scanning(env, scanned):
                yield from work.sql(query).to_arrow_reader(_BATCH_ROWS).cast(schema)
        finally:
            work.close()

    return pa.RecordBatchReader.from_batches(schema, batches())
