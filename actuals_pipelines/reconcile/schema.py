"""The columns that matching adds to a row, and the shape of the state and of the change file of a close."""

from __future__ import annotations

import pyarrow as pa

KEY_PREFIX = "key_"  # key_<scheme>: uuid
FOUND = "keys_{scheme}_in_{field}"  # list of uuid: the ids of that scheme in that field's text

OUTCOME = pa.schema(
    [
        pa.field("side", pa.string(), nullable=False),  # soll | ist
        pa.field("contribution", pa.int64(), nullable=False),  # minor units: + on SOLL, - on IST, after `sign`
        pa.field("group_key", pa.uuid()),  # smallest key that joined the group, or the lone row's row_uid
        pa.field("continuation", pa.int16()),  # 1; 2 and up continue a sealed group
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("pass", pa.string()),  # the pass that joined the group last; "offset"; null if none did
        pa.field("version", pa.int32(), nullable=False),  # of the package that solved the group
        pa.field("difference", pa.int64()),  # minor units of the group: SOLL minus IST
        pa.field("expected", pa.int64()),  # minor units of the group: what the difference should be
        pa.field("category", pa.string()),
    ]
)
"""Null group columns: a row that is not relevant is in no group. A group is (group_key, currency, continuation)."""

SOLVED = pa.schema(
    [
        pa.field("row_uid", pa.uuid(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("currency", pa.string(), nullable=False),
        pa.field("amount_minor_units", pa.int64(), nullable=False),
        *OUTCOME,
    ]
)
"""What `solve` returns: one row per row given."""

PROPOSALS = pa.schema(
    [
        pa.field("proposal", pa.uuid(), nullable=False),  # the smallest group key in it: with the currency its identity
        pa.field("pass", pa.string(), nullable=False),
        pa.field("verdict", pa.string(), nullable=False),  # proposed | ambiguous | search_unfinished
        pa.field("solutions", pa.int64()),  # 1; 2: two or more; null: not fully searched
        pa.field("days_apart", pa.int64()),  # by amount: of its pairs, added up; by sum: first to last day
        pa.field("group_key", pa.uuid(), nullable=False),
        pa.field("currency", pa.string(), nullable=False),
        pa.field("continuation", pa.int16(), nullable=False),
        pa.field("side", pa.string(), nullable=False),  # the side that has more than the other
        pa.field("amount", pa.int64(), nullable=False),  # minor units that are missing on the other side
        pa.field("difference", pa.int64(), nullable=False),  # minor units: of all groups of the proposal together
    ]
)
"""What keyless passes found at a close: one row per open group in a proposal; a group is in one at most."""

CORE = (
    "row_uid", "row_digest", "row_id", "source", "kind", "status", "transaction_id", "booked_on", "value_date",
    "amount_minor_units", "currency",
)  # fmt: skip
"""What a state keeps of a transaction, under its own name, but for `status`, which becomes `row_status`."""

TUPLE = ("group_key", "continuation", "status", "reason", "pass", "version", "difference", "category")
"""What the digest covers beside row_uid and currency, and what makes a change a change."""

WAS = ("change", "was_status", "was_reason", "was_group_key", "was_category")
"""What a change says beside the row as it is now. change: entered | left | restated | moved. The rest is null for a row
that entered. A row that left has its last content and, but for side and contribution, no outcome."""


def group_id_sql(package: str, alias: str = "") -> str:
    """SQL for a group's id as people see it: package/key/currency, and /2 for a continuation; null for no group."""
    dot = f"{alias}." if alias else ""
    name = package.replace("'", "''")
    tail = f"CASE WHEN {dot}continuation > 1 THEN '/' || {dot}continuation ELSE '' END"
    return f"'{name}/' || replace(CAST({dot}group_key AS VARCHAR), '-', '') || '/' || {dot}currency || {tail}"
