"""Which defects the demo data hold, how often, and what a correct reconciliation says about each.

A defect is one business event gone wrong (or only looking odd: a refund must come out matched). Its truth is one row
per transaction whose result is checked; the rows of one defect share `defect_id`.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

TRUTH = pa.schema(
    [
        pa.field("defect_id", pa.string(), nullable=False),  # "typo-17": one business event
        pa.field("package", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("day", pa.date32(), nullable=False),  # of the order or payout it began with
        pa.field("side", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("row_id", pa.string(), nullable=False),  # the source's own id of the row, as the result has it
        pa.field("transaction_id", pa.string()),
        pa.field("currency", pa.string(), nullable=False),
        pa.field("balance_difference", pa.int64(), nullable=False),  # minor units of the row's group, SOLL minus IST
        pa.field("expected_status", pa.string(), nullable=False),
        pa.field("expected_reasons", pa.list_(pa.string()), nullable=False),  # any of these; empty: not checked
        pa.field("expected_category", pa.string()),  # null: not checked
    ]
)
"""What holds at a close of the last day, when all days have been taken in."""


@dataclass(frozen=True, slots=True)
class DefectKind:
    """One kind of defect: how often it strikes, and what the books then say, in a few words for people."""

    name: str
    rate: float  # of the orders, or of the payouts
    words: str


FEWEST = 3
"""Every kind of order defect strikes at least so often, so that a thousand orders hold them all."""

ORDER_DEFECTS = (
    DefectKind("missing_ist", 0.004, "the PSP never booked the order's payment"),
    DefectKind("missing_soll", 0.003, "the PSP booked a payment that the shop does not know"),
    DefectKind("duplicate", 0.003, "the customer paid twice"),
    DefectKind("fee_off", 0.004, "the PSP kept its fee from the payment"),
    DefectKind("amount_off", 0.002, "the payment is not the order's amount"),
    DefectKind("late", 0.006, "the payment was booked two or three days after the order"),
    DefectKind("wrong_currency", 0.002, "the payment is in another currency"),
    DefectKind("typo", 0.002, "one digit of the order number is wrong at the PSP"),
    DefectKind("chargeback", 0.003, "the customer's bank took the payment back"),
    DefectKind("refund", 0.030, "the order was refunded, in the shop and at the PSP"),
    DefectKind("reference_in_text", 0.010, "the order number stands only in the payment's text"),
)
PAYOUT_DEFECTS = (
    DefectKind("payout_missing", 0.010, "the payout never reached the bank"),
    DefectKind("payout_short", 0.010, "the bank kept its charge from the payout"),
    DefectKind("payout_partial", 0.010, "only a part of the payout has reached the bank"),
    DefectKind("payout_split", 0.020, "the payout reached the bank in two credits"),
)
TIMING = (
    DefectKind("in_transit", 0.0, "ordered late on the last day: the payment is booked the day after"),
    DefectKind("payout_in_transit", 0.0, "paid out on the last days: the bank books it later"),
)
"""No defects, but open at the last close: they come by themselves, from the cut-off."""

WORDS = {kind.name: kind.words for kind in (*ORDER_DEFECTS, *PAYOUT_DEFECTS, *TIMING)}
"""Kind -> what happened, in a sentence's half."""

# A label is what a result row says: its category, else its reason. Which kind of defect would say so?
KIND_OF_LABEL = {
    "missing_ist": "missing_ist",
    "missing_soll": "missing_soll",
    "refund_due": "duplicate",
    "duplicate": "duplicate",
    "fee": "fee_off",
    "amount_differs": "amount_off",
    "currency_differs": "wrong_currency",
    "chargeback": "chargeback",
    "bank_charge": "payout_short",
    "not_due": "in_transit",
}


def planned(orders: int) -> list[tuple[str, int, int]]:
    """Place the order defects: (kind, first place, place after the last) among `orders` places, the rest "plain"."""
    places, at = [], 0
    for kind in ORDER_DEFECTS:
        count = max(FEWEST, round(kind.rate * orders))
        places.append((kind.name, at, at + count))
        at += count
    return [*places, ("plain", at, orders)]


def planned_payouts(eligible: int) -> list[tuple[str, int, int]]:
    """Place the payout defects among the eligible payouts by rank; each strikes at least once."""
    places, at = [], 0
    for kind in PAYOUT_DEFECTS:
        count = max(1, round(kind.rate * eligible))
        places.append((kind.name, at, at + count))
        at += count
    return [*places, ("plain", at, max(at + 1, eligible))]
