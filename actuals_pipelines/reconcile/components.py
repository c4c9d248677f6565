# ruff: noqa: S608 - SQL is put together from our own names, quoted columns and checked expressions
"""Connected components in SQL: which units hang together through shared keys, without a loop over rows.

Each round gives every unit the smallest label among the units it shares a key with, then lets every label point to
its own label (pointer jumping), so that even a long chain takes logarithmically many rounds.
"""

from __future__ import annotations

import duckdb

from actuals_pipelines.engine import number_of


def label_components(con: duckdb.DuckDBPyConnection, links: str) -> None:
    """Create table `labels` (unit: int64, label: int64, the smallest unit of its component).

    Args:
        links: a table (unit: int64, k: uuid, currency: string), each pair once.
    """
    con.execute(f"CREATE OR REPLACE TEMP TABLE labels AS SELECT DISTINCT unit, unit AS label FROM {links}")
    while True:
        con.execute(f"""
            CREATE OR REPLACE TEMP TABLE nearer AS
            WITH heads AS (
                SELECT k, currency, min(label) AS head FROM {links} JOIN labels USING (unit) GROUP BY k, currency)
            SELECT unit, min(head) AS label FROM {links} JOIN heads USING (k, currency) GROUP BY unit""")
        con.execute("""
            CREATE OR REPLACE TEMP TABLE jumped AS
            SELECT n.unit, least(n.label, h.label) AS label FROM nearer n JOIN nearer h ON h.unit = n.label""")
        moved = number_of(
            con, "SELECT count(*) FROM jumped j JOIN labels l USING (unit) WHERE j.label IS DISTINCT FROM l.label"
        )
        con.execute("CREATE OR REPLACE TEMP TABLE labels AS FROM jumped")
        if not moved:
            return
