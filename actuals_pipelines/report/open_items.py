# ruff: noqa: S608 - SQL is put together from our own names
"""Open items: the groups of a close that are unmatched or explained, with their age; and how old they are in all."""

from __future__ import annotations

from datetime import date
from typing import Literal

import pyarrow as pa

from actuals_pipelines.report.engine import over, shaped
from actuals_pipelines.report.group_id import GROUP, group_id_sql
from actuals_pipelines.report.words import REASONS

OPEN_ITEMS = pa.schema(
    [
        pa.field("group_id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),  # unmatched | explained
        pa.field("reason", pa.string()),
        pa.field("reason_in_words", pa.string()),
        pa.field("category", pa.string()),
        pa.field("ids", pa.string()),  # of its transactions, or of its rows: three, and how many more
        pa.field("sources", pa.string(), nullable=False),
        pa.field("currency", pa.string(), nullable=False),
        pa.field("difference", pa.int64(), nullable=False),  # minor units: SOLL minus IST
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("soll_rows", pa.int64(), nullable=False),
        pa.field("soll_amount", pa.int64(), nullable=False),  # minor units, after the members' signs
        pa.field("ist_rows", pa.int64(), nullable=False),
        pa.field("ist_amount", pa.int64(), nullable=False),
        pa.field("first_booked_on", pa.date32()),  # its first row's; the value date where that is all there is
        pa.field("age_days", pa.int64()),  # since then
    ]
)

AGEING = pa.schema(
    [
        pa.field("currency", pa.string(), nullable=False),
        pa.field("age", pa.string(), nullable=False),  # "0 to 7 days", ..., "no date"
        pa.field("groups", pa.int64(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("net", pa.int64(), nullable=False),  # minor units
        pa.field("gross", pa.int64(), nullable=False),
    ]
)

BUCKETS = (7, 30, 60, 90)
"""Last day of each age bucket; what is older comes after them."""

_IDS_SHOWN = 3


def open_items(
    rows: pa.Table, package: str, as_of: date, *, order: Literal["oldest", "largest"] = "oldest"
) -> pa.Table:
    """List the open groups of a close.

    Args:
        rows: the close's rows.
        as_of: the day their age is counted to.
        order: oldest first; or largest difference first, currency by currency, since amounts of two do not compare.

    Returns:
        schema OPEN_ITEMS, one row per group.
    """
    by = {
        "oldest": "age_days DESC NULLS LAST, abs(difference) DESC, group_id",
        "largest": "currency, abs(difference) DESC, age_days DESC NULLS LAST, group_id",
    }[order]
    words = pa.table({"reason": list(REASONS), "words": list(REASONS.values())})
    with over(rows=rows, words=words) as con:
        return shaped(
            con.sql(f"""
                WITH groups AS (
                    SELECT {group_id_sql(package)} AS group_id, any_value(status) AS status,
                           any_value(reason) AS reason, any_value(category) AS category,
                           list_sort(list(DISTINCT coalesce(transaction_id, row_id))) AS ids,
                           array_to_string(list_sort(list(DISTINCT source)), ', ') AS sources, currency,
                           any_value(difference) AS difference, count(*) AS n,
                           count(*) FILTER (side = 'soll') AS soll_rows,
                           coalesce(sum(contribution) FILTER (side = 'soll'), 0) AS soll_amount,
                           count(*) FILTER (side = 'ist') AS ist_rows,
                           coalesce(-sum(contribution) FILTER (side = 'ist'), 0) AS ist_amount,
                           min(coalesce(booked_on, value_date)) AS first_booked_on
                    FROM rows WHERE status IN ('unmatched', 'explained') AND group_key IS NOT NULL GROUP BY {GROUP})
                SELECT group_id, status, g.reason, coalesce(w.words, replace(g.reason, '_', ' ')), category,
                       array_to_string(ids[:{_IDS_SHOWN}], ', ')
                           || CASE WHEN len(ids) > {_IDS_SHOWN} THEN ' and ' || (len(ids) - {_IDS_SHOWN}) || ' more'
                              ELSE '' END,
                       sources, currency, difference, n, soll_rows, soll_amount, ist_rows, ist_amount,
                       first_booked_on, date_diff('day', first_booked_on, DATE '{as_of}') AS age_days
                FROM groups g LEFT JOIN words w ON w.reason = g.reason ORDER BY {by}"""),
            OPEN_ITEMS,
        )


def ageing(items: pa.Table) -> pa.Table:
    """Sum open items up by age: schema AGEING, by currency and then from young to old. Empty buckets are left out."""
    with over(items=items) as con:
        return shaped(
            con.sql(f"""
                SELECT currency, any_value(age), count(*), sum(n), sum(difference), sum(abs(difference))
                FROM (SELECT currency, "rows" AS n, difference, {_bucket_sql()} FROM items)
                GROUP BY currency, position ORDER BY currency, position"""),
            AGEING,
        )


def _bucket_sql() -> str:
    """SQL for an item's bucket: `position`, and `age` in words. What is booked after the day counts as young."""
    first = [0, *(last + 1 for last in BUCKETS)]
    places = " ".join(f"WHEN age_days <= {last} THEN {n}" for n, last in enumerate(BUCKETS))
    names = " ".join(f"WHEN {n} THEN '{first[n]} to {last} days'" for n, last in enumerate(BUCKETS))
    older, none = len(BUCKETS), len(BUCKETS) + 1
    position = f"CASE WHEN age_days IS NULL THEN {none} {places} ELSE {older} END"
    words = f"CASE {position} {names} WHEN {older} THEN 'over {BUCKETS[-1]} days' ELSE 'no date' END"
    return f"{position} AS position, {words} AS age"
