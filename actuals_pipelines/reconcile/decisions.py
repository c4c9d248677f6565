# ruff: noqa: S608 - SQL is put together from our own names and quoted columns
"""What people decided, as the solver takes it: lines of a table, one per decision and row.

A decision ties rows together as a key does: the rows of a claim by the decision's id, a row to its new id by that id's
key. So the touched closure follows decisions the way it follows keys. An adjustment is both: a row of its own, of the
built-in source `adjustments`, and a claim of that row with the rows it makes balance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import duckdb
import pyarrow as pa

from actuals_pipelines.domain.package import ADJUSTMENTS, MatchingPackage, Member
from actuals_pipelines.engine import number_of
from actuals_pipelines.expressions import literal, quoted

CLAIMS = "'match', 'adjust'"
"""The kinds, for SQL, whose rows are one group."""

BY_HAND = "decision"
"""The pass of a group that a person made."""

LINES = pa.schema(
    [
        pa.field("decision", pa.uuid(), nullable=False),
        pa.field("sequence", pa.int64(), nullable=False),  # place in the log: of two labels the later holds
        pa.field("kind", pa.string(), nullable=False),  # match | adjust | detach | rekey | explain
        pa.field("row_uid", pa.uuid(), nullable=False),
        pa.field("pass", pa.string()),  # match: the pass that made it; null: a person did
        pa.field("is_approved", pa.bool_(), nullable=False),  # by another person
        pa.field("difference", pa.int64()),  # match: what the rows left over when it was decided, minor units
        pa.field("key_column", pa.string()),  # rekey: key_<scheme>
        pa.field("key", pa.uuid()),  # rekey: the row's key from now on
        pa.field("category", pa.string()),  # explain
        pa.field("fingerprint", pa.string()),  # explain: of the group it spoke of, see `fingerprint_sql`
        pa.field("expires_on", pa.date32()),  # explain: the last day it holds
        pa.field("amount_minor_units", pa.int64()),  # adjust: the line of the adjustment's own row, else null
        pa.field("currency", pa.string()),
        pa.field("booked_on", pa.date32()),  # the adjustment's posting date
    ]
)
"""Decisions in force: what was withdrawn is not in it, nor an adjustment that nobody else approved."""

NO_DECISIONS = pa.Table.from_batches([], LINES)  # `empty_table` would load pandas with every location


def take_decisions(
    con: duckdb.DuckDBPyConnection, now: pa.Table = NO_DECISIONS, before: pa.Table = NO_DECISIONS
) -> None:
    """Create `decided` (the lines in force), `overrides` (the keys of detached and rekeyed rows), and for the closure
    `ties` (row_uid, k) and `stirred` (row_uid: rows of which a decision was taken, approved or withdrawn since).

    Args:
        before: the lines in force at the opening.
    """
    names = ", ".join(map(quoted, LINES.names))
    con.register("decided_now", now.select(LINES.names))
    con.register("decided_before", before.select(LINES.names))
    con.execute(f"CREATE OR REPLACE TEMP TABLE decided AS SELECT {names} FROM decided_now")
    con.execute(f"CREATE OR REPLACE TEMP TABLE decided_once AS SELECT {names} FROM decided_before")
    both = "(FROM decided UNION ALL FROM decided_once)"
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE ties AS
        SELECT row_uid, decision AS k FROM {both} WHERE kind IN ({CLAIMS})
        UNION SELECT row_uid, key FROM {both} WHERE kind = 'rekey'""")
    con.execute("""
        CREATE OR REPLACE TEMP TABLE stirred AS
        SELECT DISTINCT row_uid FROM (
            (FROM decided EXCEPT FROM decided_once) UNION ALL (FROM decided_once EXCEPT FROM decided))
        WHERE kind <> 'explain'""")
    con.execute("""
        CREATE OR REPLACE TEMP TABLE overrides AS
        SELECT row_uid, key_column, key FROM decided WHERE kind IN ('detach', 'rekey')
        QUALIFY row_number() OVER (PARTITION BY row_uid ORDER BY sequence DESC) = 1""")


def with_adjustments(package: MatchingPackage) -> MatchingPackage:
    """The package with its built-in member: an adjustment stands on IST for what will not come."""
    return replace(package, ist=(*package.ist, Member(ADJUSTMENTS)))


def adjustments_sql(relation: str, columns: list[str]) -> str:
    """SQL for the rows that adjustments are, with these columns of a transaction; null where they have none."""
    known = {
        "row_uid": "row_uid", "row_digest": "row_uid", "row_id": "CAST(decision AS VARCHAR)",
        "source": literal(ADJUSTMENTS), "kind": "'adjustment'", "status": "'booked'", "booked_on": "booked_on",
        "amount_minor_units": "amount_minor_units", "currency": "currency",
    }  # fmt: skip
    selected = ", ".join(f"{known.get(name, 'NULL')} AS {quoted(name)}" for name in columns)
    return f"SELECT {selected} FROM {relation} WHERE kind = 'adjust' AND amount_minor_units IS NOT NULL"


def has_claims(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether any claim is in force."""
    return number_of(con, f"SELECT count(*) FROM decided WHERE kind IN ({CLAIMS})") > 0


def has_overrides(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether any row has other keys than its source gave it."""
    return number_of(con, "SELECT count(*) FROM overrides") > 0


def effective(con: duckdb.DuckDBPyConnection, columns: Mapping[str, str], relation: str) -> str:
    """A relation with row_uid and key columns: the same, with the keys that people gave its rows.

    Args:
        columns: see `members.keys_of_schemes`.
    """
    if not columns or not has_overrides(con):
        return relation
    replaced = ", ".join(f"{_key_now(name, own)} AS {quoted(name)}" for name, own in columns.items())
    return f"(SELECT r.* REPLACE ({replaced}) FROM {relation} r LEFT JOIN overrides v ON v.row_uid = r.row_uid)"


def fingerprint_sql(rows: str = "") -> str:
    """An aggregate over a group's rows: its sorted row_uids with their signed amounts."""
    dot = f"{rows}." if rows else ""
    return f"sha256(string_agg({dot}row_uid || ' ' || {dot}contribution, ';' ORDER BY {dot}row_uid))"


def _key_now(column: str, own: str) -> str:
    """A detached row has no keys at all; a rekeyed one has its new id in one scheme, and none of that in its texts."""
    given = f"r.{quoted(column)}"
    new = "v.key" if column == own else "NULL"
    return f"""CASE WHEN v.row_uid IS NULL THEN {given} WHEN v.key_column IS NULL THEN NULL
        WHEN v.key_column = {literal(own)} THEN {new} ELSE {given} END"""
