# ruff: noqa: S608 - SQL is put together from our own names and quoted columns
"""Claims: rows that a person, or a pass with `result: matched`, put together. They are settled before any pass.

A claim holds while all its rows are there and relevant, in one currency, and balance within tolerance; or while they
leave what another person approved. A row outside that is on the other side and shares a key with one of its rows
contests it: a claim that a pass made is void then, one made by hand stays and says so.
"""

from __future__ import annotations

import duckdb

from actuals_pipelines.domain.package import MatchingPackage
from actuals_pipelines.expressions import literal, quoted
from actuals_pipelines.reconcile.decisions import BY_HAND, CLAIMS, has_claims
from actuals_pipelines.reconcile.members import key_columns
from actuals_pipelines.reconcile.schema import KEY_PREFIX
from actuals_pipelines.reconcile.tolerance import balances


def settle_claims(con: duckdb.DuckDBPyConnection, package: MatchingPackage) -> None:
    """Create `claimed`, the rows of claims that hold, and view `live`: the relevant rows that none of them has.

    Reads `relevant` (see `members.select_live`) and `decided`. claimed: rid, group_key (the decision's id), pass,
    reason (`contested` or null), difference (minor units).
    """
    con.execute("""
        CREATE OR REPLACE TEMP TABLE claimed (
            rid BIGINT, group_key UUID, pass VARCHAR, reason VARCHAR, difference HUGEINT)""")
    if not has_claims(con):
        con.execute("CREATE OR REPLACE TEMP VIEW live AS FROM relevant")
        return
    _find_claims(con, package)
    _find_contests(con, package)
    con.execute(f"""
        INSERT INTO claimed
        SELECT r.rid, c.decision, coalesce(c."pass", {literal(BY_HAND)}),
               CASE WHEN t.decision IS NOT NULL THEN 'contested' END, c.difference
        FROM claims c JOIN claim_rows r USING (decision) LEFT JOIN (
            -- Rows of another claim that holds do not contest: two orders under one id may be told apart by hand.
            SELECT DISTINCT k.decision FROM contests k
            ANTI JOIN (SELECT rid FROM claim_rows SEMI JOIN claims USING (decision)) o USING (rid)) t
        USING (decision)""")
    con.execute("CREATE OR REPLACE TEMP VIEW live AS FROM relevant ANTI JOIN claimed USING (rid)")


def _find_claims(con: duckdb.DuckDBPyConnection, package: MatchingPackage) -> None:
    """Create `claim_rows` (decision, rid, is_soll, currency) and `claims`: those that hold if nothing contests them."""
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE claim_rows AS
        SELECT d.decision, d."pass", d.is_approved, d.difference AS agreed, r.rid, r.is_soll, r.currency, r.contribution
        FROM decided d JOIN relevant r USING (row_uid) WHERE d.kind IN ({CLAIMS})""")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE claims AS
        WITH sums AS (
            SELECT decision, any_value("pass") AS "pass", bool_and(is_approved) AS is_approved,
                   any_value(agreed) AS agreed, count(*) AS n, min(currency) AS currency,
                   min(currency) = max(currency) AS is_one_currency,
                   coalesce(sum(contribution) FILTER (is_soll), 0) AS soll, sum(contribution) AS difference,
                   bool_or(is_soll) AND NOT bool_and(is_soll) AS has_both
            FROM claim_rows GROUP BY decision)
        SELECT * FROM sums JOIN (
            SELECT decision, count(*) AS n FROM decided WHERE kind IN ({CLAIMS}) GROUP BY decision) USING (decision, n)
        WHERE is_one_currency AND (difference = 0 OR has_both AND {balances(package.tolerance)}
            OR is_approved AND difference = agreed)""")


def _find_contests(con: duckdb.DuckDBPyConnection, package: MatchingPackage) -> None:
    """Create `contests` (decision, rid of a row outside); take the claims that passes made and that have one away."""
    own = [name for name in key_columns(package) if name.startswith(KEY_PREFIX)]
    lists = [name for name in key_columns(package) if name not in own]
    parts = [f"SELECT rid, is_soll, currency, {quoted(n)} AS k, TRUE AS is_own FROM relevant" for n in own]
    parts += [
        f"SELECT rid, is_soll, currency, unnest({quoted(n)}), FALSE FROM relevant WHERE len({quoted(n)}) > 0"
        for n in lists
    ]
    con.execute(f"CREATE OR REPLACE TEMP VIEW ids AS {' UNION ALL '.join(parts)}")
    con.execute("""
        CREATE OR REPLACE TEMP TABLE contests AS
        WITH mine AS (
            SELECT decision, i.* FROM ids i JOIN (FROM claim_rows SEMI JOIN claims USING (decision)) c USING (rid)
            WHERE i.k IS NOT NULL),
        others AS (FROM ids SEMI JOIN mine ON mine.k = ids.k AND mine.currency = ids.currency)
        SELECT DISTINCT m.decision, o.rid FROM mine m JOIN others o
        ON o.k = m.k AND o.currency = m.currency AND o.is_soll <> m.is_soll AND (o.is_own OR m.is_own)
        ANTI JOIN claim_rows c ON c.decision = m.decision AND c.rid = o.rid""")
    con.execute('DELETE FROM claims WHERE "pass" IS NOT NULL AND decision IN (SELECT decision FROM contests)')
