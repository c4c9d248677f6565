"""BAI2, version 2 of the Bank Administration Institute's cash management balance reporting.

Records 01 (file), 02 (group), 03 (account), 16 (transaction), 88 (continues the one before), 49, 98, 99 (trailers);
a slash ends a record, and several may stand on one line. Amounts are whole minor units; the type code gives the sign.
Control totals are compared and a difference is told in the notes: banks disagree on whether they sum with signs.
Options: encoding (for what is not UTF-8; cp1252 by default).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import BinaryIO

import pyarrow as pa

from actuals_pipelines.domain.money import MAX_MINOR_UNITS
from actuals_pipelines.readers.bai2_codes import kind_of, sign_of
from actuals_pipelines.readers.entries import references_text
from actuals_pipelines.readers.entry_rows import ENTRY_SCHEMA, EntryRows, Sums, amount_text, real_id, text_lines
from actuals_pipelines.readers.reading import MAX_FIELD_BYTES, FileRefused, Reading, note_reject
from actuals_pipelines.readers.text import Utf8Stream

_DEFAULT_CURRENCY = "USD"
_FULL_LINE = 80  # characters: a text line of this length was wrapped, maybe within a word
_DIFFERENCES_TOLD = 50
_STATUSES = {"2": "informational", "4": "informational"}  # of a group: deletion, test
_INTERIM_SAME_DAY = "3"  # an as-of-date modifier: what it reports comes again when the day is over
_RECORD = re.compile(r"(01|02|03|16|49|88|98|99)\s*(?:,|/|$)")
# A slash may stand in a text, so the next record on a line must look like one in its first fields.
_NEXT = re.compile(
    r"/(?=\s*(?:16,\d{3},[+-]?\d*,[ZSVD012]?\s*[,/]|03,[^,/]*,(?:[A-Z]{3})?,|02,[^,/]*,[^,/]*,[1-4]?,\d{6},"
    r"|49,[+-]?\d*,\d*\s*(?:/|$)|9[89],[+-]?\d*,\d*,\d*\s*(?:/|$))|\s+88,)"
)
_NEXT_88 = re.compile(r"/(?=\s*88,)")


@dataclass(slots=True)
class _Record:
    code: str
    line: int
    parts: list[str]  # what stands after the code, then after each 88
    is_wrapped: list[bool]  # for each part: its line was full


@dataclass(slots=True)
class _Tally:
    """Of an account, a group or the file: what its trailer states again."""

    signed: int = 0
    absolute: int = 0
    parts: int = 0  # accounts of a group, groups of a file
    records: int = 0

    def take(self, other: _Tally) -> None:
        self.signed += other.signed
        self.absolute += other.absolute
        self.records += other.records
        self.parts += 1


@dataclass(slots=True)
class _Group:
    currency: str = _DEFAULT_CURRENCY
    as_of: date | None = None
    status: str = "booked"
    tally: _Tally = field(default_factory=lambda: _Tally(records=1))


@dataclass(slots=True)
class _Account:
    name: str | None
    currency: str
    tally: _Tally
    balances: dict[str, int]  # type code -> amount
    counts: dict[str, int]  # type code -> items
    sums: Sums = field(default_factory=Sums)


class Bai2Reader:
    """See the module's text. LINE is the line on which a record begins."""

    format = "bai2"
    version = 1

    def read(self, stream: BinaryIO, options: Mapping[str, str]) -> Reading:
        """Read transactions as they are asked for; accounts' sums are in `controls` when they are exhausted.

        Raises:
            FileEmpty, OptionRefused, FileRefused: no 01 record first, another version, no 99 record at the end (it was
                cut off), binary. A transaction that cannot be read is a reject.
        """
        text = Utf8Stream(stream, options.get("encoding", "cp1252"), self.format)
        reading = Reading(schema=ENTRY_SCHEMA, batches=iter(()))
        reading.batches = _Reading(reading, text).batches()
        return reading


