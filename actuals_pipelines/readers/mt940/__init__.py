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
from typing import BinaryIO

import pyarrow as pa

from actuals_pipelines.readers.amounts import Amounts
from actuals_pipelines.readers.mt940.batch import COLUMNS, Entries
from actuals_pipelines.readers.mt940.entry import read_balance, read_total, stated_total
from actuals_pipelines.readers.mt940.fields import Field, fields, text_stream
from actuals_pipelines.readers.mt940.statement import Statement
from actuals_pipelines.readers.reading import FileRefused, Reading, note_reject, raw_schema

_ROWS_PER_BATCH = 8_192
_MAX_ROWS_HELD = 32_768  # of one message, until its bank references are known to be unique
# ING states its totals after the closing balance: counts and sums of debits and credits.
_SUMMARIES = (
    re.compile(r"\s*(?:/SUM/)?D([0-9]+)C([0-9]+)D([0-9,]+)C([0-9,]+)", re.ASCII),
    re.compile(r"\s*/SUM/([0-9]+)/([0-9]+)/([0-9,]+)/([0-9,]+)/?", re.ASCII),
)


class _MtReader:
    """See the module's text. LINE is the line on which the :61: begins."""

    format = ""
    version = 2
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


class _Pass:
    """One pass over a file's messages."""

    def __init__(self, reader: _MtReader, stream: BinaryIO, options: Mapping[str, str], reading: Reading) -> None:
        self.reader, self.format, self.reading = reader, reader.format, reading
        self.text = text_stream(stream, options.get("encoding"), self.format)
        self.amounts = Amounts(self.format, options)
        self.statement: Statement | None = None
        self.waiting: list[Statement] = []  # whose entries are among these
        self.before: Statement | None = None  # a page that ended with :62M:
        self.found: Counter[str] = Counter()
        self.entries = Entries(self.amounts, reading, self.found, self.format)
        self.is_in_entry = False  # its texts may follow
        self.is_stray = False  # the last entry was outside a statement: its text goes with it
        self.statements = 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        for each in fields(self.text, self.format):
            if each[0] == "61":
                self._begin_entry(each[1], each[2])
                if each[3] is not None:
                    self._end_message("61", each[3])
                continue
            self._take(each)
            if len(self.entries) >= (_MAX_ROWS_HELD if self.statement else _ROWS_PER_BATCH):
                yield self._batch()
        self._finish()
        yield self._batch()
        if self.before:
            self.reading.controls.append(self.before.controls())
        if not self.statements:
            what = "it holds no statement (:20:, :25:, :28C: and the rest at the beginning of lines)"
            raise FileRefused(self.format, what, "Check the source's format, or ask the bank for the file again.")
        notes = self.reading.notes
        notes["encoding"], notes["statements"] = self.text.encoding, str(self.statements)
        notes |= {name: str(count) for name, count in sorted(self.found.items())}

    def _take(self, each: Field) -> None:
        tag, value, _, after_end = each
        if tag in ("86", "NS"):
            self._take_text(tag, value)
        else:
            self.is_in_entry = self.is_stray = False
            self._take_header(tag, value)
        if after_end is not None:
            self._end_message(tag, after_end)

    def _take_header(self, tag: str, value: str) -> None:
        statement = self.statement
        if tag == "20" or (tag in ("25", "25P", "28", "28C", "60F", "60M") and (not statement or statement.is_closed)):
            self._finish()
            statement = self.statement = Statement()
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

    def _take_balance(self, statement: Statement, tag: str, value: str) -> None:
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
        if statement is None or statement.is_closed:
            self.is_in_entry, self.is_stray = False, True
            reason = "it stands outside a statement: no :20: and :25: say whose it is"
            note_reject(self.reading, line, ":61:", reason, self.format)
            return
        self.entries.begin(value, line, statement)
        self.is_in_entry = True

    def _take_text(self, tag: str, value: str) -> None:
        statement = self.statement
        if self.is_in_entry:
            self.entries.add_text(tag, value)
        elif statement and statement.is_closed and tag == "86":
            self._take_summary(statement, value)
        elif tag == "86" and not self.is_stray:
            self.found["texts_of_no_entry"] += 1

    def _take_summary(self, statement: Statement, value: str) -> None:
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
            self.is_in_entry = False
            if statement:
                statement.is_closed = True
        elif self.is_in_entry and tag == "86":
            self.entries.add_text(tag, after_end, goes_on=True)

    def _finish(self) -> None:
        """The message is over: check which of the two it is."""
        self.is_in_entry = False
        statement, self.statement = self.statement, None
        if statement is None:
            return
        has_balances = statement.opening is not None or statement.closing is not None
        if has_balances == self.reader.is_interim and (has_balances or statement.has_interim_fields):
            other = "mt940" if self.reader.is_interim else "mt942"
            raise FileRefused(self.format, f"it is {other}", "Check the source's format.")
        self.statements += 1
        self.waiting.append(statement)

    def _batch(self) -> pa.RecordBatch:
        """The entries so far; the messages that are whole go into the controls, each page with the one before it."""
        batch = self.entries.batch()
        waiting, self.waiting = self.waiting, []
        for statement in waiting:
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
        return batch
