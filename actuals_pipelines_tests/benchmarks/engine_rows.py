# ruff: noqa: S608 - SQL is put together from our own names and numbers
"""Made-up rows for the engine's benchmark, with the truth about each: orders, a PSP's payments, a ledger's lines.

Every order has an outcome (`OUTCOMES`): most are paid as they should be, some are not, and some are paid in a way that
only a later pass or no pass can see. Nothing is drawn at random: the same numbers give the same rows.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

OUTCOMES = {  # per mille of the orders; the rest is paid in full under its number
    "missing_ist": 10,
    "missing_soll": 5,
    "paid_twice": 5,
    "fee_kept": 10,
    "late": 10,  # paid in full, weeks later
    "other_currency": 3,
    "number_in_text": 20,  # paid in full; the number is in the payment's text alone
    "typo": 3,
    "no_number": 4,
    "charged_back": 3,
    "refunded": 30,  # sale and refund on both sides
}
BALANCES = ("paid", "late", "number_in_text", "refunded")
"""What a right engine matches."""
ROWS_PER_ORDER = 3.06

_SHAPE = """row_uid, row_digest, row_id, source, kind, 'booked' AS status, transaction_id, booked_on,
    NULL::DATE AS value_date, NULL::TIMESTAMPTZ AS timestamp, amount_minor_units, currency,
    '00000000-0000-0000-0000-000000000007'::UUID AS unit_id, i AS line, text, key_order, keys_order_in_text, i"""


def write_rows(orders: int, folder: Path, days: int = 90) -> None:
    """Write shop.parquet, psp.parquet and ledger.parquet: `tables.TRANSACTIONS`, text, keys; `i` is the order's number.

    And truth.parquet: (i, outcome). Plain Parquet in the layout that the store uses.
    """
    with duckdb.connect() as con:
        con.execute("SET threads = 2; SET arrow_lossless_conversion = true; SET preserve_insertion_order = true")
        half = "lpad(to_hex(hash({})), 16, '0')"
        con.execute(f"CREATE MACRO id(a, b) AS CAST({half.format('a')} || {half.format('b')} AS UUID)")
        arms, last = [], 0
        for outcome, share in OUTCOMES.items():
            last += share
            arms.append(f"WHEN u < {last} THEN '{outcome}'")
        con.execute(f"""
            CREATE TEMP TABLE orders AS
            SELECT range AS i, hash(range * 31 + 1) % 1000 AS u, CASE {" ".join(arms)} ELSE 'paid' END AS outcome,
                   300 + (hash(range * 17) % 60000)::BIGINT AS amount,
                   CASE WHEN hash(range * 13) % 10 < 7 THEN 'EUR' WHEN hash(range * 13) % 10 < 9 THEN 'USD'
                        ELSE 'JPY' END AS currency,
                   DATE '2026-01-01' + (range * {days} // {orders})::INT AS day,
                   'ORD' || lpad(range::VARCHAR, 10, '0') AS number
            FROM range({orders})""")
        for source, rows in (("shop", _SHOP), ("psp", _PSP), ("ledger", _LEDGER)):
            con.execute(f"COPY (SELECT {_SHAPE} FROM ({rows})) TO '{folder / source}.parquet' (COMPRESSION zstd)")
        con.execute(f"COPY (SELECT i, outcome FROM orders) TO '{folder / 'truth'}.parquet' (COMPRESSION zstd)")


_OWN = "id(concat('order', number), number)"
_ROW = "id(concat({0}, i, '/', k), i) AS row_uid, id(concat({0}, i, '/', k, 'd'), i) AS row_digest"
_NOTHING = "[]::UUID[] AS keys_order_in_text"

_SHOP = f"""
    SELECT {_ROW.format("'shop'")}, number || '-' || k AS row_id,
           'shop' AS source, CASE k WHEN 0 THEN 'sale' ELSE 'refund' END AS kind, number AS transaction_id,
           day + k::INT AS booked_on, CASE k WHEN 0 THEN amount ELSE -amount END AS amount_minor_units, currency,
           'Order from the web shop' AS text, {_OWN} AS key_order, {_NOTHING}, i
    FROM (SELECT *, unnest(CASE outcome WHEN 'refunded' THEN [0, 1] ELSE [0] END) AS k FROM orders
          WHERE outcome <> 'missing_soll')"""
_PSP = f"""
    SELECT {_ROW.format("'psp'")}, 'PAY' || i || '-' || k AS row_id,
           'psp' AS source,
           CASE WHEN k = 0 OR outcome = 'paid_twice' THEN 'payment' WHEN outcome = 'refunded' THEN 'refund'
                ELSE 'chargeback' END AS kind,
           CASE WHEN outcome IN ('number_in_text', 'no_number') THEN NULL
                WHEN outcome = 'typo' THEN number || '9' ELSE number END AS transaction_id,
           day + (i % 3)::INT + CASE outcome WHEN 'late' THEN 20 ELSE 0 END + k::INT AS booked_on,
           CASE WHEN kind <> 'payment' THEN -amount WHEN outcome = 'fee_kept' THEN amount - 30 ELSE amount END
               AS amount_minor_units,
           CASE WHEN outcome <> 'other_currency' THEN currency WHEN currency = 'EUR' THEN 'USD' ELSE 'EUR' END
               AS currency,
           CASE outcome WHEN 'number_in_text' THEN 'Payment for order ' || number || ', thank you'
                        ELSE 'card ' || i END AS text,
           CASE WHEN transaction_id = number THEN {_OWN}
                WHEN transaction_id IS NOT NULL THEN id('typo', transaction_id) END AS key_order,
           CASE outcome WHEN 'number_in_text' THEN [{_OWN}] ELSE []::UUID[] END AS keys_order_in_text, i
    FROM (SELECT * EXCLUDE (currency), orders.currency AS currency,
                 unnest(CASE WHEN outcome IN ('refunded', 'charged_back', 'paid_twice') THEN [0, 1] ELSE [0] END) AS k
          FROM orders WHERE outcome <> 'missing_ist')"""
_LEDGER = f"""
    SELECT {_ROW.format("'ledger'")}, 'L' || i || '-' || k AS row_id,
           'ledger' AS source, 'invoice' AS kind, NULL::VARCHAR AS transaction_id, day + k::INT AS booked_on,
           CASE WHEN k = 1 THEN -amount WHEN i % 500 = 7 THEN amount + 5 ELSE amount END AS amount_minor_units,
           currency, 'AR/INV/' || number || '/2026' AS text, NULL::UUID AS key_order, [{_OWN}] AS keys_order_in_text, i
    FROM (SELECT *, unnest(CASE WHEN outcome = 'refunded' THEN [0, 1] ELSE [0] END) AS k FROM orders
          WHERE outcome <> 'missing_soll' AND i % 500 <> 5)"""
