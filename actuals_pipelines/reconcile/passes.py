# ruff: noqa: S608 - SQL is put together from our own names, quoted columns and checked expressions
"""Keyed passes, then the offset pass: which rows belong together, and whether they balance (MATCHING.md 2 to 4).

No clock and no order enter here, and rows that share no key, directly or through others, do not touch one another:
so a part of the rows that is closed under shared keys can be solved alone, with the same result.

The first pass, in which a row has at most one key, is one aggregation over both sides. Later passes see only what it
left over, and components are computed only for rows that carry several keys.
"""

from __future__ import annotations

import duckdb

from actuals_pipelines.domain.package import MatchingPackage, Pass
from actuals_pipelines.engine import number_of
from actuals_pipelines.expressions import literal, quoted
from actuals_pipelines.reconcile.components import label_components
from actuals_pipelines.reconcile.errors import AmountOverflow
from actuals_pipelines.reconcile.members import first_own_key, found_columns, keyed
from actuals_pipelines.reconcile.schema import KEY_PREFIX
from actuals_pipelines.reconcile.tolerance import balances

OFFSET = "offset"

_SUMS = """sum(CASE WHEN is_soll THEN contribution ELSE 0 END) AS soll, sum(contribution) AS difference,
    count(*) FILTER (is_soll) AS soll_rows, count(*) FILTER (NOT is_soll) AS ist_rows"""
_GROUP = "group_key, currency, soll, difference, soll_rows, ist_rows, expected"

OFF = "(difference - expected)"

SET_APART = "set apart"
"""What stands in the place of a pass where a duplicate was taken out of a group that balances without it."""


def group_rows(con: duckdb.DuckDBPyConnection, package: MatchingPackage, max_rows_per_key: int) -> None:
    """Put every row of `live` (see `members.select_live`) into exactly one group.

    A key that more than `max_rows_per_key` rows have on each side is too common: nobody can say which belong together.
    A payout of 100,000 legs against its one row is no such case, so both sides must exceed it.

    Creates:
        odd (group_key, currency, difference, is_matched ...): the groups of the first pass that are not simply
            balanced to the cent. A row whose first key is in no odd group is matched with difference 0.
        placed (rid: int64, gid: int64): one row per row that the first pass did not match.
        groups (gid, group_key: uuid, currency, pass, soll: hugeint, difference: hugeint, soll_rows, ist_rows,
            is_matched: bool): also groups that grew into others and have no rows any more.

    Raises:
        AmountOverflow: a group's difference or SOLL sum does not fit 64 bits.
    """
    con.execute("""
        CREATE OR REPLACE TEMP TABLE groups (gid BIGINT, group_key UUID, currency VARCHAR, soll HUGEINT,
            difference HUGEINT, soll_rows BIGINT, ist_rows BIGINT, expected HUGEINT, pass VARCHAR,
            is_matched BOOLEAN)""")
    con.execute("CREATE OR REPLACE TEMP TABLE placed (rid BIGINT, gid BIGINT)")
    passes = list(keyed(package))
    first = first_key(package)
    if first is not None:
        _first_pass(con, passes.pop(0), first, package, max_rows_per_key)
    else:
        con.execute("CREATE OR REPLACE TEMP TABLE open AS SELECT rid, rid AS unit FROM live")
        columns = "group_key, currency, soll, difference, expected"
        con.execute(f"CREATE OR REPLACE TEMP TABLE odd AS SELECT {columns} FROM groups LIMIT 0")
    for each in passes:
        if number_of(con, "SELECT count(*) FROM open") == 0:
            break
        _later_pass(con, each, package, max_rows_per_key)
    con.execute("INSERT INTO placed SELECT rid, -unit FROM open WHERE unit < 0")
    _offset(con, package)
    if package.duplicates == "set_apart":
        _set_apart(con)
    beyond = "abs(difference) > 9223372036854775807 OR abs(soll) > 9223372036854775807"
    if number_of(con, f"SELECT count(*) FROM (SELECT difference, soll FROM odd UNION ALL "
                      f"SELECT difference, soll FROM groups) WHERE {beyond}"):  # fmt: skip
        raise AmountOverflow(package.name)


