# ruff: noqa: S608 - SQL is put together from our own names, quoted columns and checked expressions
"""Why open groups are open, and which rule explains them. Runs over all open groups at each close (MATCHING.md 3).

Never moves a row between groups and never touches a matched group: it only fills reason, status and category. Rules
see the reason that a group has without keyless passes, so that a proposal changes no status.
"""

from __future__ import annotations

from datetime import date

import duckdb
import pyarrow as pa

from actuals_pipelines.domain.package import MatchingPackage, Side
from actuals_pipelines.expressions import Expression, quoted
from actuals_pipelines.reconcile.decisions import fingerprint_sql
from actuals_pipelines.reconcile.due import Clock, covered_through, due_day
from actuals_pipelines.reconcile.members import check_types, first_own_key, keyless, schemes
from actuals_pipelines.reconcile.passes import SET_APART
from actuals_pipelines.reconcile.rules import Rules, compile_rules
from actuals_pipelines.reconcile.schema import KEY_PREFIX

_GROUP = "group_key, currency, continuation"

REFUND_DUE = "refund_due"
"""The category of a duplicate that was set apart and that no rule explains."""


def judge_open_groups(con: duckdb.DuckDBPyConnection, package: MatchingPackage, clock: Clock) -> None:
    """Create table `judged` (group_key, currency, continuation, status, reason, category), one row per open group.

    Where the package has keyless passes also `proposals`, schema `schema.PROPOSALS`.

    Reads table `open_rows`: every row of every open group, with its own columns, its keys, and side, contribution,
    group_key, continuation, difference, expected and pass.
    """
    row_columns = [name for name, *_ in con.execute("DESCRIBE open_rows").fetchall()]
    aggregates = compile_rules(package, row_columns, lambda _expression, _where: None).aggregates
    _sum_up(con, package, clock, aggregates)
    _link_currencies(con, package)
    _find_duplicates(con)
    _find_spoken(con, clock)
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE reasoned AS
        SELECT g.*, CASE
            WHEN s.is_void THEN 'explanation_void'
            WHEN g."pass" = '{SET_APART}' THEN 'duplicate'
            WHEN c.group_key IS NOT NULL THEN 'currency_differs'
            WHEN soll_rows > 0 AND ist_rows > 0 AND d.group_key IS NOT NULL THEN 'duplicate'
            WHEN soll_rows > 0 AND ist_rows > 0 THEN 'amount_differs'
            WHEN is_common THEN 'key_too_common'
            WHEN {_late("is_not_due")} THEN 'not_due'
            WHEN {_late("is_source_late")} THEN 'source_late'
            WHEN soll_rows > 0 THEN 'missing_ist' ELSE 'missing_soll' END AS reason
        FROM open_groups g
        LEFT JOIN currency_links c USING ({_GROUP})
        LEFT JOIN repeated d USING ({_GROUP})
        LEFT JOIN spoken s USING ({_GROUP})
        LEFT JOIN deadlines t ON t.side = g.only_side AND t.first_day = g.first_day""")
    rules = compile_rules(package, row_columns, lambda expression, where: _bind(con, expression, where))
    _explain(con, rules)
    if keyless(package):
        # scipy comes with it: only a package that asks for proposals pays for its import.
        from actuals_pipelines.reconcile.proposals import propose  # noqa: PLC0415

        propose(con, package)
        con.execute(f"""
            UPDATE judged SET reason = p.verdict FROM proposals p
            WHERE {" AND ".join(f"p.{name} = judged.{name}" for name in _GROUP.split(", "))}""")


def _late(column: str) -> str:
    return f"coalesce(t.{column}, FALSE)"


def _sum_up(con: duckdb.DuckDBPyConnection, package: MatchingPackage, clock: Clock, aggregates: dict[str, str]) -> None:
    has_own = f"{first_own_key(package)} IS NOT NULL"
    as_of = f"DATE '{clock.as_of}'" if clock.as_of else "NULL::DATE"
    extra = "".join(f", {sql} AS {name}" for name, sql in aggregates.items())
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE open_groups AS
        SELECT {_GROUP}, any_value(difference) AS balance_difference, any_value(expected) AS expected_difference,
               any_value("pass") AS "pass",
               count(*) FILTER (side = 'soll') AS soll_rows, count(*) FILTER (side = 'ist') AS ist_rows,
               coalesce(sum(contribution) FILTER (side = 'soll'), 0) AS soll_amount,
               coalesce(-sum(contribution) FILTER (side = 'ist'), 0) AS ist_amount,
               CASE WHEN min(side) = max(side) THEN min(side) END AS only_side,
               min(coalesce(booked_on, value_date)) AS first_day,
               date_diff('day', first_day, {as_of}) AS age_days,
               count(*) = 1 AND bool_and(group_key = row_uid AND {has_own} AND "pass" IS NULL) AS is_common{extra}
        FROM open_rows GROUP BY {_GROUP}""")
    deadlines = _deadlines(con, package, clock)
    con.register("deadlines_given", deadlines)
    con.execute("CREATE OR REPLACE TEMP TABLE deadlines AS FROM deadlines_given")
    con.unregister("deadlines_given")


