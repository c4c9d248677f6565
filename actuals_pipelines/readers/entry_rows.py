"""What the readers of bank formats share: rows in `ENTRY_COLUMNS` gathered into batches, sums per statement, lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

import pyarrow as pa

from actuals_pipelines.domain.controls import StatementControls
from actuals_pipelines.domain.money import exponent
from actuals_pipelines.readers.entries import ENTRY_COLUMNS
from actuals_pipelines.readers.reading import MAX_FIELD_BYTES, FileRefused, raw_schema
from actuals_pipelines.readers.text import Utf8Stream

ENTRY_SCHEMA = raw_schema(list(ENTRY_COLUMNS))
_ROWS_PER_BATCH = 8_192
_CHUNK = 1 << 20


class EntryRows:
    """Rows on their way into batches."""

    def __init__(self) -> None:
        self._rows: list[list[str | None]] = []
        self._lines: list[int] = []

    def add(self, line: int, **columns: str | None) -> None:
        """One row; what is not named is null."""
        self._rows.append(list(map(columns.get, ENTRY_COLUMNS)))
        self._lines.append(line)

    def full(self) -> Iterator[pa.RecordBatch]:
        """A batch, if enough rows have gathered."""
        if len(self._rows) >= _ROWS_PER_BATCH:
            yield self.rest()

    def rest(self) -> pa.RecordBatch:
        """All that has gathered; may be empty."""
        columns = zip(*self._rows, strict=True) if self._rows else ([] for _ in ENTRY_COLUMNS)
        arrays = [*(pa.array(column, pa.string()) for column in columns), pa.array(self._lines, pa.int64())]
        self._rows, self._lines = [], []
        return pa.RecordBatch.from_arrays(arrays, schema=ENTRY_SCHEMA)


@dataclass(slots=True)
class Sums:
    """What the booked entries of one statement add up to, in minor units, per currency."""

    found: dict[str, list[int]] = field(default_factory=dict)  # currency -> credits, debits, entries
    first: str | None = None  # booking dates, YYYY-MM-DD
    last: str | None = None

    def add(self, currency: str, minor_units: int, booked_on: str | None) -> None:
        """Count one booked entry."""
        sums = self.found.setdefault(currency, [0, 0, 0])
        sums[0 if minor_units > 0 else 1] += abs(minor_units)
        sums[2] += 1
        if booked_on:
            self.first = min(booked_on, self.first or booked_on)
            self.last = max(booked_on, self.last or booked_on)

    def controls(
        self,
        currency: str,
        *,
        account: str | None,
        statement: str | None,
        opening: int | None = None,
        closing: int | None = None,
        stated: tuple[int | None, int | None, int | None] = (None, None, None),
        days: tuple[date | None, date | None] = (None, None),
    ) -> list[StatementControls]:
        """One per currency; the balances and `stated` (credits, debits, entries) belong to the account's own."""
        self.found.setdefault(currency, [0, 0, 0])
        first = days[0] or (date.fromisoformat(self.first) if self.first else None)
        last = days[1] or (date.fromisoformat(self.last) if self.last else None)
        found = []
        for each, (credits, debits, entries) in self.found.items():
            own = each == currency
            found.append(
                StatementControls(
                    account=account,
                    statement=statement,
                    currency=each,
                    opening=opening if own else None,
                    closing=closing if own else None,
                    credits=credits,
                    debits=debits,
                    entries=entries,
                    stated_credits=stated[0] if own else None,
                    stated_debits=stated[1] if own else None,
                    stated_entries=stated[2] if own else None,
                    first_on=first,
                    last_on=last,
                )
            )
        return found


def amount_text(minor_units: int, currency: str) -> str:
    """-1230 minor units of EUR as "-12.30"."""
    places = exponent(currency)
    digits = str(abs(minor_units)).zfill(places + 1)
    whole = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return f"-{whole}" if minor_units < 0 else whole


def real_id(text: str | None) -> str | None:
    """The source's id, where it is one: banks write zeros for none."""
    return text if text and text.strip("0") else None


def text_lines(text: Utf8Stream) -> Iterator[tuple[int, str]]:
    """(number from 1, line without its end), flat in memory; a line beyond the bound refuses the file."""
    number, rest = 0, b""
    while chunk := text.read(_CHUNK):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            number += 1
            yield number, line.decode("utf-8")
        if len(rest) > MAX_FIELD_BYTES:
            what = f"a line is longer than {MAX_FIELD_BYTES} bytes"
            raise FileRefused(text.format, what, "Check whether it is this format.", number + 1)
    if rest:
        yield number + 1, rest.decode("utf-8")
