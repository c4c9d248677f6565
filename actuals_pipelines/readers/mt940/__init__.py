"""MT940 (statement) and MT942 (interim report): SWIFT, in its blocks or bare, and what banks make of it.

One row per `:61:` with its `:86:`, level `entry`. RC is a credit undone, so money goes out; RD is money in: the
balances prove it. A statement whose pages chain by 62M and 60M is one statement in the controls. There is no id but
the bank's reference, and that is taken as one only where it is not used twice in its message.
Options: encoding (else UTF-8, else CP1252; names and texts alone depend on it), rounding as in CAMT.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from actuals_pipelines.domain.controls import StatementControls
from actuals_pipelines.readers.amounts import Amounts, FieldUnreadable
from actuals_pipelines.readers.entries import ENTRY_COLUMNS, references_text
from actuals_pipelines.readers.mt940.details import Details, read_details, read_ns
from actuals_pipelines.readers.mt940.entry import (
    Balance,
    Line,
    Total,
    is_account,
    other_amount,
    read_balance,
    read_line,
    read_total,
    stated_total,
)
from actuals_pipelines.readers.mt940.fields import Field, fields, text_stream
from actuals_pipelines.readers.reading import FileRefused, Reading, note_reject, raw_schema

OWN_COLUMNS = (
    "acct_svcr_ref", "end_to_end", "is_reversal", "booking_text", "creditor_id", "return_reason", "ultimate_party",
    "stated_date", "amount_stated",
)  # fmt: skip
"""What MT940 gives beside `ENTRY_COLUMNS`. stated_date: the dates as sent where the calendar has no such day, which
was taken as the month's last. Persons are in counterparty, counterparty_account, ultimate_party and text."""

COLUMNS = (*ENTRY_COLUMNS, *OWN_COLUMNS)

_ROWS_PER_BATCH = 8_192
_MAX_ROWS_HELD = 32_768  # of one message, until its bank references are known to be unique
_GVC_KINDS = {"805": "fee", "808": "fee", "814": "interest"}
# ING states its totals after the closing balance: counts and sums of debits and credits.
_SUMMARIES = (
    re.compile(r"\s*(?:/SUM/)?D([0-9]+)C([0-9]+)D([0-9,]+)C([0-9,]+)", re.ASCII),
    re.compile(r"\s*/SUM/([0-9]+)/([0-9]+)/([0-9,]+)/([0-9,]+)/?", re.ASCII),
)

_OURS = (
    "statement", "account", "level", "kind", "status", "booked_on", "value_date", "amount", "currency", "gross", "fee",
    "net", "original_amount", "original_currency", "references", "text", "counterparty", "counterparty_account",
    "bank_code", *OWN_COLUMNS,
)  # fmt: skip
_REFERENCE_AT = _OURS.index("acct_svcr_ref")

Row = tuple[str | None, ...]
"""`_OURS`: what a row can have but its id, which is known at its message's end. All other columns are null."""


class _MtReader:
    """See the module's text. LINE is the line on which the :61: begins."""

    format = ""
    version = 1
    is_interim = False

    def read(self, stream: BinaryIO, options: Mapping[str, str]) -> Reading:
        """Read entries as they are asked for; statements' sums are in `controls` when they are exhausted.

        Notes: encoding, statements, and how many dates, balances and texts were not as they should be.

        Raises:
            FileEmpty, OptionRefused, FileRefused: no statement, the other of the two messages, binary content, a field
                beyond the bound.
        """
        reading = Reading(schema=raw_schema(list(COLUMNS)), batches=iter(()))
        reading.batches = _Pass(self, stream, options, reading).batches()
        return reading


class Mt940Reader(_MtReader):
    """Customer statement: end of day, with balances."""

    format = "mt940"


class Mt942Reader(_MtReader):
    """Interim transaction report: within the day, with sums and no balances."""

    format, is_interim = "mt942", True


