"""`:61:` statement line, and the balances of `:60a: :62a:`. SWIFT MT940 and MT942 field specifications."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from actuals_pipelines.readers.amounts import Amount, Amounts, FieldUnreadable, decimal_text

# Value date, entry date (blanks at some banks), mark, third letter of the currency, amount, type, references, more.
# Real files have references longer than 16, amounts filled with zeros, and blanks in all places.
_ENTRY = re.compile(
    r"\s*([0-9]{6}) *([0-9]{4})? *([RrEe]?[CcDd])([A-Za-z])? *([0-9.,]+) *"
    r"(?:([A-Za-z][A-Za-z0-9 ]{3})([^\n]*))?(?:\n(.*))?",
    re.ASCII | re.DOTALL,
)
_BALANCE = re.compile(r"\s*([CD])([0-9]{6})([A-Z]{3})?\s*([0-9.,]+)", re.ASCII)
_TOTAL = re.compile(r"\s*([0-9]{1,5})\s*([A-Z]{3})\s*([0-9.,]+)", re.ASCII)
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", re.ASCII)
NO_REFERENCE = {
    *("", "N", "0", "NONREF", "NONE", "NOREF", "NOTPROVIDED"),
    *("EREF", "EREF+", "KREF", "KREF+", "MREF", "MREF+", "MARF", "PREF"),  # it is in the :86:
}
KINDS = {"CHG": "fee", "COM": "fee", "BRF": "fee", "INT": "interest", "FEX": "fx", "TAX": "tax"}
"""By the last three letters of the type; all others are payments. What they say more is in `bank_code`."""


class Line(NamedTuple):
    """What a :61: says."""

    value_date: str
    booked_on: str
    stated_date: str | None  # where the calendar has no such day
    amount: Amount
    is_reversal: bool
    is_expected: bool
    type: str
    kind: str
    customer_ref: str | None
    bank_ref: str | None
    supplementary: str


class Balance(NamedTuple):
    """A balance, debit negative; the currency is None where the bank left it out."""

    minor_units: int
    on: date
    currency: str | None


class Total(NamedTuple):
    """A stated count and sum (:90D:, :90C:)."""

    entries: int
    minor_units: int


def read_line(value: str, currency: str, amounts: Amounts) -> Line:
    """Read a :61:. RC undoes a credit, so money goes out; RD undoes a debit. EC and ED are expected, not booked.

    Raises:
        FieldUnreadable: it has another shape, no such month, or no exact amount.
    """
    found = _ENTRY.fullmatch(value)
    if found is None:
        raise FieldUnreadable(":61:", "a date, a mark (C, D, RC, RD, EC, ED) and an amount were expected")
    day, entry_day, mark, _, number, kind, references, more = found.groups()
    mark = mark.upper()
    value_date, booked_on, stated = days(day, entry_day)
    amount = amounts.read(_point(number), currency, ":61:", negative=mark in ("D", "RC", "ED"))
    customer, _, bank = (references or "").partition("//")
    customer, bank = customer.strip(), bank.strip()
    return Line(
        value_date,
        booked_on,
        stated,
        amount,
        mark[0] == "R",
        mark[0] == "E",
        (kind or "").strip(),
        KINDS.get((kind or "")[1:], "payment"),
        None if customer in NO_REFERENCE else customer,
        None if bank in NO_REFERENCE else bank,
        more.strip() if more else "",
    )


def read_balance(value: str, currency: str | None, amounts: Amounts) -> Balance | None:
    """Read :60F: and its like; None if it cannot be."""
    found = _BALANCE.match(value)
    if found is None:
        return None
    mark, day, stated, number = found.groups()
    try:
        amount = amounts.read(_point(number), stated or currency or "", ":60:", negative=mark == "D")
        return Balance(amount.minor_units, _day(day)[0], stated)
    except FieldUnreadable:
        return None


def read_total(value: str, amounts: Amounts) -> Total | None:
    """Read :90D: or :90C:; None if it cannot be."""
    found = _TOTAL.match(value)
    return stated_total(found[1], found[3], found[2], amounts) if found else None


def stated_total(entries: str, number: str, currency: str, amounts: Amounts) -> Total | None:
    """A count and a sum that the bank states itself; None if the sum is not exact."""
    try:
        return Total(int(entries), amounts.read(_point(number), currency, ":86:", negative=False).minor_units)
    except FieldUnreadable:
        return None


def is_account(text: str) -> bool:
    """Whether it is an IBAN. Short ones could be references too, so those must have the right check digits."""
    if not _IBAN.fullmatch(text):
        return False
    return len(text) > 16 or int("".join(str(int(sign, 36)) for sign in text[4:] + text[:4])) % 97 == 1


def other_amount(text: str, code: str) -> tuple[str, str] | None:
    """An amount in the supplementary details, such as /OCMT/USD12,5/: (currency, decimal text)."""
    found = re.search(rf"/{code}/([A-Z]{{3}})([0-9]+,?[0-9]*)", text, re.ASCII)
    number = decimal_text(_point(found[2])) if found else None
    return (found[1], number) if found and number else None


def _point(number: str) -> str:
    """The comma as a point. Two marks are left alone: what they mean would be a guess, and it is refused."""
    return number.replace(",", ".") if "." not in number else number.replace(",", "..")


@lru_cache(maxsize=4096)
def days(value: str, entry: str | None) -> tuple[str, str, str | None]:
    """Value date and booking date as ISO 8601, and what was stated if one of them is no day of the calendar.

    The entry date has no year: it is the one nearest to the value date, which matters at New Year.
    """
    valued, is_off = _day(value)
    if entry is None:
        return valued.isoformat(), valued.isoformat(), value if is_off else None
    near = []
    for year in (valued.year - 1, valued.year, valued.year + 1):
        booked, entry_is_off = _clamped(year, entry)
        near.append((abs((booked - valued).days), booked, entry_is_off))
    _, booked, entry_is_off = min(near, key=lambda each: each[0])
    stated = f"{value}{entry}" if is_off or entry_is_off else None
    return valued.isoformat(), booked.isoformat(), stated


def _day(text: str) -> tuple[date, bool]:
    year = int(text[:2])
    return _clamped(year + (1900 if year >= 80 else 2000), text[2:])


def _clamped(year: int, month_day: str) -> tuple[date, bool]:
    """Banks that count 30 days a month write 30 February: the last day of the month, and True."""
    month, day = int(month_day[:2]), int(month_day[2:])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise FieldUnreadable(":61:", "its date has no such month or day")
    last = monthrange(year, month)[1]
    return date(year, month, min(day, last)), day > last
