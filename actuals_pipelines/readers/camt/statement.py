"""Stmt, Rpt or Ntfctn: what stands above its entries, and what they add up to against what it says itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from actuals_pipelines.domain.controls import StatementControls
from actuals_pipelines.domain.money import AmountUnreadable, Money
from actuals_pipelines.readers.amounts import day
from actuals_pipelines.readers.camt.elements import CURRENCY, Plan, Texts
from actuals_pipelines.readers.camt.entry import Entry

_ABOVE = Plan(
    {
        "Id": "id",
        "Acct/Id/IBAN": "account",
        "Acct/Id/Othr/Id": "account",
        "Acct/Id/PrtryAcct/Id": "account",
        "Acct/Id/BBAN": "account",
        "Acct/Ccy": "currency",
        "ElctrncSeqNb": "number",
        "LglSeqNb": "legal_number",
        "FrToDt/FrDtTm": "begins",
        "FrToDt/ToDtTm": "ends",
        "TxsSummry/TtlNtries/NbOfNtries": "entries",
        "TxsSummry/TtlCdtNtries/Sum": "credits",
        "TxsSummry/TtlDbtNtries/Sum": "debits",
    }
)
_BALANCE = Plan(
    {
        "Tp/CdOrPrtry/Cd": "code",
        "Tp/Cd": "code",
        "Tp/SubTp/Cd": "sub_type",
        "Tp/SubTp/Prtry": "sub_type",
        "Amt": "amount",
        "CdtDbtInd": "direction",
        "Dt": "on",
        "Dt/Dt": "on",
        "Dt/DtTm": "on",
        "Dt/Dt/DtTm": "on",
    }
)


@dataclass
class _Sums:
    credits: int = 0
    debits: int = 0
    entries: int = 0


@dataclass
class Statement:
    """One statement while its entries pass by."""

    name: str | None
    account: str | None
    sums: dict[str, _Sums] = field(default_factory=dict)  # by currency, booked entries
    is_all_booked: bool = True
    first_on: str | None = None
    last_on: str | None = None

    @classmethod
    def of(cls, element: Any) -> Statement:
        """What stands above the entries."""
        found = _ABOVE.texts(element)
        return cls(found.get("id"), found.get("account"))

    def complete(self, entry: Entry, line: int) -> None:
        """Put what the statement knows into the entry's rows, and count it."""
        row = entry.row
        row["statement"] = self.name
        if row["transaction_id"] is None and self.name and row["entry_ref"]:
            row["transaction_id"] = f"{self.name}/{row['entry_ref']}"
        parent = row["transaction_id"] or f"#{line}"
        for number, detail in enumerate(entry.details, 1):
            detail["statement"], detail["parent_id"] = self.name, parent
            detail["transaction_id"] = detail["transaction_id"] or f"{parent}/{number}"
        sums = self.sums.setdefault(entry.currency, _Sums())
        if row["status"] != "booked":
            self.is_all_booked = False
            return
        sums.entries += 1
        sums.credits += max(entry.amount.minor_units, 0)
        sums.debits += max(-entry.amount.minor_units, 0)
        booked_on = row["booked_on"]
        if booked_on:
            self.first_on = min(booked_on, self.first_on or booked_on)
            self.last_on = max(booked_on, self.last_on or booked_on)

    def controls(self, element: Any) -> list[StatementControls]:
        """One per currency of its entries; balances and stated sums with the account's own."""
        found = _ABOVE.texts(element)
        balances = [_BALANCE.texts(child) for child in element.iterchildren("{*}Bal")]
        opening = _balance(balances, "OPBD") or _balance(balances, "PRCD")
        closing = _balance(balances, "CLBD")
        stated = [balance.money.currency for balance in (opening, closing) if balance]
        own = next((code for code in (found.get("currency"), *stated, *self.sums) if code), None)
        if own:
            self.sums.setdefault(own, _Sums())
        first_on, last_on = self._days(found, opening, closing)
        states_all = self.is_all_booked and len(self.sums) == 1
        return [
            StatementControls(
                account=self.account,
                statement=self.name,
                currency=currency,
                opening=_in(opening, currency, own),
                closing=_in(closing, currency, own),
                credits=sums.credits,
                debits=sums.debits,
                entries=sums.entries,
                stated_credits=_stated(found, "credits", currency) if states_all else None,
                stated_debits=_stated(found, "debits", currency) if states_all else None,
                stated_entries=_whole(found.get("entries")) if states_all else None,
                number=found.get("number") or found.get("legal_number"),
                first_on=first_on,
                last_on=last_on,
            )
            for currency, sums in self.sums.items()
        ]

    def _days(
        self, found: Texts, opening: _Balance | None, closing: _Balance | None
    ) -> tuple[date | None, date | None]:
        """What it covers: its own period, else the days of its balances, else those of its entries."""
        begins, ends = found.get("begins"), found.get("ends")
        if begins and ends:
            return day(begins[:10]), day(ends[:10])
        if opening and opening.on and closing and closing.on:
            return opening.on, closing.on
        return (day(self.first_on) if self.first_on else None, day(self.last_on) if self.last_on else None)


@dataclass(frozen=True, slots=True)
class _Balance:
    money: Money
    on: date | None


def _balance(balances: list[Texts], code: str) -> _Balance | None:
    """The first balance of that type which is not a sub-balance; debit is negative."""
    for found in balances:
        if found.get("code") != code or "sub_type" in found:
            continue
        amount, currency = found.get("amount"), found.get("amount" + CURRENCY)
        if amount is None or currency is None:
            return None
        on = found.get("on")
        sign = "-" if found.get("direction") == "DBIT" else ""
        try:
            return _Balance(Money.parse(sign + amount, currency), day(on[:10]) if on else None)
        except AmountUnreadable:
            return None
    return None


def _in(balance: _Balance | None, currency: str, own: str | None) -> int | None:
    return balance.money.minor_units if balance and currency == own == balance.money.currency else None


def _stated(found: Texts, path: str, currency: str) -> int | None:
    text = found.get(path)
    try:
        return Money.parse(text, currency).minor_units if text else None
    except AmountUnreadable:
        return None


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 16 else None