class _Reading:
    """One pass over the records."""

    def __init__(self, reading: Reading, text: Utf8Stream) -> None:
        self.reading, self.text = reading, text
        self.rows = EntryRows()
        self.file: _Tally | None = None
        self.group: _Group | None = None
        self.account: _Account | None = None
        self.differences: list[str] = []
        self.has_ended = False

    def batches(self) -> Iterator[pa.RecordBatch]:
        for record in self._records():
            self._take(record)
            yield from self.rows.full()
        if not self.has_ended:
            raise FileRefused("bai2", "it has no 99 record at its end: it was cut off", "Ask for it again.")
        self.reading.notes["encoding"] = self.text.encoding
        if self.differences:
            self.reading.notes["control_differences"] = "; ".join(self.differences)
        yield self.rows.rest()

    def _records(self) -> Iterator[_Record]:
        """The records with their continuations."""
        current: _Record | None = None
        size = 0
        for number, line in text_lines(self.text):
            for piece in _pieces(line.strip(" \t\x1a"), current):
                found = _RECORD.match(piece)
                body = _body(piece[found.end() :] if found else piece)
                is_full = len(line) >= _FULL_LINE and not line.rstrip().endswith("/")
                if current is not None and (found is None or found[1] == "88"):
                    size += len(piece)
                    if size > MAX_FIELD_BYTES:
                        raise FileRefused("bai2", f"a record is longer than {MAX_FIELD_BYTES} bytes", "Ask.", number)
                    current.parts.append(body)
                    current.is_wrapped.append(is_full)
                    continue
                if current is None and (found is None or found[1] != "01"):
                    raise FileRefused("bai2", "it does not begin with a 01 record", "Check the format.", number)
                if current is not None:
                    yield current
                assert found is not None  # noqa: S101 - without a code it was a continuation or the refusal
                current, size = _Record(found[1], number, [body], [is_full]), len(piece)
        if current is not None:
            yield current

    def _take(self, record: _Record) -> None:
        tally = self.account.tally if self.account else self.group.tally if self.group else self.file
        if tally is not None and record.code not in ("01", "02", "03"):
            tally.records += len(record.parts)
        match record.code:
            case "01":
                self._file(record)
            case "02":
                self._group(record)
            case "03":
                self._account(record)
            case "16":
                self._transaction(record)
            case "49":
                self._end_account(record)
            case "98":
                self._end_group(record)
            case "99":
                self._end_file(record)

    def _file(self, record: _Record) -> None:
        fields = _fields(record)
        version = fields[7].strip() if len(fields) > 7 else ""
        if version not in ("", "2"):
            raise FileRefused("bai2", "its version is not 2", "Ask the bank for BAI version 2.", record.line)
        self._close_group()
        self.file, self.has_ended = _Tally(records=len(record.parts)), False

    def _group(self, record: _Record) -> None:
        self._close_group()
        fields = [each.strip() for each in _fields(record)] + [""] * 7
        self.group = _Group(currency=fields[5] or _DEFAULT_CURRENCY, as_of=_day(fields[3]))
        self.group.tally.records = len(record.parts)
        self.group.status = _STATUSES.get(fields[2], "pending" if fields[6] == _INTERIM_SAME_DAY else "booked")
        if self.group.as_of is None:
            note_reject(self.reading, record.line, "as_of_date", "not a date in the form YYMMDD", "bai2")

    def _account(self, record: _Record) -> None:
        self._close_account()
        if self.group is None:
            note_reject(self.reading, record.line, "", "an account outside a group", "bai2")
            self.group = _Group()
        fields = [each.strip() for each in _fields(record)]
        currency = (fields[1] if len(fields) > 1 else "") or self.group.currency
        tally = _Tally(records=len(record.parts))
        self.account = _Account(fields[0] or None, currency, tally, {}, {})
        place = 2
        while place < len(fields):
            code, amount, count = [*fields[place : place + 3], "", ""][:3]
            if not code:  # a blank status, or a comma too many before a line's end
                place += 1
                continue
            place += 4 + _funds_fields(fields, place + 3)
            if amount:
                value = _amount(amount)
                if value is None:
                    note_reject(self.reading, record.line, f"summary {code[:3]}", "not a whole number", "bai2")
                    continue
                self.account.balances.setdefault(code, value)
                tally.signed += value
                tally.absolute += abs(value)
            if count.isdecimal() and len(count) < 10:
                self.account.counts.setdefault(code, int(count))

    def _transaction(self, record: _Record) -> None:
        account, group = self.account, self.group
        if account is None or group is None:
            note_reject(self.reading, record.line, "", "a transaction outside an account", "bai2")
            return
        found = _detail(record)
        if isinstance(found, tuple):
            note_reject(self.reading, record.line, *found, "bai2")
            return
        account.tally.signed += found.amount
        account.tally.absolute += abs(found.amount)
        sign = sign_of(found.code)
        if sign is None:
            note_reject(self.reading, record.line, "type", "a type code that is neither credit nor debit", "bai2")
            return
        status = "informational" if sign == 0 else group.status
        minor = found.amount * (sign or 1)
        booked_on = group.as_of.isoformat() if group.as_of else None
        if status == "booked":
            account.sums.add(account.currency, minor, booked_on)
        self.rows.add(
            record.line,
            statement=booked_on,
            account=account.name,
            level="entry",
            transaction_id=real_id(found.bank_reference),
            kind=kind_of(found.code),
            status=status,
            booked_on=booked_on,
            value_date=found.value_date.isoformat() if found.value_date else None,
            amount=amount_text(minor, account.currency),
            currency=account.currency,
            references=references_text({"acct_svcr": found.bank_reference, "customer_ref": found.customer_reference}),
            text=found.text or None,
            bank_code=found.code,
        )

    def _end_account(self, record: _Record) -> None:
        if self.account is not None:
            self._compare(record, "account", self.account.tally)
        self._close_account()

    def _close_account(self) -> None:
        """Note the account's sums, whether its trailer came or not."""
        account, group = self.account, self.group
        if account is None or group is None:
            return
        group.tally.take(account.tally)
        credits, debits = account.balances.get("100"), account.balances.get("400")
        counts = [account.counts.get(code) for code in ("100", "400")]
        has_all = group.status == "booked"
        stated = (
            None if credits is None else abs(credits) - abs(account.balances.get("105", 0)),  # not detailed
            None if debits is None else abs(debits) - abs(account.balances.get("406", 0)),
            None if counts[0] is None or counts[1] is None else counts[0] + counts[1],
        )
        self.reading.controls += account.sums.controls(
            account.currency,
            account=account.name,
            statement=group.as_of.isoformat() if group.as_of else None,
            opening=account.balances.get("010") if has_all else None,
            closing=account.balances.get("015") if has_all else None,
            stated=stated if has_all else (None, None, None),
            days=(group.as_of, group.as_of),
        )
        self.account = None

    def _end_group(self, record: _Record) -> None:
        self._close_account()
        if self.group is not None:
            self._compare(record, "group", self.group.tally)
        self._close_group()

    def _close_group(self) -> None:
        self._close_account()
        if self.group is not None and self.file is not None:
            self.file.take(self.group.tally)
        self.group = None

    def _end_file(self, record: _Record) -> None:
        self._close_group()
        if self.file is not None:
            self._compare(record, "file", self.file)
        self.has_ended = True

    def _compare(self, record: _Record, what: str, tally: _Tally) -> None:
        """Tell what a trailer states otherwise than it was read; a blank is no statement."""
        line, fields = record.line, _fields(record)
        total, parts, records = (
            fields[0],
            ([] if what == "account" else fields[1:2]),
            fields[(1 if what == "account" else 2) :],
        )
        stated = _amount(total.strip()) if total.strip() else None
        if total.strip() and stated not in (tally.signed, tally.absolute):
            self._differs(line, f"the {what}'s control total")
        if parts and parts[0].strip() and parts[0].strip() != str(tally.parts):
            self._differs(line, f"the {what}'s count of {'accounts' if what == 'group' else 'groups'}")
        if records and records[0].strip().isdecimal() and int(records[0][:12]) != tally.records:
            self._differs(line, f"the {what}'s count of records")

    def _differs(self, line: int, what: str) -> None:
        if len(self.differences) < _DIFFERENCES_TOLD:
            self.differences.append(f"line {line}: {what}")


