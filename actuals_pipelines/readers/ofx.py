"""OFX 1.x (SGML), OFX 2.x (XML) and QFX: bank, card and the cash part of investment statements.

`TRNAMT` is signed for the account. A booking date is the date as written: a time without a zone is GMT by the standard,
and local at most banks. Rows of securities are counted in the notes and not read.
Options: rounding (for amounts with more decimals than their currency has; without it they are rejects).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from typing import BinaryIO

import pyarrow as pa

from actuals_pipelines.domain.money import exponent
from actuals_pipelines.readers.amounts import Amount, Amounts, FieldUnreadable
from actuals_pipelines.readers.entries import references_text
from actuals_pipelines.readers.entry_rows import ENTRY_SCHEMA, EntryRows, Sums, real_id
from actuals_pipelines.readers.ofx_tags import Tag, open_text, tags
from actuals_pipelines.readers.reading import FileRefused, Reading, note_reject

_STATEMENTS = {"STMTRS", "CCSTMTRS", "INVSTMTRS"}
_ACCOUNTS = {"BANKACCTFROM", "CCACCTFROM", "INVACCTFROM"}
_ENTRIES = {"STMTTRN", "STMTTRNP"}  # P: not yet booked, OFX 2.2
_INSIDE_ENTRY = {"CURRENCY", "ORIGCURRENCY", "PAYEE", "BANKACCTTO", "CCACCTTO", "IMAGEDATA"}
_OTHERS = {"LEDGERBAL", "AVAILBAL", "STATUS", "BANKTRANLIST", "BANKTRANLISTP", "INVTRANLIST", "INVBAL", "BAL"}
_AGGREGATES = _STATEMENTS | _ACCOUNTS | _ENTRIES | _INSIDE_ENTRY | _OTHERS
_SECURITIES = re.compile(
    r"(?:BUY|SELL)(?:DEBT|MF|OPT|OTHER|STOCK)|INCOME|REINVEST|CLOSUREOPT|RETOFCAP|INVEXPENSE|MARGININTEREST"
)
_KINDS = {
    "INT": "interest", "FEE": "fee", "SRVCHG": "fee", "XFER": "transfer", "HOLD": "reserve_hold",
    "DIV": "other", "OTHER": "other",
} | dict.fromkeys(
    ("CREDIT", "DEBIT", "DEP", "ATM", "POS", "CHECK", "PAYMENT", "CASH", "DIRECTDEP", "DIRECTDEBIT", "REPEATPMT"),
    "payment",
)  # fmt: skip
_WHEN = re.compile(r"(\d{8})(\d{6})?(?:[.:]\d+)?\s*(?:\[\s*([+-]?\d+(?:\.\d+)?)?\s*(?::[^\]]*)?\])?")
_TWO_READINGS = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}")
_NUMBER = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:([.,' ])\d{3})+)?(?:([.,])\d*)?")


@dataclass(slots=True)
class _Statement:
    line: int
    currency: str = ""
    account: str | None = None
    first: date | None = None
    last: date | None = None
    closing: str = ""
    sums: Sums = field(default_factory=Sums)

    @property
    def name(self) -> str | None:
        return f"{self.first}/{self.last}" if self.first and self.last else None


@dataclass(slots=True)
class _Entry:
    line: int
    is_pending: bool
    values: dict[str, str] = field(default_factory=dict)  # own leaves by name, inner ones as CURRENCY.CURSYM


class OfxReader:
    """See the module's text. LINE is the line of the entry's opening tag."""

    format = "ofx"
    version = 1

    def read(self, stream: BinaryIO, options: Mapping[str, str]) -> Reading:
        """Read entries as they are asked for; statements' sums are in `controls` when they are exhausted.

        Raises:
            FileEmpty, FileRefused: no OFX, a DOCTYPE, no end (it was cut off), or no statement: then the bank answered
                with an error, whose code is told. An entry that cannot be read is a reject.
        """
        text = open_text(stream)
        reading = Reading(schema=ENTRY_SCHEMA, batches=iter(()))
        reading.batches = _Reading(reading, Amounts(self.format, options)).batches(tags(text))
        return reading


class _Reading:
    """One pass over the tags."""

    def __init__(self, reading: Reading, amounts: Amounts) -> None:
        self.reading, self.amounts = reading, amounts
        self.rows = EntryRows()
        self.inside: list[str] = []  # the aggregates that are open
        self.statement: _Statement | None = None
        self.entry: _Entry | None = None
        self.statements = self.securities = 0
        self.error: tuple[int, str] | None = None  # line and code of an answer that is an error
        self.code = ""

    def batches(self, found: Iterator[Tag]) -> Iterator[pa.RecordBatch]:
        has_begun = has_ended = False
        for tag in found:
            if tag.name == "OFX":
                has_begun, has_ended = has_begun or not tag.is_end, tag.is_end
            elif tag.name in _AGGREGATES:
                self._aggregate(tag)
                yield from self.rows.full()
            elif not tag.is_end:
                self._leaf(tag)
        if not has_begun:
            raise FileRefused("ofx", "it has no OFX element", "Check the source's format.")
        if not has_ended:
            raise FileRefused("ofx", "it has no </OFX> at its end: it was cut off", "Ask for it again.")
        if not self.statements:
            said = f"the bank answered with error {self.error[1]} and" if self.error else "it holds"
            what = f"{said} no statement"
            raise FileRefused("ofx", what, "Ask for the download again.", self.error[0] if self.error else None)
        if self.error:
            reason = f"the bank answered with error {self.error[1]} in place of a statement"
            note_reject(self.reading, self.error[0], "STATUS", reason, "ofx")
        self.reading.notes["statements"] = str(self.statements)
        if self.securities:
            self.reading.notes["securities_not_read"] = str(self.securities)
        yield self.rows.rest()

    def _aggregate(self, tag: Tag) -> None:
        name = tag.name
        if tag.is_end:
            if name in self.inside:
                while self.inside.pop() != name:
                    pass
            if name in _ENTRIES:
                self._end_entry()
            elif name in _STATEMENTS:
                self._end_statement()
            return
        if name in _STATEMENTS:
            self._end_statement()
            self.inside = []
            self.statement = _Statement(tag.line)
            self.statements += 1
        elif name in _ENTRIES:
            self._end_entry()
            self.entry = _Entry(tag.line, is_pending=name == "STMTTRNP")
        self.inside.append(name)

    def _leaf(self, tag: Tag) -> None:
        where = self.inside[-1] if self.inside else ""
        if self.entry is not None:
            name = f"{where}.{tag.name}" if where in _INSIDE_ENTRY else tag.name
            self.entry.values.setdefault(name, tag.text)
        elif where == "STATUS":
            self._status(tag)
        elif self.statement is not None:
            self._of_statement(self.statement, where, tag)

    def _status(self, tag: Tag) -> None:
        if tag.name == "CODE":
            self.code = tag.text
        elif tag.name == "SEVERITY" and tag.text.upper() == "ERROR" and self.error is None:
            self.error = (tag.line, self.code if self.code.isdecimal() and len(self.code) < 8 else "without a code")

    def _of_statement(self, statement: _Statement, where: str, tag: Tag) -> None:
        if tag.name == "CURDEF":
            statement.currency = tag.text.upper()
        elif tag.name == "ACCTID" and where in _ACCOUNTS:
            statement.account = tag.text or None
        elif tag.name == "DTSTART" and where.endswith("TRANLIST"):
            statement.first = _day(tag.text)
        elif tag.name == "DTEND" and where.endswith("TRANLIST"):
            statement.last = _day(tag.text)
        elif tag.name == "BALAMT" and where == "LEDGERBAL":
            statement.closing = tag.text
        elif _SECURITIES.fullmatch(tag.name):
            self.securities += 1

    def _end_statement(self) -> None:
        self._end_entry()
        statement, self.statement = self.statement, None
        if statement is None:
            return
        currency = statement.currency or next(iter(statement.sums.found), "")
        balance = None
        if statement.closing and currency:
            try:
                balance = _amount(statement.closing, currency, self.amounts, "LEDGERBAL").minor_units
            except FieldUnreadable as wrong:
                note_reject(self.reading, statement.line, wrong.field, wrong.reason, "ofx")
        self.reading.controls += statement.sums.controls(
            currency,
            account=statement.account,
            statement=statement.name,
            closing=balance,
            days=(statement.first, statement.last),
        )

    def _end_entry(self) -> None:
        entry, self.entry = self.entry, None
        statement = self.statement
        if entry is None:
            return
        if statement is None:
            note_reject(self.reading, entry.line, "", "an entry outside a statement", "ofx")
            return
        values = entry.values
        currency = (values.get("CURRENCY.CURSYM") or statement.currency).upper()
        when = values.get("DTTRAN" if entry.is_pending else "DTPOSTED", "")
        booked_on = _day(when)
        name = "DTTRAN" if entry.is_pending else "DTPOSTED"
        wrong = []
        if booked_on is None:
            wrong.append((name, "not a date in the form YYYYMMDD" if when else "no date is given"))
        amount = None
        if not currency:
            wrong.append(("CURDEF", "no currency is given"))
        else:
            try:
                amount = _amount(values.get("TRNAMT", ""), currency, self.amounts, "TRNAMT")
            except FieldUnreadable as unreadable:
                wrong.append((unreadable.field, unreadable.reason))
        for field_name, reason in wrong:
            note_reject(self.reading, entry.line, field_name, reason, "ofx")
        if amount is not None and booked_on is not None:
            self._row(statement, entry, (amount, currency, booked_on))

    def _row(self, statement: _Statement, entry: _Entry, found: tuple[Amount, str, date]) -> None:
        values = entry.values
        amount, currency, booked_on = found
        corrects, action = values.get("CORRECTFITID"), values.get("CORRECTACTION", "").upper()
        # A correction takes the id of what it corrects, so that it takes its place; a deletion moves nothing.
        status = "pending" if entry.is_pending else "informational" if corrects and action == "DELETE" else "booked"
        if status == "booked":
            statement.sums.add(currency, amount.minor_units, booked_on.isoformat())
        original = values.get("ORIGCURRENCY.CURSYM") or None
        payee = values.get("NAME") or values.get("PAYEE.NAME") or ""
        memo = values.get("MEMO", "")
        available = _day(values.get("DTAVAIL", "") or values.get("VALUEDATE", ""))
        self.rows.add(
            entry.line,
            statement=statement.name,
            account=statement.account,
            level="entry",
            transaction_id=real_id(corrects or values.get("FITID")),
            kind=_KINDS.get(values.get("TRNTYPE", "").upper(), "other"),
            status=status,
            booked_on=booked_on.isoformat() if not entry.is_pending else None,
            value_date=available.isoformat() if available else None,
            timestamp=_instant(values.get("DTTRAN" if entry.is_pending else "DTPOSTED", "")),
            amount=amount.text,
            currency=currency,
            original_amount=None if original else amount.stated,
            original_currency=original or (currency if amount.stated else None),
            rate=values.get("ORIGCURRENCY.CURRATE") or values.get("CURRENCY.CURRATE") or None,
            references=references_text(
                {
                    "check": real_id(values.get("CHECKNUM")),
                    "acct_svcr": values.get("SRVRTID"),
                    "tx_id": values.get("FITID") if corrects else values.get("REFNUM"),
                }
            ),
            text=memo if memo.startswith(payee) else "\n".join(each for each in (payee, memo) if each),
            counterparty=payee or None,
            counterparty_account=values.get("BANKACCTTO.ACCTID") or values.get("CCACCTTO.ACCTID") or None,
            bank_code=values.get("TRNTYPE", "").upper() or None,
        )


def _amount(text: str, currency: str, amounts: Amounts, field: str) -> Amount:
    """A comma may be the decimal mark. "1,234" and "1.234" are two numbers, and so none."""
    if not text:
        raise FieldUnreadable(field, "no amount is given")
    found = _NUMBER.fullmatch(text) if len(text) <= 60 else None
    if found is None or not any(letter.isdigit() for letter in text):
        raise FieldUnreadable(field, "it is not a decimal number")
    grouping, mark = found.groups()
    if (_TWO_READINGS.fullmatch(text) and exponent(currency) != 3) or (grouping is not None and grouping == mark):
        raise FieldUnreadable(field, "its decimal mark cannot be told from its grouping")
    digits = text.lstrip("+-") if grouping is None else text.lstrip("+-").replace(grouping, "")
    return amounts.read(digits.replace(",", "."), currency, field, negative=text.startswith("-"))


@lru_cache(maxsize=4096)
def _day(text: str) -> date | None:
    found = _WHEN.match(text)
    if found is None:
        return None
    try:
        return datetime.strptime(found[1], "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def _instant(text: str) -> str | None:
    """ISO 8601 with its offset; None where the file gives no time or no zone."""
    found = _WHEN.match(text)
    if found is None or found[2] is None or found[3] is None:
        return None
    hours, _, part = found[3].partition(".")
    # [-3.5] is three hours and a half, and so is [-3.30]
    minutes = (
        int(part) if len(part) == 2 and int(part) == 30 else round(60 * int(part) / 10 ** len(part)) if part else 0
    )
    sign = -1 if hours.startswith("-") else 1
    offset = sign * timedelta(hours=abs(int(hours)), minutes=minutes) if len(hours) < 4 else timedelta(days=2)
    if abs(offset) >= timedelta(hours=24):
        return None
    try:
        clock = datetime.strptime(f"{found[1]}{found[2]}+0000", "%Y%m%d%H%M%S%z")
    except ValueError:
        return None
    return clock.replace(tzinfo=timezone(offset)).isoformat()