def _deadlines(con: duckdb.DuckDBPyConnection, package: MatchingPackage, clock: Clock) -> pa.Table:
    """(side, first_day, is_not_due, is_source_late) for each day on which a one-sided group began: days, not rows."""
    schema = pa.schema(
        [("side", pa.string()), ("first_day", pa.date32()), ("is_not_due", pa.bool_()), ("is_source_late", pa.bool_())]
    )
    if clock.as_of is None:
        return schema.empty_table()
    rows = []
    for side, other, members in ((Side.SOLL, Side.IST, package.ist), (Side.IST, Side.SOLL, package.soll)):
        complete = covered_through((member.source for member in members), clock.coverage)
        due = package.due.get(other)
        days = con.execute(
            "SELECT DISTINCT first_day FROM open_groups WHERE only_side = ? AND first_day IS NOT NULL", [str(side)]
        ).fetchall()
        for (day,) in days:
            last = due_day(day, due, clock.holidays) if due else day
            rows.append((str(side), day, *_judge_day(last, clock.as_of, complete, is_set=due is not None)))
    return pa.table([list(column) for column in zip(*rows, strict=True)] if rows else [[]] * 4, schema=schema)


def _judge_day(last: date, as_of: date, complete: date | None, *, is_set: bool) -> tuple[bool, bool]:
    """(is not due, is late): nothing is overdue before the day after its last; and only a complete source lacks it."""
    is_not_due = is_set and as_of <= last
    return is_not_due, not is_not_due and (complete is None or complete < min(last, as_of))


def _link_currencies(con: duckdb.DuckDBPyConnection, package: MatchingPackage) -> None:
    """The same id in two currencies: two open groups, one of them one-sided, that together have both sides."""
    keys = [quoted(KEY_PREFIX + scheme) for scheme in schemes(package)] or ["NULL::UUID"]
    own = " UNION ".join(f"SELECT {_GROUP}, {key} AS k FROM open_rows WHERE {key} IS NOT NULL" for key in keys)
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE currency_links AS
        WITH ids AS (
            SELECT k, {_GROUP}, soll_rows > 0 AS has_soll, ist_rows > 0 AS has_ist
            FROM ({own}) JOIN open_groups USING ({_GROUP}) WHERE NOT is_common),
        two AS (SELECT k FROM ids GROUP BY k HAVING min(currency) <> max(currency)),
        chosen AS (SELECT * FROM ids SEMI JOIN two USING (k))
        SELECT DISTINCT a.group_key, a.currency, a.continuation
        FROM chosen a JOIN chosen b ON a.k = b.k AND a.currency <> b.currency
        WHERE ((a.has_soll AND b.has_ist) OR (a.has_ist AND b.has_soll))
          AND NOT (a.has_soll AND a.has_ist AND b.has_soll AND b.has_ist)""")


def _find_duplicates(con: duckdb.DuckDBPyConnection) -> None:
    """A second real line: without some of several equal rows of one side the group would balance."""
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE repeated AS
        SELECT DISTINCT {_GROUP} FROM (
            SELECT {_GROUP}, side, kind, contribution, count(*) AS n, any_value(difference - expected) AS difference
            FROM open_rows WHERE contribution <> 0 GROUP BY {_GROUP}, side, kind, contribution HAVING n > 1)
        WHERE difference % contribution = 0 AND difference // contribution BETWEEN 1 AND n - 1""")


