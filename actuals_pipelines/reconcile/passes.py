# ruff: noqa: S608 - SQL is put together from our own names, quoted columns and checked expressions
"""Keyed passes, then the offset pass: which rows belong together, and whether they balance (MATCHING.md 2 to 4).

No clock and no order enter here, and rows that share no key, directly or through others, do not touch one another:
so a part of the rows that is closed under shared keys can be solved alone, with the same result.

Group first, join groups to groups: the first pass, in which a row has at most one key, is one aggregation and one
join. Components are computed only for what it left over.
"""

from __future__ import annotations

import duckdb

from actuals_pipelines.domain.package import MatchingPackage, Pass, Tolerance
from actuals_pipelines.engine import number_of
from actuals_pipelines.expressions import literal, quoted
from actuals_pipelines.reconcile.components import label_components
from actuals_pipelines.reconcile.errors import AmountOverflow
from actuals_pipelines.reconcile.members import found_columns, key_columns, schemes
from actuals_pipelines.reconcile.schema import KEY_PREFIX

MAX_ROWS_PER_KEY = 1000
"""A key that more rows than this have on each side is too common: nobody can say which belong together. A payout of
100,000 legs against its one row is no such case, so both sides must exceed it."""

OFFSET = "offset"

_TOTALS = """sum(CASE WHEN is_soll THEN contribution ELSE 0 END) AS soll, sum(contribution) AS difference,
    count(*) FILTER (is_soll) AS soll_rows, count(*) FILTER (NOT is_soll) AS ist_rows"""
_GROUP = "group_key, currency, soll, difference, soll_rows, ist_rows"