def _totals(package: MatchingPackage) -> str:
    """SQL for a group's sums; a fee is expected only where there is a side that may have kept it."""
    expected = "CASE WHEN soll_rows > 0 AND ist_rows > 0 THEN sum(fee) ELSE 0 END" if package.fees else "0::HUGEINT"
    return f"{_SUMS}, {expected} AS expected"


def first_key(package: MatchingPackage) -> str | None:
    """The column by which the first pass groups rows for itself; None where it looks into texts."""
    first = next(iter(keyed(package)), None)
    return None if first is None or first.look_in else KEY_PREFIX + first.by


def _first_pass(con: duckdb.DuckDBPyConnection, each: Pass, column: str, package: MatchingPackage, limit: int) -> None:
    """Every unit is a row with at most one key: a component is a key, in one currency.

    Most groups balance here to the cent. They are counted and forgotten: only the odd ones are written down, so that
    rows are held against a small table, and only rows of open groups get a place.
    """
    key = quoted(column)
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE odd AS
        SELECT *, soll_rows > 0 AND ist_rows > 0 AND least(soll_rows, ist_rows) <= {limit} AS is_joined,
               is_joined AND {balances(package.tolerance, off=OFF)} AS is_matched
        FROM (SELECT {key} AS group_key, currency, {_totals(package)} FROM live WHERE {key} IS NOT NULL
              GROUP BY {key}, currency)
        WHERE NOT is_matched OR difference <> 0 OR expected <> 0 OR abs(soll) > 9223372036854775807""")
    con.execute(f"""
        INSERT INTO groups
        SELECT row_number() OVER (), {_GROUP}, {literal(each.name)}, FALSE FROM odd
        WHERE is_joined AND NOT is_matched""")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE open AS
        SELECT l.rid, coalesce(-b.gid, l.rid) AS unit
        FROM live l JOIN (SELECT f.group_key, f.currency, g.gid
            FROM odd f LEFT JOIN groups g USING (group_key, currency) WHERE NOT f.is_matched) b
        ON b.group_key = l.{key} AND b.currency = l.currency
        UNION ALL
        SELECT rid, rid FROM live WHERE {key} IS NULL""")


def _later_pass(con: duckdb.DuckDBPyConnection, each: Pass, package: MatchingPackage, limit: int) -> None:
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
            SELECT root, currency, {_totals(package)} FROM units JOIN labels USING (unit)
            GROUP BY root, currency HAVING soll_rows > 0 AND ist_rows > 0),
        grown AS (
            SELECT l.root, g.currency, min(g.group_key) AS k FROM labels l JOIN groups g ON g.gid = -l.unit
            GROUP BY l.root, g.currency)
        SELECT root, (SELECT coalesce(max(gid), 0) FROM groups) + row_number() OVER () AS n,
               least(root, k) AS group_key, currency, soll, difference, soll_rows, ist_rows, expected,
               {balances(package.tolerance, off=OFF)} AS is_matched
        FROM totals LEFT JOIN grown USING (root, currency)""")
    con.execute(f"INSERT INTO groups SELECT n, {_GROUP}, {literal(each.name)}, is_matched FROM joined")
    con.execute("""
        CREATE OR REPLACE TEMP TABLE moved AS
        SELECT u.rid, n AS gid, is_matched FROM units u JOIN labels USING (unit) JOIN joined USING (root, currency)""")
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
        SELECT o.rid, o.unit, l.is_soll, l.currency, l.contribution, l.fee, l.{key} AS own
        FROM open o JOIN live l USING (rid)""")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE owners AS
        SELECT own AS k, currency, bool_or(is_soll) AS has_soll, bool_or(NOT is_soll) AS has_ist
        FROM units WHERE own IS NOT NULL GROUP BY own, currency
        HAVING least(count(*) FILTER (is_soll), count(*) FILTER (NOT is_soll)) <= {limit}""")
    found = " UNION ALL ".join(
        f"SELECT o.rid, unnest(l.{quoted(name)}) AS k FROM open o JOIN live l USING (rid) "
        f"WHERE len(l.{quoted(name)}) > 0"
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
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE singles AS
        SELECT o.rid, l.row_uid, l.is_soll, l.currency, l.contribution, l.fee, {first_own_key(package)} AS k
        FROM open o JOIN live l USING (rid) WHERE o.unit >= 0""")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE left_over AS
        SELECT k AS group_key, currency, {_totals(package)} FROM singles WHERE k IS NOT NULL GROUP BY ALL
        HAVING soll_rows = 0 OR ist_rows = 0""")
    con.execute("""
        CREATE OR REPLACE TEMP TABLE homes AS
        SELECT s.*, coalesce(l.group_key, s.row_uid) AS group_key
        FROM singles s LEFT JOIN left_over l ON l.group_key = s.k AND l.currency = s.currency""")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE joined AS
        SELECT row_number() OVER () AS n, * FROM (
            SELECT group_key, currency, {_totals(package)} FROM homes GROUP BY group_key, currency)""")
    con.execute(f"""
        INSERT INTO groups
        SELECT n + coalesce((SELECT max(gid) FROM groups), 0), {_GROUP},
               CASE WHEN difference = 0 THEN '{OFFSET}' END, difference = 0
        FROM joined""")
    con.execute("""
        INSERT INTO placed
        SELECT h.rid, j.n + (SELECT max(gid) FROM groups) - (SELECT max(n) FROM joined)
        FROM homes h JOIN joined j USING (group_key, currency)""")


