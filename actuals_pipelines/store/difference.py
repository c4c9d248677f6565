"""What one unit changes in the live rows of its source, as sets of row ids: no files, no catalogue, only DuckDB.

The definition: **a row's live version is the one of the newest unit in force that has the row.** In force are the
published generations; publishing a unit may end the force of others (`replace`, `latest`, a newer generation of its
own). Within a unit the last line of a row counts. Everything below restricts this definition to the rows it touches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from actuals_pipelines.errors import ActualsError
from actuals_pipelines.store.files import SEQUENCE
from actuals_pipelines.store.log import RowLog, Totals

if TYPE_CHECKING:
    import pyarrow.dataset as ds

# candidate, newer, leaving, staying: files of generations; log_added, log_removed: the source's publications so far.
# The tables that the statements leave behind; `entry` is a row of `candidate`:
#   candidate (row_uid, row_digest, line, currency, amount_minor_units)
#   winner    (row_uid, row_digest)                    the version that is to be live, of every row of the candidate
#   to_add    (entry, row_uid, row_digest, line, _sequence)  what must become live; the candidate's own has an entry,
#                                                      what other units restore has their unit's _sequence
#   to_remove (row_uid, _sequence)                     the live version that must go, and the publication it came with
_CANDIDATE = """
CREATE TABLE candidate AS SELECT row_uid, row_digest, line, currency, amount_minor_units FROM candidate_file
"""
_EVERY_LINE = "CREATE VIEW last_lines AS SELECT rowid AS entry, row_uid, row_digest, line FROM candidate"
_LAST_LINES = """
CREATE TABLE last_lines AS
  SELECT rowid AS entry, row_uid, row_digest, line FROM candidate
  QUALIFY row_number() OVER (PARTITION BY row_uid ORDER BY line DESC, row_digest, rowid) = 1
"""
_CLAIMED = """
CREATE TABLE overruled AS
  SELECT row_uid, arg_max(row_digest, (_sequence, line)) AS row_digest
  FROM newer_files SEMI JOIN last_lines USING (row_uid) GROUP BY row_uid;
CREATE TABLE claimed AS SELECT * FROM last_lines ANTI JOIN overruled USING (row_uid);
CREATE VIEW winner AS SELECT row_uid, row_digest FROM claimed UNION ALL SELECT row_uid, row_digest FROM overruled
"""
_ORPHANS = """
CREATE TABLE orphan AS SELECT DISTINCT row_uid FROM leaving_files ANTI JOIN claimed USING (row_uid);
CREATE TABLE heir AS
  SELECT row_uid, row_digest, line, _sequence FROM staying_files SEMI JOIN orphan USING (row_uid)
  QUALIFY row_number() OVER (PARTITION BY row_uid ORDER BY _sequence DESC, line DESC, row_digest) = 1
"""
_CHANGES = """
CREATE VIEW wanted AS
  SELECT entry, row_uid, row_digest, line, NULL::BIGINT AS _sequence FROM claimed
  UNION ALL SELECT NULL, row_uid, row_digest, line, _sequence FROM heir;
CREATE VIEW touched AS SELECT row_uid FROM claimed UNION ALL SELECT row_uid FROM orphan;
CREATE TABLE gone AS
  SELECT row_uid, max(_sequence) AS last_removal FROM log_removed SEMI JOIN touched USING (row_uid) GROUP BY row_uid;
CREATE TABLE live_now AS
  SELECT a.row_uid, a.row_digest, a._sequence
  FROM (SELECT row_uid, row_digest, _sequence FROM log_added SEMI JOIN touched USING (row_uid)) a
  LEFT JOIN gone g ON g.row_uid = a.row_uid
  WHERE g.last_removal IS NULL OR g.last_removal <= a._sequence;
CREATE TABLE to_add AS SELECT * FROM wanted ANTI JOIN live_now USING (row_uid, row_digest);
CREATE TABLE to_remove AS
  SELECT row_uid, _sequence FROM live_now ANTI JOIN wanted USING (row_uid, row_digest)
