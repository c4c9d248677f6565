# ruff: noqa: S608 - SQL is put together from our own names and bound values
"""What an open group nearly matched: open rows that fit in all but one thing, and what that thing is.

Only exact criteria over the same close's open rows; nothing is proposed and no figure changes.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from actuals_pipelines.report.engine import shaped
from actuals_pipelines.report.group_id import GROUP

CANDIDATES = pa.schema(
    [
        pa.field("side", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("row_id", pa.string()),
        pa.field("transaction_id", pa.string()),
        pa.field("booked_on", pa.date32()),
        pa.field("amount", pa.int64(), nullable=False),  # minor units, as the source has it
        pa.field("currency", pa.string(), nullable=False),
        pa.field("fits", pa.string(), nullable=False),  # "currency, amount"
        pa.field("fails", pa.string(), nullable=False),  # "id differs in 1 character", ...
        pa.field("row_uid", pa.uuid(), nullable=False),
    ]
)

MAX_CANDIDATES = 5
_NEAR_LETTERS = 2  # a typo, or two
_IDS_COMPARED = 5


def candidates_of(con: duckdb.DuckDBPyConnection, where: str, values: list[object], difference: int) -> pa.Table:
    """The rows nearest to closing a group's difference: schema CANDIDATES, best first.

    Args:
        con: sees the close's `rows`.
        where, values: the condition for the rows of the group.
    """
    con.execute("CREATE OR REPLACE TEMP TABLE mine AS SELECT * FROM rows WHERE " + where, values)
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE mine_ids AS SELECT DISTINCT transaction_id AS id FROM mine
        WHERE transaction_id IS NOT NULL ORDER BY id LIMIT {_IDS_COMPARED}""")
    # A distance is worth computing only between ids of about the same length; and alone it says nothing, because
    # running numbers all lie close together.
    return shaped(
        con.sql(
            f"""
            WITH facts AS (
                SELECT any_value(currency) AS currency, min(coalesce(booked_on, value_date)) AS first_day,
                       CASE WHEN min(side) = max(side) THEN min(side) END AS only_side FROM mine),
            others AS (
                SELECT r.*, r.currency = f.currency AS same_currency, abs(r.contribution) = abs(?) AS same_size,
                       r.contribution = -? AND r.currency = f.currency AS closes_it,
                       abs(date_diff('day', f.first_day, coalesce(r.booked_on, r.value_date))) AS days,
                       (SELECT min(levenshtein(r.transaction_id, id)) FROM mine_ids
                        WHERE abs(length(id) - length(r.transaction_id)) <= {_NEAR_LETTERS}) AS letters
                FROM (SELECT * FROM rows WHERE status IN ('unmatched', 'explained')) r
                ANTI JOIN mine m ON m.row_uid = r.row_uid CROSS JOIN facts f
                WHERE f.only_side IS NULL OR r.side <> f.only_side),
            near AS (
                SELECT *, coalesce(letters = 0, FALSE) AS same_id,
                       coalesce(letters BETWEEN 1 AND {_NEAR_LETTERS}, FALSE) AS near_id FROM others
                WHERE closes_it OR letters = 0 OR (letters <= {_NEAR_LETTERS} AND same_size))
            SELECT side, source, row_id, transaction_id, booked_on, amount_minor_units, currency,
                   array_to_string(list_filter([
                       CASE WHEN same_id THEN 'id' END, CASE WHEN same_currency THEN 'currency' END,
                       CASE WHEN same_size THEN 'amount' END], lambda each: each IS NOT NULL), ', '),
                   array_to_string(list_filter([
                       CASE WHEN same_id THEN NULL
                            WHEN near_id THEN 'id differs in ' || letters ||
                                CASE WHEN letters = 1 THEN ' character' ELSE ' characters' END
                            WHEN transaction_id IS NULL THEN 'it has no id' ELSE 'another id' END,
                       CASE WHEN NOT same_currency THEN 'another currency' END,
                       CASE WHEN NOT same_size THEN 'another amount'
                            WHEN same_currency AND NOT closes_it THEN 'the sign of the amount' END,
                       CASE WHEN same_id AND closes_it THEN 'it is in a group of its own' END],
                       lambda each: each IS NOT NULL), ', '),
                   row_uid
            FROM near
            ORDER BY closes_it DESC, letters NULLS LAST, days NULLS LAST, {GROUP}, row_uid LIMIT {MAX_CANDIDATES}""",
            params=[difference, difference],
        ),
        CANDIDATES,
    )
