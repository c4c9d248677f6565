# ruff: noqa: S608 - SQL is put together from our own names
"""Connected components in SQL: which units hang together through shared keys, without a loop over rows.

A unit with one key belongs to that key's component, whatever it is. So only keys are joined to keys, by the units that
carry several: each round gives every key the smallest root among the keys it shares a unit with, then lets every root
point to its own root (pointer jumping), so that even a long chain takes logarithmically many rounds.
"""

from __future__ import annotations

import duckdb

from actuals_pipelines.engine import number_of

_KEY = "k, currency"


def label_components(con: duckdb.DuckDBPyConnection, links: str) -> None:
    """Create view `labels` (unit: int64, root: uuid, the smallest key of its component), one row per unit.

    Args:
        links: a table (unit: int64, k: uuid, currency: string), each pair once; a unit has one currency.
    """
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE bridges AS
        SELECT unit, {_KEY} FROM {links} SEMI JOIN
            (SELECT unit FROM {links} GROUP BY unit HAVING count(*) > 1) USING (unit)""")
    if number_of(con, "SELECT count(*) FROM bridges") == 0:
        con.execute(f"CREATE OR REPLACE TEMP VIEW labels AS SELECT unit, k AS root FROM {links}")
        return
    con.execute(f"CREATE OR REPLACE TEMP TABLE roots AS SELECT DISTINCT {_KEY}, k AS root FROM bridges")
    while _join_roots(con):
        pass
    con.execute(f"""
        CREATE OR REPLACE TEMP VIEW labels AS
        SELECT unit, min(coalesce(root, k)) AS root FROM {links} LEFT JOIN roots USING ({_KEY}) GROUP BY unit""")


def _join_roots(con: duckdb.DuckDBPyConnection) -> int:
    """One round; returns how many keys have another root than before."""
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE nearer AS
        WITH heads AS (SELECT unit, min(root) AS head FROM bridges JOIN roots USING ({_KEY}) GROUP BY unit)
        SELECT {_KEY}, min(head) AS root FROM bridges JOIN heads USING (unit) GROUP BY {_KEY}""")
    con.execute("""
        CREATE OR REPLACE TEMP TABLE jumped AS
        SELECT n.k, n.currency, least(n.root, h.root) AS root
        FROM nearer n JOIN nearer h ON h.k = n.root AND h.currency = n.currency""")
    moved = number_of(
        con, f"SELECT count(*) FROM jumped j JOIN roots r USING ({_KEY}) WHERE j.root IS DISTINCT FROM r.root"
    )
    con.execute("CREATE OR REPLACE TEMP TABLE roots AS FROM jumped")
    return moved
