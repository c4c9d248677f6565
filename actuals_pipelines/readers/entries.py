"""The columns that every reader of a known format gives, so that one mapping and one printer fit all of them.

`csv`, `xlsx`, `ndjson` and `parquet` without a profile give the file's own headers instead. A format may add columns of
its own after these; it never gives one of these names another meaning.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

ENTRY_COLUMNS = (
    "statement", "account", "level", "transaction_id", "parent_id", "kind", "status", "booked_on", "value_date",
    "timestamp", "amount", "currency", "gross", "fee", "tax", "net", "original_amount", "original_currency", "rate",
    "references", "text", "counterparty", "counterparty_account", "bank_code",
)  # fmt: skip
"""All text, null where the source says nothing.

statement, account     as the file names them; identity and balances are per statement
level                  `entry`: counts in totals; `detail`: a part of the entry named by `parent_id`, counts nowhere
transaction_id         the source's own id; null where it has none (row identity is then the content's)
kind                   one of `KINDS`; what the format does not know is `other`, with its own word in `bank_code`
status                 booked | pending | informational; only booked entries count in totals
booked_on, value_date  YYYY-MM-DD in the account's own time zone
timestamp              ISO 8601 with offset, or null where the source has only a date
amount, gross, fee, tax, net, original_amount
                       signed decimal text with a point and no grouping ("-12.30"): + is more held there, or owed to us.
                       gross + fee + tax = net, fees and taxes that cost us are negative; amount is the row's movement
references             a JSON object {type: value} with the types of `REFERENCES`, keys sorted, or null
counterparty, counterparty_account, text
                       personal data: a mapping takes them as tokens or not at all
"""

KINDS = frozenset(
    {
        "payment", "refund", "chargeback", "chargeback_reversal", "fee", "fee_refund", "payout", "payout_return",
        "transfer", "reserve_hold", "reserve_release", "adjustment", "fx", "tax", "interest", "other",
    }
)  # fmt: skip

REFERENCES = frozenset(
    {
        "end_to_end", "instruction", "mandate", "creditor_ref", "acct_svcr", "psp_ref", "merchant_ref", "order",
        "invoice", "payout_ref", "batch", "auth_code", "arn", "customer_ref", "payment_information", "tx_id", "uetr",
        "check", "document",
    }
)  # fmt: skip


def references_text(found: Mapping[str, str | None]) -> str | None:
    """The `references` column of one entry: absent and empty values left out, null when none is left."""
    kept = {name: value for name, value in found.items() if value}
    return msgspec.json.encode(kept, order="sorted").decode() if kept else None
