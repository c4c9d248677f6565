"""`actuals read`: from a reader's batches to transactions as people and programs get them, and their totals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from actuals_pipelines.domain.controls import StatementControls
from actuals_pipelines.domain.money import AmountUnreadable, Money
from actuals_pipelines.normalise.currencies import CURRENCIES
from actuals_pipelines.readers.reading import Reading, note_reject
from actuals_pipelines.tables import LINE

FIELDS = (
    "line", "statement", "account", "level", "transaction_id", "parent_id", "kind", "status", "booked_on", "value_date",
    "timestamp", "amount_minor_units", "currency", "gross_minor_units", "fee_minor_units", "tax_minor_units",
    "net_minor_units", "original_amount", "original_currency", "rate", "references", "text", "counterparty",
    "counterparty_account", "bank_code",
)  # fmt: skip
"""What each transaction has, in this order. Amounts in other currencies stay as the file writes them."""

_AMOUNTS = {"amount": "amount_minor_units"} | {n: f"{n}_minor_units" for n in ("gross", "fee", "tax", "net")}

_NO_CURRENCY = "no currency is given: state the file's with --option currency=EUR, for example"


@dataclass(slots=True)
class _Sums:
    entries: int = 0
    credits: int = 0
    debits: int = 0


@dataclass(slots=True)
class Totals:
    """The booked entries per currency; what is pending, informational or a detail counts apart."""

    sums: dict[str, _Sums] = field(default_factory=dict)
    pending: int = 0
    informational: int = 0
    details: int = 0
    first_booked_on: str | None = None
    last_booked_on: str | None = None

    @property
    def entries(self) -> int:
        """Booked entries in all currencies."""
        return sum(each.entries for each in self.sums.values())

    def add(self, transaction: dict[str, Any]) -> None:
        """Count one transaction where it belongs."""
        if transaction["level"] == "detail":
            self.details += 1
        elif transaction["status"] == "pending":
            self.pending += 1
        elif transaction["status"] == "informational":
            self.informational += 1
        else:
            self._add_booked(transaction)

    def _add_booked(self, transaction: dict[str, Any]) -> None:
        sums = self.sums.setdefault(transaction["currency"], _Sums())
        amount = transaction["amount_minor_units"]
        sums.entries += 1
        sums.credits += max(amount, 0)
        sums.debits += max(-amount, 0)
        day = transaction["booked_on"]
        if day:
            self.first_booked_on = min(day, self.first_booked_on or day)
            self.last_booked_on = max(day, self.last_booked_on or day)

    def document(self) -> dict[str, Any]:
        """As `--json` prints it; credits and debits both positive, net is credits less debits."""
        return {
            "entries": self.entries,
            "by_currency": {
                currency: {
                    "entries": each.entries,
                    "credits_minor_units": each.credits,
                    "debits_minor_units": each.debits,
                    "net_minor_units": each.credits - each.debits,
                }
                for currency, each in sorted(self.sums.items())
            },
            "first_booked_on": self.first_booked_on,
            "last_booked_on": self.last_booked_on,
            "pending": self.pending,
            "informational": self.informational,
            "details": self.details,
        }


def transactions(reading: Reading, totals: Totals) -> Iterator[dict[str, Any]]:
    """One dictionary with `FIELDS` per row, counted in `totals`; what has no exact amount is a reject.

    Flat in memory: a batch at a time.
    """
    for batch in reading.batches:
        for row in batch.to_pylist():
            made = _transaction(row, reading)
            if made is not None:
                totals.add(made)
                yield made


def statement(controls: StatementControls) -> dict[str, Any]:
    """One statement's balances and sums as `--json` prints them; null where the file does not say."""
    gap = controls.gap
    return {
        "account": controls.account,
        "statement": controls.statement,
        "number": controls.number,
        "first_on": controls.first_on.isoformat() if controls.first_on else None,
        "last_on": controls.last_on.isoformat() if controls.last_on else None,
        "currency": controls.currency,
        "opening_balance_minor_units": controls.opening,
        "closing_balance_minor_units": controls.closing,
        "credits_minor_units": controls.credits,
        "debits_minor_units": controls.debits,
        "entries": controls.entries,
        "stated_credits_minor_units": controls.stated_credits,
        "stated_debits_minor_units": controls.stated_debits,
        "stated_entries": controls.stated_entries,
        "balances_chain": None if gap is None else gap == 0,
        "gap_minor_units": gap,
        "agrees": controls.agrees,
    }


def rejects(reading: Reading) -> list[dict[str, Any]]:
    """What could not be read: line, field ("" is the record), reason; never the value."""
    return [{"line": line, "field": name, "reason": reason} for line, name, reason in sorted(reading.rejects)]


def _transaction(row: dict[str, Any], reading: Reading) -> dict[str, Any] | None:
    currency = row["currency"]
    if currency not in CURRENCIES:
        reason = _NO_CURRENCY if currency is None else "not a currency of ISO 4217"
        note_reject(reading, row[LINE], "currency", reason, "its format")
        return None
    made = {name: row.get(name) for name in FIELDS}
    made["line"] = row[LINE]
    made["level"] = row.get("level") or "entry"
    made["status"] = row.get("status") or "booked"
    made["references"] = json.loads(row.get("references") or "{}")
    for source, target in _AMOUNTS.items():
        text = row.get(source)
        if text is None and source != "amount":
            continue
        if text is None and made["level"] == "detail":
            continue  # a batch's part whose share the bank does not state
        try:
            made[target] = Money.parse(text or "", currency).minor_units
        except AmountUnreadable as error:
            reason = error.reason if text else "no amount is given"
            note_reject(reading, row[LINE], source, reason, "its format")
            return None
    return made
