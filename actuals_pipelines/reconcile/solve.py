# ruff: noqa: S608 - SQL is put together from our own names, quoted columns and checked expressions
"""Solve a package over a set of rows: each row gets its group, status, reason and difference."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date

import duckdb
import pyarrow as pa

from actuals_pipelines.domain.package import MatchingPackage
from actuals_pipelines.engine import engine, table_of
from actuals_pipelines.expressions import literal, quoted
from actuals_pipelines.reconcile.claims import settle_claims
from actuals_pipelines.reconcile.decisions import effective, has_claims, has_overrides, take_decisions
from actuals_pipelines.reconcile.due import Clock
from actuals_pipelines.reconcile.members import (
    check_keys,
    columns_read,
    key_columns,
    keyed,
    keyless,
    keys_of_schemes,
    refuse_unbuilt,
    select_live,
)
from actuals_pipelines.reconcile.passes import first_key, group_rows
from actuals_pipelines.reconcile.reasons import judge_open_groups
from actuals_pipelines.reconcile.rules import compile_rules
from actuals_pipelines.reconcile.schema import CORE, OUTCOME, SOLVED


def solve(
    rows: pa.Table,
    package: MatchingPackage,
    *,
    as_of: date | None = None,
    coverage: Mapping[str, date] | None = None,
    holidays: frozenset[date] = frozenset(),
    version: int = 1,
    max_rows_per_key: int | None = None,
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
        take_decisions(con)
        check_keys(package, rows.schema.names)
        kept = columns_kept(package, rows.schema.names)
        con.execute(f"CREATE TEMP TABLE to_solve AS SELECT {', '.join(map(quoted, kept))} FROM given")
        solve_rows(con, package, version=version, max_rows_per_key=max_rows_per_key)
        open_rows = ", ".join('row_status AS "status"' if name == "status" else quoted(name) for name in kept)
        mine = ", ".join(quoted(name) for name in OUTCOME.names if name not in VERDICT)
        left_open = effective(con, keys_of_schemes(package), "left_open")
        con.execute(f"CREATE TEMP TABLE open_rows AS SELECT {open_rows}, {mine} FROM {left_open}")
        judge_open_groups(con, package, clock)
        return shaped(table_of(con, f"{outcomes_sql(list(SOLVED.names))}"), SOLVED)


VERDICT = ("status", "reason", "category")
"""The columns of the outcome that are judged last, and only of open groups."""


def columns_kept(package: MatchingPackage, available: Sequence[str]) -> list[str]:
    """The rows' columns that matching this package needs, in a fixed order; no text that no rule reads."""
    extra = columns_read(package, available) | compile_rules(package, available, lambda *_: None).row_columns
    wanted = [*CORE, *sorted((extra & set(available)) - set(CORE)), *key_columns(package)]
    return [name for name in dict.fromkeys(wanted) if name in available or name in key_columns(package)]


def columns_mentioned(package: MatchingPackage, available: Sequence[str]) -> list[str]:
    """Those of `available` that matching may read; not parsed, as an expression may name another source's columns."""
    rules = (rule.when for rule in package.explanations)
    fees = (fee.when for fee in package.fees)
    words = set(re.findall(r"\w+", " ".join([*rules, *fees, *(member.take or "" for _, member in package.members())])))
    within = {name for each in keyless(package) for name in each.within}
    wanted = {*CORE, *key_columns(package), *words, *within}
    return [name for name in available if wanted & {name, *re.findall(r"\w+", name)}]


def solve_rows(
    con: duckdb.DuckDBPyConnection,
    package: MatchingPackage,
    *,
    version: int,
    max_rows_per_key: int | None,
) -> None:
    """Solve the table `to_solve`, which has the columns that matching the package needs.

    Creates view `settled` and table `left_open`: its rows with all columns (`status` as `row_status`) and with
    schema.OUTCOME; in `left_open` those of open groups, whose verdict (`VERDICT`) is not known yet.
    """
    given = [name for name, *_ in con.execute("DESCRIBE to_solve").fetchall()]
    select_live(con, package, "to_solve", given)
    settle_claims(con, package)
    group_rows(con, package, max_rows_per_key or package.key_too_common)
    row = ", ".join(f"t.{'row_status' if name == 'status' else quoted(name)}" for name in given)
    row = f"{row}, t.side, t.contribution"
    tail = f"{version:d}::INTEGER AS version"
    end = "NULL::VARCHAR AS category"
    placed = f"""
        SELECT {row}, g.group_key, 1::SMALLINT AS continuation,
               CASE WHEN g.is_matched THEN 'matched' ELSE 'open' END AS status, NULL::VARCHAR AS reason, g."pass",
               {tail}, g.difference::BIGINT AS difference, g.expected::BIGINT AS expected, {end}
        FROM placed p JOIN groups g USING (gid) JOIN taken t USING (rid)"""
    con.execute(f"CREATE OR REPLACE TEMP TABLE left_open AS {placed} WHERE NOT g.is_matched")
    parts = [f"{placed} WHERE g.is_matched"]
    first = first_key(package)
    if first is not None:
        # Claimed rows are in no pass, and some rows have other keys than their source gave them.
        is_decided = has_claims(con) or has_overrides(con)
        given_keys = "taken t JOIN live l USING (rid)" if is_decided else "taken t"
        key = f"{'l' if is_decided else 't'}.{quoted(first)}"
        parts.append(f"""
            SELECT {row}, {key} AS group_key, 1::SMALLINT AS continuation, 'matched' AS status, NULL::VARCHAR AS reason,
                   {literal(keyed(package)[0].name)} AS "pass", {tail},
                   coalesce(o.difference, 0)::BIGINT AS difference,
                   coalesce(o.expected, 0)::BIGINT AS expected, {end}
            FROM {given_keys} LEFT JOIN odd o ON o.group_key = {key} AND o.currency = t.currency
            WHERE t.is_live AND {key} IS NOT NULL AND coalesce(o.is_matched, TRUE)""")
    parts.append(f"""
        SELECT {row}, c.group_key, 1::SMALLINT AS continuation, 'matched' AS status, c.reason, c."pass", {tail},
               c.difference::BIGINT AS difference, 0::BIGINT AS expected, {end}
        FROM claimed c JOIN taken t USING (rid)""")
    parts.append(f"""
        SELECT {row}, NULL::UUID AS group_key, NULL::SMALLINT AS continuation, 'not_relevant' AS status,
               NULL::VARCHAR AS reason, NULL::VARCHAR AS "pass", {tail}, NULL::BIGINT AS difference,
               NULL::BIGINT AS expected, NULL::VARCHAR AS category
        FROM taken t WHERE NOT t.is_live""")
    con.execute(f"CREATE OR REPLACE TEMP VIEW settled AS {' UNION ALL '.join(parts)}")


def outcomes_sql(names: list[str]) -> str:
    """SQL for every solved row with its final verdict: these columns of `settled` and of `left_open`."""
    judged = ", ".join(f"{'j' if name in VERDICT else 'o'}.{quoted(name)}" for name in names)
    return f"""
        SELECT {", ".join(map(quoted, names))} FROM settled
        UNION ALL SELECT {judged} FROM left_open o JOIN judged j USING (group_key, currency, continuation)"""


def shaped(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The same columns under the schema's names and nullability; the engine's own types must fit already."""
    return pa.table(list(table.itercolumns()), schema=schema)