def group_rows(con: duckdb.DuckDBPyConnection, package: MatchingPackage, max_rows_per_key: int) -> None:
    """Put every live row of `taken` into exactly one group.

    Creates:
        live (row_uid, source, is_soll: bool, currency, amount_minor_units, contribution, keys): rowid is `rid`.
        balanced: the live rows that the first pass matched, with group_key, pass and difference.
        placed (rid: int64, gid: int64): one row per other live row.
        groups (gid, group_key: uuid, currency, pass, soll: hugeint, difference: hugeint, soll_rows, ist_rows,
            is_matched: bool): also groups that grew into others and have no rows any more.

    Raises:
        AmountOverflow: a group's difference or SOLL sum does not fit 64 bits.
    """
    keys = "".join(f", {quoted(name)}" for name in key_columns(package))
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE live AS
        SELECT row_uid, source, side = 'soll' AS is_soll, currency, amount_minor_units, contribution{keys}
        FROM taken WHERE is_live""")
    con.execute("""
        CREATE OR REPLACE TEMP TABLE groups (gid BIGINT, group_key UUID, currency VARCHAR, soll HUGEINT,
            difference HUGEINT, soll_rows BIGINT, ist_rows BIGINT, pass VARCHAR, is_matched BOOLEAN)""")
    con.execute("CREATE OR REPLACE TEMP TABLE placed (rid BIGINT, gid BIGINT)")
    passes = list(package.passes)
    if not passes[0].look_in:
        _first_pass(con, passes.pop(0), package.tolerance, max_rows_per_key)
    else:
        con.execute("CREATE OR REPLACE TEMP TABLE open AS SELECT rowid AS rid, rowid AS unit FROM live")
        con.execute("""CREATE OR REPLACE TEMP VIEW balanced AS
            SELECT *, row_uid AS group_key, '' AS "pass", 0::HUGEINT AS difference FROM live WHERE FALSE""")
        con.execute("CREATE OR REPLACE TEMP TABLE first_groups AS FROM groups LIMIT 0")
    for each in passes:
        if number_of(con, "SELECT count(*) FROM open") == 0:
            break
        _later_pass(con, each, package.tolerance, max_rows_per_key)
    con.execute("INSERT INTO placed SELECT rid, -unit FROM open WHERE unit < 0")
    _offset(con, package)
    beyond = "abs(difference) > 9223372036854775807 OR abs(soll) > 9223372036854775807"
    beyond_first = number_of(con, f"SELECT count(*) FROM first_groups WHERE {beyond}")
    if beyond_first or number_of(con, f"SELECT count(*) FROM groups WHERE {beyond}"):
        raise AmountOverflow(package.name)


def _first_pass(con: duckdb.DuckDBPyConnection, each: Pass, tolerance: Tolerance, limit: int) -> None:
    """Every unit is a row with at most one key: a component is a key, in one currency.

    Most groups balance here, so they get no number and their rows no place: `balanced` joins them by their key once,
    when the result is read. Only the rest is written down row by row.
    """
    key = quoted(KEY_PREFIX + each.by)
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE first_groups AS
        SELECT *, soll_rows > 0 AND ist_rows > 0 AND least(soll_rows, ist_rows) <= {limit} AS is_joined,
               is_joined AND {_balances(tolerance)} AS is_matched
        FROM (SELECT {key} AS group_key, currency, {_TOTALS} FROM live WHERE {key} IS NOT NULL GROUP BY ALL)""")
    con.execute(f"""
        INSERT INTO groups
        SELECT row_number() OVER (), {_GROUP}, {literal(each.name)}, FALSE
        FROM first_groups WHERE is_joined AND NOT is_matched""")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE open AS
        SELECT l.rowid AS rid, coalesce(-b.gid, l.rowid) AS unit
        FROM live l JOIN (SELECT f.group_key, f.currency, g.gid
            FROM first_groups f LEFT JOIN groups g USING (group_key, currency) WHERE NOT f.is_matched) b
        ON b.group_key = l.{key} AND b.currency = l.currency
        UNION ALL
        SELECT rowid, rowid FROM live WHERE {key} IS NULL""")
    con.execute(f"""
        CREATE OR REPLACE TEMP VIEW balanced AS
        SELECT l.*, f.group_key, {literal(each.name)} AS "pass", f.difference
        FROM live l JOIN first_groups f ON f.group_key = l.{key} AND f.currency = l.currency WHERE f.is_matched""")


def _later_pass(con: duckdb.DuckDBPyConnection, each: Pass, tolerance: Tolerance, limit: int) -> None:
    """Units are rows (unit >= 0: its rid) and unbalanced groups of both sides (unit < 0: minus its gid)."""
    _find_edges(con, each, limit)
    con.execute("""
        CREATE OR REPLACE TEMP TABLE links AS
        SELECT * FROM edges SEMI JOIN
            (SELECT k, currency FROM edges GROUP BY k, currency HAVING count(*) > 1) USING (k, currency)""")
    label_components(con, "links")
    # A one-sided component falls apart again: it is simply not made. One that holds a group has both sides.
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE joined AS
        WITH totals AS (
            SELECT label, any_value(currency) AS currency, {_TOTALS} FROM units JOIN labels USING (unit)
            GROUP BY label HAVING soll_rows > 0 AND ist_rows > 0),
        smallest AS (
            SELECT label, min(k) AS k FROM (
                SELECT label, k FROM links JOIN labels USING (unit)
                UNION ALL
                SELECT label, group_key FROM labels JOIN groups ON gid = -unit)
            GROUP BY label)
        SELECT label, (SELECT max(gid) FROM groups) AS last, row_number() OVER () AS n, k AS group_key,
               totals.* EXCLUDE (label), {_balances(tolerance)} AS is_matched
        FROM totals JOIN smallest USING (label)""")
    con.execute("UPDATE joined SET n = n + coalesce(last, 0)")
    con.execute(f"INSERT INTO groups SELECT n, {_GROUP}, {literal(each.name)}, is_matched FROM joined")
    con.execute("""
        CREATE OR REPLACE TEMP TABLE moved AS
        SELECT rid, n AS gid, is_matched FROM open JOIN labels USING (unit) JOIN joined USING (label)""")
    con.execute("INSERT INTO placed SELECT rid, gid FROM moved WHERE is_matched")
    con.execute("""
        CREATE OR REPLACE TEMP TABLE open AS
        SELECT o.rid, coalesce(-m.gid, o.unit) AS unit FROM open o LEFT JOIN moved m USING (rid)
        WHERE m.is_matched IS NOT TRUE""")