@dataclass
class _Statement:
    """One message while its fields pass by; `carried` is what the pages before it add up to."""

    reference: str | None = None
    account: str | None = None
    number: str | None = None
    currency: str | None = None
    opening: Balance | None = None
    closing: Balance | None = None
    begins_between: bool = False  # :60M:
    ends_between: bool = False  # :62M:
    is_closed: bool = False
    has_interim_fields: bool = False
    entries: int = 0
    credits: int = 0
    debits: int = 0
    first_on: str | None = None
    last_on: str | None = None
    stated_debits: Total | None = None
    stated_credits: Total | None = None
    rows: list[Row] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

    @property
    def name(self) -> str | None:
        return self.number or self.reference

    def add(self, line: Line) -> None:
        """Count a booked entry."""
        amount = line.amount.minor_units
        self.entries += 1
        if amount < 0:
            self.debits -= amount
        else:
            self.credits += amount
        day = line.booked_on
        self.first_on = min(day, self.first_on) if self.first_on else day
        self.last_on = max(day, self.last_on) if self.last_on else day

    def continues(self, before: _Statement) -> bool:
        """Whether it is the next page of that statement."""
        return (
            before.ends_between
            and self.begins_between
            and self.account == before.account
            and self.number == before.number
            and self.opening is not None
            and before.closing is not None
            and self.opening.minor_units == before.closing.minor_units
        )

    def carry(self, before: _Statement) -> None:
        """Take over what the pages before it hold."""
        self.opening, self.begins_between = before.opening, before.begins_between
        self.entries += before.entries
        self.credits += before.credits
        self.debits += before.debits
        self.first_on = min((day for day in (self.first_on, before.first_on) if day), default=None)
        self.last_on = max((day for day in (self.last_on, before.last_on) if day), default=None)

    def controls(self) -> StatementControls:
        """What it adds up to against what it states."""
        debits, credits = self.stated_debits, self.stated_credits
        first_on, last_on = self._days()
        return StatementControls(
            account=self.account,
            statement=self.name,
            currency=self.currency or "",
            opening=self.opening.minor_units if self.opening else None,
            closing=self.closing.minor_units if self.closing else None,
            credits=self.credits,
            debits=self.debits,
            entries=self.entries,
            stated_credits=credits.minor_units if credits else None,
            stated_debits=debits.minor_units if debits else None,
            stated_entries=credits.entries + debits.entries if credits and debits else None,
            number=self.number,
            first_on=first_on,
            last_on=last_on,
        )

    def _days(self) -> tuple[date | None, date | None]:
        """The days of its balances if they make sense, else those of its entries."""
        if self.opening and self.closing and self.opening.on <= self.closing.on:
            return self.opening.on, self.closing.on
        days = [date.fromisoformat(day) if day else None for day in (self.first_on, self.last_on)]
        return days[0], days[1]


