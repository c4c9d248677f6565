# ruff: noqa: S608 - SQL is put together from our own names and bound values
"""One transaction through all sources and packages: order - payment - payout - bank - ledger.

From the rows that carry the id, each step goes to the rows on the other side of their groups. So a payment leads to
its payout and on to the bank's line, but not to the thousand other payments of that payout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from actuals_pipelines.report.engine import over, shaped
from actuals_pipelines.report.group_id import GROUP, group_id_sql
from actuals_pipelines.report.wanted import Wanted, columns_of, condition
from actuals_pipelines.tables import TRANSACTIONS

MAX_STEPS = 6
MAX_ROWS_A_STEP = 200

FOUND_ROWS = pa.schema(
    [
        pa.field("step", pa.int32(), nullable=False),  # 0: carries the id itself
        pa.field("source", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("row_id", pa.string()),
        pa.field("transaction_id", pa.string()),
        pa.field("booked_on", pa.date32()),
        pa.field("amount", pa.int64(), nullable=False),  # minor units, as the source has it
        pa.field("currency", pa.string(), nullable=False),
        pa.field("row_uid", pa.uuid(), nullable=False),
    ]
)

OUTCOMES = pa.schema(
    [
        pa.field("row_uid", pa.uuid(), nullable=False),
        pa.field("package", pa.string(), nullable=False),
        pa.field("side", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("category", pa.string()),
        pa.field("currency", pa.string(), nullable=False),
        pa.field("difference", pa.int64()),  # minor units of the group
        pa.field("group_id", pa.string()),
    ]
)

_ROW = "source, kind, row_id, transaction_id, booked_on, amount_minor_units AS amount, currency, row_uid"


@dataclass(frozen=True, slots=True)
class Found:
    """Every row on the way, and what it is in each package. Rows that a package does not take are not in it."""

    rows: pa.Table  # schema FOUND_ROWS, by step and source
    outcomes: pa.Table  # schema OUTCOMES, one line per row and package
    left_out: int  # rows that were not followed: a step has at most MAX_ROWS_A_STEP


def find(states: Mapping[str, pa.Table], wanted: Wanted, start: pa.Table | None = None) -> Found:
    """Follow what `wanted` names.

    Args:
        states: package -> the rows of its last close.
        start: rows that carry the id and may be in no close yet: live rows, schema `tables.TRANSACTIONS`.
    """
    if not states and start is None:
        return Found(FOUND_ROWS.empty_table(), OUTCOMES.empty_table(), 0)
    names = list(states)
    tables = {f"state_{n}": table for n, table in enumerate(states.values())}
    tables["given"] = next(iter(states.values())).slice(0, 0) if start is None else start
    with over(**tables) as con:
        con.execute(f"CREATE TEMP TABLE found AS SELECT 0::INTEGER AS step, {_ROW} FROM given")
        _begin(con, names, wanted)
        con.execute("CREATE TEMP TABLE used (package INTEGER, group_key UUID, currency VARCHAR, continuation SMALLINT)")
        left_out = sum(_follow(con, len(names), step) for step in range(1, MAX_STEPS + 1))
        rows = con.sql(f"SELECT {', '.join(FOUND_ROWS.names)} FROM found ORDER BY step, source, booked_on, row_uid")
        return Found(shaped(rows, FOUND_ROWS), _outcomes(con, names), left_out)


def carrying(rows: pa.Table | pa.RecordBatchReader, wanted: Wanted) -> pa.Table:
    """Of a source's live rows (schema `tables.TRANSACTIONS` and keys), those that carry what is wanted; bounded."""
    where, values = condition(wanted, None, rows.schema.names)
    with over(given=rows) as con:
        columns = ", ".join(TRANSACTIONS.names)
        found = con.sql(f"SELECT {columns} FROM given WHERE {where} LIMIT {MAX_ROWS_A_STEP}", params=values)
        return pa.table(list(found.to_arrow_table().itercolumns()), schema=TRANSACTIONS)


def _begin(con: duckdb.DuckDBPyConnection, names: list[str], wanted: Wanted) -> None:
    """Put the rows that carry the id into `found`, from every package."""
    for n, package in enumerate(names):
        where, values = condition(wanted, package, columns_of(con, f"state_{n}"))
        con.execute(
            f"""
            INSERT INTO found SELECT 0, {_ROW} FROM state_{n} r
            ANTI JOIN found USING (row_uid) WHERE {where} LIMIT {MAX_ROWS_A_STEP}""",
            values,
        )


def _follow(con: duckdb.DuckDBPyConnection, packages: int, step: int) -> int:
    """From the rows of the step before to the other side of their groups, each group once; rows left out."""
    left_out = 0
    for n in range(packages):
        con.execute(f"""
            CREATE OR REPLACE TEMP TABLE arriving AS
            SELECT r.* FROM state_{n} r JOIN (
                SELECT {GROUP}, min(side) AS first_side, max(side) AS last_side FROM state_{n}
                SEMI JOIN (FROM found WHERE step = {step - 1}) USING (row_uid)
                WHERE group_key IS NOT NULL
                  AND NOT EXISTS (FROM used u WHERE u.package = {n} AND u.group_key = state_{n}.group_key
                                  AND u.currency = state_{n}.currency AND u.continuation = state_{n}.continuation)
                GROUP BY {GROUP}) g
            ON r.group_key = g.group_key AND r.currency = g.currency AND r.continuation = g.continuation
            WHERE r.side <> g.first_side OR r.side <> g.last_side""")
        con.execute(f"""
            INSERT INTO used SELECT DISTINCT {n}, {GROUP} FROM state_{n}
            SEMI JOIN (FROM found WHERE step = {step - 1}) USING (row_uid) WHERE group_key IS NOT NULL""")
        con.execute("DELETE FROM arriving WHERE row_uid IN (SELECT row_uid FROM found)")
        [(arriving,)] = con.execute("SELECT count(*) FROM arriving").fetchall()
        left_out += max(0, int(arriving) - MAX_ROWS_A_STEP)
        con.execute(f"INSERT INTO found SELECT {step}, {_ROW} FROM arriving ORDER BY row_uid LIMIT {MAX_ROWS_A_STEP}")
    return left_out


def _outcomes(con: duckdb.DuckDBPyConnection, names: list[str]) -> pa.Table:
    parts = [
        f"SELECT row_uid, '{_text(package)}' AS package, {n} AS place, side, status, reason, category, currency, "
        f"difference, {group_id_sql(package)} AS group_id FROM state_{n} SEMI JOIN found USING (row_uid) "
        "WHERE status <> 'not_relevant'"
        for n, package in enumerate(names)
    ]
    if not parts:
        return OUTCOMES.empty_table()
    columns = ", ".join(OUTCOMES.names)
    return shaped(con.sql(f"SELECT {columns} FROM ({' UNION ALL '.join(parts)}) ORDER BY place, row_uid"), OUTCOMES)


def _text(value: str) -> str:
    return value.replace("'", "''")
