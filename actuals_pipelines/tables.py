"""The Arrow schemas of the tables that rooms hand to one another.

A set of transactions is an Arrow table, a record-batch reader or a DuckDB relation, never a list of objects.
DuckDB sees `pa.uuid()` as UUID (128 bits, fast to group and join); set `arrow_lossless_conversion` on a connection
that hands such columns back, or they come back as text.
"""

from __future__ import annotations

import pyarrow as pa

LINE = "_line"
"""Raw tables: 1-based record number within its unit (int64). Every other raw column is text, named as in the file."""

TRANSACTIONS = pa.schema(
    [
        pa.field("row_uid", pa.uuid(), nullable=False),  # from raw identity, never from mapped fields
        pa.field("row_digest", pa.uuid(), nullable=False),  # keyed, of the content: tells change from repeat
        pa.field("row_id", pa.string()),  # the source's own id for this line, for people
        pa.field("source", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),  # booked | pending | informational
        pa.field("transaction_id", pa.string()),
        pa.field("booked_on", pa.date32()),
        pa.field("value_date", pa.date32()),
        pa.field("timestamp", pa.timestamp("us", tz="UTC")),
        pa.field("amount_minor_units", pa.int64(), nullable=False),  # signed: + is more owed to us, or more held there
        pa.field("currency", pa.string(), nullable=False),  # ISO 4217
        pa.field("unit_id", pa.uuid(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
    ]
)
"""The core of every transactions table. After it come the mapped extra fields (text: reference, text, payout_ref, ...)
and the match keys: `key_<scheme>` (uuid, null for an empty id); for passes with `look_in`, `keys_<scheme>_in_<field>`
(list of uuid: every id of that scheme found in that field's text)."""

REJECTS = pa.schema(
    [
        pa.field("line", pa.int64(), nullable=False),
        pa.field("field", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),  # what was expected; never the value
    ]
)
"""Raw records that could not be normalised: one row per record and field."""

RESULTS = pa.schema(
    [
        pa.field("side", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("row_uid", pa.uuid(), nullable=False),
        pa.field("row_id", pa.string()),
        pa.field("transaction_id", pa.string()),
        pa.field("currency", pa.string(), nullable=False),
        pa.field("amount_minor_units", pa.int64(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("balance_difference", pa.int64()),  # minor units of the group, SOLL minus IST
        pa.field("group_id", pa.string()),
        pa.field("pass", pa.string()),
        pa.field("category", pa.string()),
    ]
)
"""One row per input row of a matching run."""