class _Pass:
    """One pass over a file's messages."""

    def __init__(self, reader: _MtReader, stream: BinaryIO, options: Mapping[str, str], reading: Reading) -> None:
        self.reader, self.format, self.reading = reader, reader.format, reading
        self.text = text_stream(stream, options.get("encoding"), self.format)
        self.amounts = Amounts(self.format, options)
        self.statement: _Statement | None = None
        self.before: _Statement | None = None  # a page that ended with :62M:
        self.entry: tuple[Line, int] | None = None  # waits for its :86:
        self.details: list[tuple[str, str]] = []  # tag and value of what belongs to the entry
        self.rejected = False  # the last entry: its :86: goes with it
        self.rows: list[Row] = []
        self.lines: list[int] = []
        self.ids: list[str | None] = []
        self.statements = 0
        self.found: Counter[str] = Counter()

    def batches(self) -> Iterator[pa.RecordBatch]:
        for each in fields(self.text, self.format):
            self._take(each)
            if len(self.rows) >= _ROWS_PER_BATCH:
                yield self._batch()
        self._finish()
        if self.before:
            self.reading.controls.append(self.before.controls())
        if not self.statements:
            what = "it holds no statement (:20:, :25:, :28C: and the rest at the beginning of lines)"
            raise FileRefused(self.format, what, "Check the source's format, or ask the bank for the file again.")
        notes = self.reading.notes
        notes["encoding"], notes["statements"] = self.text.encoding, str(self.statements)
        notes |= {name: str(count) for name, count in sorted(self.found.items())}
        yield self._batch()

    def _take(self, each: Field) -> None:
        tag, value, line, after_end = each
        if tag == "61":
            self._end_entry()
            self._begin_entry(value, line)
        elif tag in ("86", "NS"):
            self._take_text(tag, value)
        else:
            self._end_entry()
            self.rejected = False
            self._take_header(tag, value, line)
        if after_end is not None:
            self._end_message(tag, after_end)

    def _take_header(self, tag: str, value: str, line: int) -> None:
        statement = self.statement
        if tag == "20" or (tag in ("25", "25P", "28", "28C", "60F", "60M") and (not statement or statement.is_closed)):
            self._finish()
            statement = self.statement = _Statement()
        if statement is None:
            return  # :940: and :13D: before a statement begins
        if tag == "20":
            statement.reference = value.strip() or None
        elif tag in ("25", "25P"):
            statement.account = value.strip().partition("\n")[0].strip() or None
        elif tag in ("28", "28C"):
            number = "".join(value.split()).partition("/")[0]
            statement.number = number if number.strip("0") else None  # some banks number nothing
        elif tag in ("60F", "60M", "62F", "62M"):
            self._take_balance(statement, tag, value)
        elif tag in ("34F", "13", "13D", "90D", "90C"):
            statement.has_interim_fields = True
            if tag == "34F":
                statement.currency = statement.currency or value.strip()[:3] or None
            elif tag == "90D":
                statement.stated_debits = read_total(value, self.amounts)
            elif tag == "90C":
                statement.stated_credits = read_total(value, self.amounts)

    def _take_balance(self, statement: _Statement, tag: str, value: str) -> None:
        balance = read_balance(value, statement.currency, self.amounts)
        if balance is None:
            self.found["balances_unreadable"] += 1
        elif not statement.currency:
            statement.currency = balance.currency
        if tag[0:2] == "60":
            statement.opening, statement.begins_between = balance, tag == "60M"
        else:
            statement.closing, statement.ends_between, statement.is_closed = balance, tag == "62M", True

    def _begin_entry(self, value: str, line: int) -> None:
        statement = self.statement
        try:
            if statement is None or statement.is_closed:
                raise FieldUnreadable(":61:", "it stands outside a statement: no :20: and :25: say whose it is")
            self.entry = read_line(value, statement.currency or "", self.amounts), line
            self.rejected = False
        except FieldUnreadable as unreadable:
            self.rejected = True
            note_reject(self.reading, line, unreadable.field, unreadable.reason, self.format)

    def _take_text(self, tag: str, value: str) -> None:
        statement = self.statement
        if self.entry:
            self.details.append((tag, value))
        elif statement and statement.is_closed and tag == "86":
            self._take_summary(statement, value)
        elif tag == "86" and not self.rejected:
            self.found["texts_of_no_entry"] += 1

    def _take_summary(self, statement: _Statement, value: str) -> None:
        for pattern in _SUMMARIES:
            found = pattern.match(value)
            if found:
                currency = statement.currency or ""
                statement.stated_debits = stated_total(found[1], found[3], currency, self.amounts)
                statement.stated_credits = stated_total(found[2], found[4], currency, self.amounts)

    def _end_message(self, tag: str, after_end: str) -> None:
        """A dash line in the middle of a text is text, if the statement is not at its end."""
        statement = self.statement
        if self.reader.is_interim or statement is None or statement.is_closed:
            self._end_entry()
            if statement:
                statement.is_closed = True
        elif self.entry and tag == "86":
            last, value = self.details.pop()
            self.details.append((last, value + after_end))

    def _end_entry(self) -> None:
        """Make the row: its texts are whole."""
        if self.entry is None or self.statement is None:
            return
        (line, at), details = self.entry, self.details
        self.entry, self.details = None, []
        statement = self.statement
        if not line.is_expected:
            statement.add(line)
        if line.stated_date:
            self.found["dates_clamped"] += 1
        statement.rows.append(_row(line, details, statement))
        statement.lines.append(at)
        if len(statement.rows) >= _MAX_ROWS_HELD:
            self._release(statement)

    def _release(self, statement: _Statement) -> None:
        """Let the rows go: a bank reference that stands there twice is no id."""
        references = [row[_REFERENCE_AT] for row in statement.rows]
        uses = Counter(references)
        self.ids.extend(reference if uses[reference] == 1 else None for reference in references)
        self.rows.extend(statement.rows)
        self.lines.extend(statement.lines)
        statement.rows, statement.lines = [], []

    def _finish(self) -> None:
        """The message is over: check which of the two it is, release its rows, chain it to the page before."""
        self._end_entry()
        statement, self.statement = self.statement, None
        if statement is None:
            return
        has_balances = statement.opening is not None or statement.closing is not None
        if has_balances == self.reader.is_interim and (has_balances or statement.has_interim_fields):
            other = "mt940" if self.reader.is_interim else "mt942"
            raise FileRefused(self.format, f"it is {other}", "Check the source's format.")
        self.statements += 1
        self._release(statement)
        if self.before:
            if statement.continues(self.before):
                self.statements -= 1
                statement.carry(self.before)
            else:
                self.reading.controls.append(self.before.controls())
            self.before = None
        if statement.ends_between:
            self.before = statement
        else:
            self.reading.controls.append(statement.controls())

    def _batch(self) -> pa.RecordBatch:
        found: dict[str, Any] = {"transaction_id": self.ids}
        found |= dict(zip(_OURS, zip(*self.rows, strict=True), strict=True)) if self.rows else {}
        count, lines = len(self.rows), pa.array(self.lines, pa.int64())
        columns = [
            pa.array(found[name], pa.string()) if name in found else pa.nulls(count, pa.string()) for name in COLUMNS
        ]
        self.rows, self.lines, self.ids = [], [], []
        return pa.RecordBatch.from_arrays([*columns, lines], schema=self.reading.schema)