def _find_spoken(con: duckdb.DuckDBPyConnection, clock: Clock) -> None:
    """Create `spoken` (group, category, is_void): what people said of a group, while it is as it was then.

    The last word that fits the group holds. Where none does any more, the group says that it lost its explanation.
    """
    in_time = f"(expires_on IS NULL OR expires_on >= DATE '{clock.as_of}')" if clock.as_of else "TRUE"
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE spoken AS
        WITH said AS (
            SELECT DISTINCT o.group_key, o.currency, o.continuation, d.sequence, d.category, d.fingerprint
            FROM decided d JOIN open_rows o USING (row_uid) WHERE d.kind = 'explain' AND {in_time}),
        prints AS (
            SELECT {_GROUP}, {fingerprint_sql()} AS fingerprint
            FROM open_rows SEMI JOIN said USING ({_GROUP}) GROUP BY {_GROUP})
        SELECT {_GROUP}, arg_max(category, sequence) FILTER (s.fingerprint = p.fingerprint) AS category,
               NOT bool_or(s.fingerprint = p.fingerprint) AS is_void
        FROM said s JOIN prints p USING ({_GROUP}) GROUP BY {_GROUP}""")


def _bind(con: duckdb.DuckDBPyConnection, expression: Expression, where: str) -> None:
    check_types(con, expression, _rows_with_figures(con), where)


def _rows_with_figures(con: duckdb.DuckDBPyConnection) -> str:
    """The open rows beside their group's figures; the group's own words win where a row has one of the same name."""
    rows = {name for name, *_ in con.execute("DESCRIBE open_rows").fetchall()}
    groups = {name for name, *_ in con.execute("DESCRIBE reasoned").fetchall()}
    both = ", ".join(quoted(name) for name in sorted((rows & groups) - {"group_key", "currency", "continuation"}))
    keep = f"r.* EXCLUDE ({both})" if both else "r.*"
    joined = f"SELECT {keep}, g.* EXCLUDE ({_GROUP}) FROM open_rows r JOIN reasoned g USING ({_GROUP})"
    return f"(SELECT *, amount_minor_units AS amount FROM ({joined}))"


def _explain(con: duckdb.DuckDBPyConnection, rules: Rules) -> None:
    if not rules.expressions:
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE fitting AS SELECT {_GROUP}, NULL::INTEGER AS rule FROM reasoned LIMIT 0"
        )
    else:
        # Conditions on the group alone need no row; a condition on rows fits when one row meets all of it.
        relation = _rows_with_figures(con) if rules.row_columns - {"currency"} else "reasoned"
        con.execute(f"""
            CREATE OR REPLACE TEMP TABLE fitting AS
            SELECT {_GROUP}, min({rules.first_that_fits}) AS rule FROM {relation} GROUP BY {_GROUP}""")
    of_duplicate = f"CASE WHEN r.\"pass\" = '{SET_APART}' THEN '{REFUND_DUE}' END"
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE judged AS
        SELECT *, CASE WHEN category IS NULL THEN 'unmatched' ELSE 'explained' END AS status FROM (
            SELECT {_GROUP}, reason, coalesce(s.category, {rules.categories}, {of_duplicate}) AS category
            FROM reasoned r LEFT JOIN fitting USING ({_GROUP}) LEFT JOIN spoken s USING ({_GROUP}))""")
