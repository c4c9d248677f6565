# ruff: noqa: S608 - SQL is put together from our own names, quoted columns and checked expressions
"""Solve a package over a set of rows: each row gets its group, status, reason and difference."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import duckdb
import pyarrow as pa

from actuals_pipelines.domain.package import MatchingPackage
from actuals_pipelines.engine import engine, table_of
from actuals_pipelines.expressions import quoted
from actuals_pipelines.reconcile.due import Clock
from actuals_pipelines.reconcile.members import refuse_unbuilt, select_live
from actuals_pipelines.reconcile.passes import MAX_ROWS_PER_KEY, group_rows
from actuals_pipelines.reconcile.reasons import judge_open_groups
from actuals_pipelines.reconcile.schema import OUTCOME, SOLVED


def solve(
    rows: pa.Table,
    package: MatchingPackage,
    *,
    as_of: date | None = None,
    coverage: Mapping[str, date] | None = None,
    holidays: frozenset[date] = frozenset(),
    version: int = 1,
    max_rows_per_key: int = MAX_ROWS_PER_KEY,
    threads: int = 2,
) -> pa.Table:
    """Reconcile `rows` by `package`, all at once.

    Args:
        rows: transactions of the package's sources, schema `tables.TRANSACTIONS` with extra and key columns; an
            Arrow table (it is scanned more than once).
        as_of: the day from which `due` is judged; None: nothing is too early to be missing.
        coverage: source -> last day it is complete through; None: every source is complete.
        version: of the package, kept with each group.

    Returns:
        schema `schema.SOLVED`, one row per row given, in no particular order. Rows that no member takes, and rows
        older than the package's start, are `not_relevant` and in no group.

    Raises:
        NotBuiltYet, KeysMissing, RowTakenTwice, SourceNotInPackage, ExpressionRefused, AmountOverflow

    Source: reconcile/MATCHING.md 1 to 4; its worked example is actuals_pipelines_tests/reconcile/test_solve.py.
    """
    refuse_unbuilt(package)
    clock = Clock(as_of, coverage, holidays)
    with engine(threads) as con:
        con.register("given", rows)
        solve_relation(
            con, package, "given", list(rows.schema.names), version=version, max_rows_per_key=max_rows_per_key
        )
        collect_open_rows(con, "given", "left_open")
        judge_open_groups(con, package, clock)
        columns = ", ".join(_judged(name) for name in SOLVED.names)
        return shaped(table_of(con, f"SELECT {columns} FROM solved s {JUDGED}"), SOLVED)


JUDGED = """LEFT JOIN judged j ON s.status = 'open' AND j.group_key = s.group_key AND j.currency = s.currency
            AND j.continuation = s.continuation"""


def _judged(name: str) -> str:
    if name in ("status", "reason", "category"):
        return f"coalesce(j.{name}, s.{name}) AS {name}"
    return f"s.{quoted(name)}"


def shaped(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The same columns under the schema's names and nullability; the engine's own types must fit already."""
    return pa.table(list(table.itercolumns()), schema=schema)


def solve_relation(
    con: duckdb.DuckDBPyConnection,
    package: MatchingPackage,
    rows: str,
    available: list[str],
    *,
    version: int,
    max_rows_per_key: int,
) -> None:
    """Create view `solved` (schema SOLVED) over the relation `rows`: groups are matched or, for now, `open`.

    `left_open` is its part that is open, found without reading the rest.
    """
    select_live(con, package, rows, available)
    group_rows(con, package, max_rows_per_key)
    side = "CASE WHEN l.is_soll THEN 'soll' ELSE 'ist' END AS side"
    row = f"l.row_uid, l.source, l.currency, l.amount_minor_units, {side}, l.contribution"
    tail = f"{version:d}::INTEGER AS version"
    end = "0::BIGINT AS expected, NULL::VARCHAR AS category"
    placed = f"""
        SELECT {row}, g.group_key, 1::SMALLINT AS continuation,
               CASE WHEN g.is_matched THEN 'matched' ELSE 'open' END AS status, NULL::VARCHAR AS reason, g."pass",
               {tail}, g.difference::BIGINT AS difference, {end}
        FROM placed p JOIN groups g USING (gid) JOIN live l ON l.rowid = p.rid"""
    con.execute(f"CREATE OR REPLACE TEMP TABLE left_open AS FROM ({placed}) WHERE status = 'open'")
    con.execute(f"""
        CREATE OR REPLACE TEMP VIEW solved AS
        SELECT {row}, l.group_key, 1::SMALLINT AS continuation, 'matched' AS status, NULL::VARCHAR AS reason,
               l."pass", {tail}, l.difference::BIGINT AS difference, {end}
        FROM balanced l
        UNION ALL {placed}
        UNION ALL
        SELECT row_uid, source, currency, amount_minor_units, side, contribution, NULL, NULL, 'not_relevant', NULL,
               NULL, {tail}, NULL, NULL, NULL
        FROM taken WHERE NOT is_live""")


def collect_open_rows(con: duckdb.DuckDBPyConnection, rows: str, solved: str) -> None:
    """Create table `open_rows`: the rows of open groups with all their columns, and their group's."""
    mine = ", ".join(f"s.{quoted(name)}" for name in OUTCOME.names if name not in ("status", "reason", "category"))
    given = [name for name, *_ in con.execute(f"DESCRIBE {rows}").fetchall()]
    keep = ", ".join(f"r.{quoted(name)}" for name in given if name not in OUTCOME.names or name == "status")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE open_rows AS
        SELECT {keep}, {mine} FROM {rows} r JOIN {solved} s USING (row_uid) WHERE s.status = 'open'""")