def _find_edges(con: duckdb.DuckDBPyConnection, each: Pass, limit: int) -> None:
    """Create `units` (rid, unit, is_soll, currency, contribution) and `edges` (unit, k, currency).

    A row's own id always counts. An id found in its text counts only if the other side has it as its own, and,
    unless the pass allows several, only if it is the only such id in the row.
    """
    key = quoted(KEY_PREFIX + each.by)
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE units AS
        SELECT o.rid, o.unit, l.is_soll, l.currency, l.contribution, l.{key} AS own
        FROM open o JOIN live l ON l.rowid = o.rid""")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE owners AS
        SELECT own AS k, currency, bool_or(is_soll) AS has_soll, bool_or(NOT is_soll) AS has_ist
        FROM units WHERE own IS NOT NULL GROUP BY own, currency
        HAVING least(count(*) FILTER (is_soll), count(*) FILTER (NOT is_soll)) <= {limit}""")
    found = " UNION ALL ".join(
        f"SELECT o.rid, unnest(l.{quoted(name)}) AS k FROM open o JOIN live l ON l.rowid = o.rid"
        for name in found_columns(each)
    )
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE found AS
        SELECT DISTINCT u.rid, u.unit, f.k, u.currency
        FROM ({found or "SELECT NULL::BIGINT AS rid, NULL::UUID AS k WHERE FALSE"}) f
        JOIN units u USING (rid) JOIN owners w ON w.k = f.k AND w.currency = u.currency
        WHERE f.k IS DISTINCT FROM u.own AND CASE WHEN u.is_soll THEN w.has_ist ELSE w.has_soll END""")
    if not each.several:
        con.execute("""
            CREATE OR REPLACE TEMP TABLE found AS
            SELECT * FROM found SEMI JOIN (SELECT rid FROM found GROUP BY rid HAVING count(*) = 1) USING (rid)""")
    con.execute("""
        CREATE OR REPLACE TEMP TABLE edges AS
        SELECT unit, own AS k, currency FROM units SEMI JOIN owners ON k = own AND owners.currency = units.currency
        UNION
        SELECT unit, k, currency FROM found""")


def _offset(con: duckdb.DuckDBPyConnection, package: MatchingPackage) -> None:
    """What no pass joined: rows of one side under their first id, matched if their sum is exactly 0; else open.

    Both sides under one id means that the id was too common: then each row stands alone.
    """
    own = ", ".join(quoted(KEY_PREFIX + scheme) for scheme in schemes(package))
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE singles AS
        SELECT o.rid, l.row_uid, l.is_soll, l.currency, l.contribution, coalesce({own}) AS k
        FROM open o JOIN live l ON l.rowid = o.rid WHERE o.unit >= 0""")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE left_over AS
        SELECT k AS group_key, currency, {_TOTALS} FROM singles WHERE k IS NOT NULL GROUP BY ALL
        HAVING soll_rows = 0 OR ist_rows = 0""")
    con.execute("""
        CREATE OR REPLACE TEMP TABLE homes AS
        SELECT s.*, coalesce(l.group_key, s.row_uid) AS group_key
        FROM singles s LEFT JOIN left_over l ON l.group_key = s.k AND l.currency = s.currency""")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE joined AS
        SELECT row_number() OVER () AS n, * FROM (
            SELECT group_key, currency, {_TOTALS} FROM homes GROUP BY group_key, currency)""")
    con.execute(f"""
        INSERT INTO groups
        SELECT n + coalesce((SELECT max(gid) FROM groups), 0), {_GROUP},
               CASE WHEN difference = 0 THEN '{OFFSET}' END, difference = 0
        FROM joined""")
    con.execute("""
        INSERT INTO placed
        SELECT h.rid, j.n + (SELECT max(gid) FROM groups) - (SELECT max(n) FROM joined)
        FROM homes h JOIN joined j USING (group_key, currency)""")


def _balances(tolerance: Tolerance) -> str:
    """Both sides are there: is |difference| within max(absolute per currency, floor(basis points x |SOLL|))?"""
    arms = " ".join(f"WHEN {literal(code)} THEN {int(units)}" for code, units in sorted(tolerance.minor_units.items()))
    absolute = f"CASE currency {arms} ELSE 0 END" if arms else "0"
    relative = f"(abs(soll) * {int(tolerance.basis_points)}) // 10000"
    return f"abs(difference) <= greatest({absolute}, {relative})"
