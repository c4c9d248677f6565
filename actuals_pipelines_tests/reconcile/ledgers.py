"""Rows for matching tests, written as an accountant would write them."""

from __future__ import annotations

import hashlib
from datetime import date
from typing import Any
from uuid import UUID

import pyarrow as pa

from actuals_pipelines.domain.money import Money
from actuals_pipelines.domain.package import MatchingPackage, Member, Pass
from actuals_pipelines.tables import TRANSACTIONS

ORDERS_VS_PSP = MatchingPackage(name="orders_vs_psp", soll=(Member("shop"),), ist=(Member("psp"),))

BY_ID = Pass(name="transaction id", by="transaction_id")
IN_TEXT = Pass(name="id in text", by="transaction_id", look_in=("text",))
SEVERAL_IN_TEXT = Pass(name="ids in text", by="transaction_id", look_in=("text",), several=True)
BY_PAYOUT = Pass(name="payout", by="payout")

_SOURCES = {"SOLL": "shop", "IST": "psp"}
_UNIT = UUID(int=7)
SCHEMA = pa.schema(
    [
        *TRANSACTIONS,
        pa.field("text", pa.string()),
        pa.field("key_transaction_id", pa.uuid()),
        pa.field("key_payout", pa.uuid()),
        pa.field("keys_transaction_id_in_text", pa.list_(pa.uuid())),
    ]
)


def key(scheme: str, text: str) -> UUID:
    """A match key; tests need no pepper."""
    return UUID(bytes=hashlib.md5(f"{scheme}:{text}".encode(), usedforsecurity=False).digest())


def ledger(text: str) -> pa.Table:
    """Read a small ledger: a header, then rows; columns are split by two blanks or more, `-` is nothing.

    Columns: side or source, id, amount ("60.00 EUR"), and optionally row, kind, booked, payout, text. Ids in the text
    are its words that begin with "order-".
    """
    lines = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.strip().splitlines()]
    header, *rows = [line for line in lines if line]
    return rows_of([dict(zip(header, row, strict=True)) for row in rows])


def rows_of(rows: list[dict[str, str]]) -> pa.Table:
    """The same from dictionaries."""
    return table_of([_row(number, row) for number, row in enumerate(rows, 1)])


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows with UUIDs and lists of UUIDs as an Arrow table."""
    columns = []
    for field in SCHEMA:
        values = [row[field.name] for row in rows]
        if pa.types.is_list(field.type):
            offsets = [0]
            for value in values:
                offsets.append(offsets[-1] + len(value))
            flat = [each.bytes for value in values for each in value]
            columns.append(pa.ListArray.from_arrays(offsets, pa.array(flat, pa.binary(16)).cast(pa.uuid())))
        elif field.type == pa.uuid():
            columns.append(pa.array([value.bytes if value else None for value in values], pa.uuid()))
        else:
            columns.append(pa.array(values, field.type))
    return pa.table(columns, schema=SCHEMA)


def _row(number: int, cells: dict[str, str]) -> dict[str, Any]:
    cell = {name: None if value == "-" else value for name, value in cells.items()}
    money = Money.from_words(cell["amount"] or "")
    booked = date.fromisoformat(cell.get("booked") or "2026-01-31")
    name = cell.get("row") or f"row {number}"
    source = cell.get("source") or _SOURCES[cell["side"] or ""]
    words = cell.get("text") or ""
    return {
        "row_uid": key("row", name),
        "row_digest": key("content", str(sorted(cells.items()))),
        "row_id": name,
        "source": source,
        "kind": cell.get("kind") or ("sale" if source == "shop" else "payment"),
        "status": "booked",
        "transaction_id": cell.get("id"),
        "booked_on": booked,
        "value_date": None,
        "timestamp": None,
        "amount_minor_units": money.minor_units,
        "currency": money.currency,
        "unit_id": _UNIT,
        "line": number,
        "text": cell.get("text"),
        "key_transaction_id": key("order", cell["id"]) if cell.get("id") else None,
        "key_payout": key("payout", cell["payout"] or "") if cell.get("payout") else None,
        "keys_transaction_id_in_text": [key("order", word) for word in words.split() if word.startswith("order-")],
    }


def by_row(solved: pa.Table, rows: pa.Table) -> dict[str, dict[str, Any]]:
    """Each row's outcome under the name the ledger gave it."""
    names = dict(zip(rows["row_uid"].to_pylist(), rows["row_id"].to_pylist(), strict=True))
    return {names[outcome["row_uid"]]: outcome for outcome in solved.to_pylist()}


def words(outcomes: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Each row's outcome in a few words: "unmatched amount_differs -2000"."""
    return {
        name: " ".join(
            str(part) for part in (o["status"], o["reason"] or o["pass"], o["difference"]) if part is not None
        )
        for name, o in outcomes.items()
    }