def _row(line: Line, texts: list[tuple[str, str]], statement: _Statement) -> Row:
    made = Details()
    if texts:
        tag, value = texts[0]
        if len(texts) > 1 and all(each == tag for each, _ in texts):
            value = "\n".join(each for _, each in texts)
        made = read_ns(value) if tag == "NS" else read_details(value)
    references, account = made.references, made.account
    customer, text = line.customer_ref, made.text
    if customer:
        if is_account(customer):  # a person's account is no reference
            account = account or customer
        else:
            references.setdefault("customer_ref", customer)
    if line.bank_ref:
        references["acct_svcr"] = line.bank_ref
    more = _supplementary(line, statement.currency, text) if line.supplementary else _Supplementary(text)
    return (
        statement.number or statement.reference,
        statement.account,
        "entry",
        _GVC_KINDS.get(made.gvc, line.kind) if made.gvc else line.kind,
        "pending" if line.is_expected else "booked",
        line.booked_on,
        line.value_date,
        line.amount.text,
        statement.currency,
        more.gross,
        more.fee,
        line.amount.text if more.fee else None,
        more.original_amount,
        more.original_currency,
        references_text(references) if references else None,
        more.text,
        made.name,
        account or more.account,
        f"{line.type}/{made.gvc}" if made.gvc else line.type or None,
        line.bank_ref,
        references.get("end_to_end"),
        "true" if line.is_reversal else "false",
        made.booking_text,
        made.creditor_id,
        made.return_reason,
        made.ultimate,
        line.stated_date,
        line.amount.stated,
    )


class _Supplementary(NamedTuple):
    """The lines below a :61:: the other side's account, the amount in another currency and the charges, or text."""

    text: str | None
    account: str | None = None
    original_amount: str | None = None
    original_currency: str | None = None
    gross: str | None = None
    fee: str | None = None


def _supplementary(line: Line, currency: str | None, text: str | None) -> _Supplementary:
    more = line.supplementary
    if is_account(more):
        return _Supplementary(text, account=more)
    if text is None or more not in text:
        text = f"{more}\n{text}" if text else more
    made = _Supplementary(text)
    original, charge = other_amount(more, "OCMT"), other_amount(more, "CHGS")
    if original is None:
        return made
    sign = "-" if line.amount.minor_units < 0 else ""
    if original[0] != currency:
        return made._replace(original_amount=sign + original[1], original_currency=original[0])
    if charge and charge[0] == currency:
        gross, fee = Decimal(sign + original[1]), -Decimal(charge[1])
        if gross + fee == Decimal(line.amount.text):  # the charges are part of the amount
            return made._replace(gross=format(gross, "f"), fee=format(fee, "f"))
    return made