@dataclass(frozen=True, slots=True)
class _Detail:
    code: str
    amount: int  # as written, mostly without a sign
    value_date: date | None
    bank_reference: str | None
    customer_reference: str | None
    text: str


def _detail(record: _Record) -> _Detail | tuple[str, str]:
    """A 16 record; or the field and the reason why it is none."""
    fields = record.parts[0].split(",")
    rest = list(zip(record.parts[1:], record.is_wrapped[:-1], strict=True))

    def reach(count: int) -> None:
        while len(fields) < count and rest:
            fields.extend(rest.pop(0)[0].split(","))

    reach(3)
    fields += [""] * (3 - len(fields))
    code, written, funds = (each.strip() for each in fields[:3])
    if not (len(code) == 3 and code.isdecimal()):
        return "type", "not a type code of three digits"
    amount = _amount(written) if written else 0 if sign_of(code) == 0 else None
    if amount is None:
        return "amount", "not a whole number of minor units" if written else "no amount is given"
    if funds.upper() not in ("", "Z", "0", "1", "2", "S", "V", "D"):
        return "funds_type", "not one of Z, 0, 1, 2, S, V, D"
    if funds.upper() == "D":
        reach(4)
    at = 3 + _funds_fields(fields, 2)
    reach(at)
    missing = at + 2 - len(fields)
    if missing > 0 and rest and rest[0][0].count(",") >= missing:
        reach(at + 2)  # else an 88 begins the text, and the references were left out
    fields += [""] * (at + 2 - len(fields))
    text = ",".join(fields[at + 2 :]).strip()
    for part, was_wrapped in rest:
        text = f"{text}{part.rstrip()}" if was_wrapped else f"{text}\n{part.strip()}".strip()
    return _Detail(
        code=code,
        amount=amount,
        value_date=_day(fields[3].strip()) if funds.upper() == "V" and len(fields) > 3 else None,
        bank_reference=fields[at].strip() or None,
        customer_reference=fields[at + 1].strip() or None,
        text=text,
    )