def _set_apart(con: duckdb.DuckDBPyConnection) -> None:
    """Take second IST lines out of groups that balance without them; each becomes a group of its own.

    Only where one kind and amount alone can be taken out, and of equal lines the last that were booked.
    """
    con.execute("""
        CREATE OR REPLACE TEMP TABLE surplus AS
        WITH alike AS (
            SELECT p.gid, t.kind, t.contribution, count(*) AS n, any_value(g.difference - g.expected) AS lacking
            FROM placed p JOIN groups g USING (gid) JOIN taken t USING (rid)
            WHERE NOT g.is_matched AND g.soll_rows > 0 AND g.ist_rows > 0 AND t.side = 'ist' AND t.contribution <> 0
            GROUP BY p.gid, t.kind, t.contribution),
        fitting AS (
            SELECT *, lacking // contribution AS extra FROM alike
            WHERE lacking % contribution = 0 AND lacking // contribution BETWEEN 1 AND n - 1
            QUALIFY count(*) OVER (PARTITION BY gid) = 1)
        SELECT p.rid, p.gid, t.row_uid, t.currency, t.contribution
        FROM placed p JOIN fitting f USING (gid)
        JOIN taken t ON t.rid = p.rid AND t.side = 'ist' AND t.kind = f.kind AND t.contribution = f.contribution
        QUALIFY row_number() OVER (PARTITION BY p.gid ORDER BY coalesce(t.booked_on, t.value_date) DESC NULLS LAST,
                                   t.row_uid DESC) <= extra""")
    con.execute("""
        UPDATE groups SET is_matched = TRUE, difference = expected
        WHERE gid IN (SELECT gid FROM surplus)""")
    con.execute("CREATE OR REPLACE TEMP TABLE last_gid AS SELECT max(gid) AS gid FROM groups")
    con.execute("DELETE FROM placed WHERE rid IN (SELECT rid FROM surplus)")
    con.execute(f"""
        INSERT INTO groups
        SELECT (SELECT gid FROM last_gid) + row_number() OVER (ORDER BY row_uid), row_uid, currency, 0, contribution,
               0, 1, 0, '{SET_APART}', FALSE FROM surplus""")
    con.execute("""
        INSERT INTO placed
        SELECT s.rid, g.gid FROM surplus s JOIN groups g ON g.group_key = s.row_uid AND g.currency = s.currency
        WHERE g.gid > (SELECT gid FROM last_gid)""")
