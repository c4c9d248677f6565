# ruff: noqa: S608 - SQL is put together from our own names
"""Two outcomes of the same rows side by side: what another version of a package gains, loses and changes."""

from __future__ import annotations

import pyarrow as pa

from actuals_pipelines.engine import engine, table_of

COMPARISON = pa.schema(
    [
        pa.field("what", pa.string(), nullable=False),  # gained | lost | changed
        pa.field("group_key", pa.uuid()),  # of the group as it is then; lost: as it was
        pa.field("currency", pa.string(), nullable=False),
        pa.field("continuation", pa.int16()),
        pa.field("rows", pa.int64(), nullable=False),  # of that group
        pa.field("amount", pa.int64(), nullable=False),  # minor units: its SOLL sum; its IST sum where it has no SOLL
        pa.field("was_status", pa.string(), nullable=False),  # its rows', each once
        pa.field("status", pa.string(), nullable=False),
        pa.field("was_difference", pa.int64(), nullable=False),  # minor units, of the groups its rows are in
        pa.field("difference", pa.int64(), nullable=False),
    ]
)


def compare(before: pa.Table, after: pa.Table) -> pa.Table:
    """Compare two outcomes of the same rows.

    Args:
        before, after: rows with schema `schema.OUTCOME`, row_uid and currency.

    Returns:
        schema COMPARISON: `gained`, each group that is matched and whose rows were not all; `lost`, each group that was
        matched and whose rows are not all; `changed`, each open or irrelevant group whose rows, difference, status,
        reason or category are others. Largest amounts first.
    """
    with engine() as con:
        con.register("rows_before", before)
        con.register("rows_after", after)
        for name in ("before", "after"):
            # A row in no group is its own: what is not relevant any more is seen row by row.
            con.execute(f"""
                CREATE TEMP TABLE {name} AS
                SELECT row_uid, coalesce(group_key, row_uid) AS g, group_key, currency, continuation, status, side,
                       contribution, coalesce(difference, 0) AS difference, reason, category
                FROM rows_{name}""")
        gained = _groups("after", "before", "gained", "matched")
        lost = _groups("before", "after", "lost", "matched")
        changed = _groups("after", "before", "changed", None)
        found = table_of(
            con,
            f"""
            SELECT what, group_key, currency, continuation, n, amount::BIGINT, was_status, status,
                   was_difference::BIGINT, difference::BIGINT
            FROM ({gained} UNION ALL {lost} UNION ALL {changed})
            ORDER BY what, abs(amount) DESC, g, currency""",
        )
    return pa.table(list(found.itercolumns()), schema=COMPARISON)


def _groups(mine: str, other: str, what: str, status: str | None) -> str:
    """SQL for the groups of one outcome whose rows fared otherwise in the other."""
    was, now = ("o", "m") if mine == "after" else ("m", "o")
    only = f"bool_and(m.status = '{status}') AND bool_or(o.status <> '{status}')"
    differs = """bool_and(m.status <> 'matched') AND bool_and(o.status <> 'matched') AND (
        count(DISTINCT o.g) > 1 OR bool_or(o.difference <> m.difference OR o.status <> m.status
            OR o.reason IS DISTINCT FROM m.reason OR o.category IS DISTINCT FROM m.category))"""
    return f"""
        SELECT '{what}' AS what, m.g, any_value(m.group_key) AS group_key, m.currency,
               any_value(m.continuation) AS continuation, count(*) AS n,
               coalesce(sum(m.contribution) FILTER (m.side = 'soll'), -sum(m.contribution)) AS amount,
               string_agg(DISTINCT {was}.status, ', ' ORDER BY {was}.status) AS was_status,
               string_agg(DISTINCT {now}.status, ', ' ORDER BY {now}.status) AS status,
               list_sum(list_transform(list_distinct(list({{'g': {was}.g, 'd': {was}.difference}})), lambda x: x.d))
                   AS was_difference,
               list_sum(list_transform(list_distinct(list({{'g': {now}.g, 'd': {now}.difference}})), lambda x: x.d))
                   AS difference
        FROM {mine} m JOIN {other} o USING (row_uid) GROUP BY m.g, m.currency
        HAVING {differs if status is None else only}"""