def _funds_fields(fields: list[str], place: int) -> int:
    """How many fields belong to the funds type at `place`."""
    funds = fields[place].strip().upper() if place < len(fields) else ""
    if funds == "S":
        return 3
    if funds == "V":
        return 2
    if funds == "D":
        count = fields[place + 1].strip() if place + 1 < len(fields) else ""
        return 1 + 2 * (int(count) if count.isdecimal() and len(count) < 4 else 0)
    return 0


def _pieces(line: str, current: _Record | None) -> Iterator[str]:
    """The records that stand on one line."""
    if "/" not in line[:-1]:  # mostly
        if line:
            yield line
        return
    for piece in _NEXT.split(line):
        # In the text of a 16 the characters "/88," may be anything, elsewhere they begin a record.
        is_text = piece.lstrip().startswith("16") or (current is not None and current.code == "16")
        for each in [piece] if is_text else _NEXT_88.split(piece):
            if each.strip():
                yield each.lstrip()


def _body(piece: str) -> str:
    return piece.rstrip().removesuffix("/")


def _fields(record: _Record) -> list[str]:
    return ",".join(record.parts).split(",")


def _amount(text: str) -> int | None:
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 40:
        return None
    value = int(text)
    return value if abs(value) <= MAX_MINOR_UNITS else None


@lru_cache(maxsize=4096)
def _day(text: str) -> date | None:
    """YYMMDD, by some banks YYYYMMDD."""
    if not text.isdecimal() or len(text) not in (6, 8):
        return None
    try:
        return datetime.strptime(text, "%y%m%d" if len(text) == 6 else "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None