"""
# The candidate's lines that do not become live by it, and whether their content is that of the version that is live.
_NOT_STORED = """
CREATE TABLE not_stored AS
  SELECT c.currency, c.amount_minor_units, c.row_digest = w.row_digest AS is_repeat
  FROM (SELECT rowid AS entry, * FROM candidate) c
  ANTI JOIN (SELECT entry FROM to_add WHERE entry IS NOT NULL) s ON s.entry = c.entry
  JOIN winner w ON w.row_uid = c.row_uid
"""
_ALL_STORED = """
CREATE TABLE not_stored AS SELECT currency, amount_minor_units, false AS is_repeat FROM candidate LIMIT 0
"""


class TotalTooLarge(ActualsError):
    """A control total does not fit 64 bits."""

    def __init__(self, currency: str) -> None:
        super().__init__(currency)
        self.currency = currency

    def __str__(self) -> str:
        return f"A control total in {self.currency} does not fit 64 bits. Split the unit, or look for broken amounts."


@dataclass(frozen=True, slots=True)
class Difference:
    """How many rows are to be added and removed; which ones is left in the connection's tables."""

    rows: int  # of the candidate
    own_added: int  # of the candidate
    restored: int  # of other units: a unit lost its force, and these have the row too
    removed: int
    changed: int  # removed and added
    repeats: int  # of the candidate: the same content is live already, or comes again in the unit
    overtaken: int  # of the candidate: a later line or a newer unit has another version
    is_each_row_once: bool  # the candidate has no row twice


def compute(
    connection: duckdb.DuckDBPyConnection,
    candidate: ds.Dataset,
    log: RowLog,
    *,
    newer: ds.Dataset,
    leaving: ds.Dataset,
    staying: ds.Dataset,
) -> Difference:
    """Leave `to_add` and `to_remove` in the connection and count them.

    Args:
        candidate: the generation that is published.
        newer: generations in force whose units are newer, tagged with their unit's sequence.
        leaving: generations that lose their force by this publication.
        staying: generations that keep it, the newer ones too, tagged with their unit's sequence.
    """
    for name, scanned in {
        "candidate_file": candidate,
        "log_added": log.added,
        "log_removed": log.removed,
        "newer_files": newer,
        "leaving_files": leaving,
        "staying_files": staying,
    }.items():
        connection.register(name, scanned)
    connection.execute(_CANDIDATE)
    distinct, rows = _one(connection, "SELECT count(DISTINCT row_uid), count(*) FROM candidate")
    lines = _EVERY_LINE if distinct == rows else _LAST_LINES
    for script in (lines, _CLAIMED, _ORPHANS, _CHANGES):
        connection.execute(script)
    own_added, restored = _one(connection, "SELECT count(entry), count(*) - count(entry) FROM to_add")
    connection.execute(_NOT_STORED if own_added < rows else _ALL_STORED)
    [removed] = _one(connection, "SELECT count(*) FROM to_remove")
    [changed] = _one(connection, "SELECT count(*) FROM to_remove SEMI JOIN to_add USING (row_uid)")
    repeats, overtaken = _one(
        connection, "SELECT count(*) FILTER (is_repeat), count(*) FILTER (NOT is_repeat) FROM not_stored"
    )
    return Difference(rows, own_added, restored, removed, changed, repeats, overtaken, distinct == rows)


def totals(connection: duckdb.DuckDBPyConnection, relation: str) -> Totals:
    """Rows and minor units per currency of a relation of this connection."""
    return totals_by_sequence(connection, f"(SELECT *, 0 AS {SEQUENCE} FROM {relation})").get(0, {})  # noqa: S608


def totals_by_sequence(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[int, dict[str, tuple[int, int]]]:
    """`totals` of each part of a relation, by its `_sequence`."""
    query = f"SELECT {SEQUENCE}, currency, count(*), sum(amount_minor_units) FROM {relation} GROUP BY ALL ORDER BY ALL"  # noqa: S608
    result: dict[int, dict[str, tuple[int, int]]] = {}
    for sequence, currency, rows, minor in connection.execute(query).fetchall():
        if abs(minor) >= 2**63:
            raise TotalTooLarge(currency)
        result.setdefault(sequence, {})[currency] = (int(rows), int(minor))
    return result


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    [row] = connection.execute(query).fetchall()  # to the end: an open result blocks the connection
    return tuple(int(value) for value in row)
