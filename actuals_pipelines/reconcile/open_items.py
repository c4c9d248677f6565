# ruff: noqa: S608 - SQL is put together from our own names
"""Open items: the groups that are unmatched or explained, largest difference first, as a person would ask for them."""

from __future__ import annotations

import pyarrow as pa

from actuals_pipelines.engine import engine, table_of
from actuals_pipelines.reconcile.summary import GROUP


def open_items(rows: pa.Table, limit: int | None = None, status: str | None = None) -> pa.Table:
    """List the open groups of a state's rows.

    Returns:
        (group_key, currency, continuation, status, reason, category, difference: int64 minor units, soll_rows,
        ist_rows, transaction_id: the first of its ids, or its first row_id, first_day: date32), largest difference
        first; `status` "unmatched" or "explained" chooses one of the two.
    """
    wanted = f"'{status}'" if status in ("unmatched", "explained") else "'unmatched', 'explained'"
    bound = f"LIMIT {limit:d}" if limit is not None else ""
    with engine() as con:
        con.register("rows_given", rows)
        return table_of(
            con,
            f"""
            SELECT {GROUP}, any_value(status) AS status, any_value(reason) AS reason,
                   any_value(category) AS category, any_value(difference) AS difference,
                   count(*) FILTER (side = 'soll') AS soll_rows, count(*) FILTER (side = 'ist') AS ist_rows,
                   coalesce(min(transaction_id), min(row_id)) AS transaction_id,
                   min(coalesce(booked_on, value_date)) AS first_day
            FROM rows_given WHERE status IN ({wanted}) GROUP BY {GROUP}
            ORDER BY abs(any_value(difference)) DESC, transaction_id, currency, group_key {bound}""",
        )
