"""Entries on their way into a batch: read by columns, or one by one where they are not regular; and their sums."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actuals_pipelines.readers.amounts import Amounts, FieldUnreadable
from actuals_pipelines.readers.entries import ENTRY_COLUMNS
from actuals_pipelines.readers.mt940.columns import columns
from actuals_pipelines.readers.mt940.entry import read_line
from actuals_pipelines.readers.mt940.row import OWN_COLUMNS, ROW, Row, row
from actuals_pipelines.readers.mt940.statement import Statement
from actuals_pipelines.readers.reading import Reading, note_reject

COLUMNS = (*ENTRY_COLUMNS, *OWN_COLUMNS)
_BOOKED = "booked"
_EPOCH = date(1970, 1, 1)
_FEW = 256  # entries that are sooner read one by one


class Entries:
    """The :61: and their texts, as they stand in the file."""

    def __init__(self, amounts: Amounts, reading: Reading, found: Counter[str], format: str) -> None:
        self._amounts, self._reading, self._found, self._format = amounts, reading, found, format
        self._clear()

    def _clear(self) -> None:
        self._values: list[str] = []
        self._lines: list[int] = []
        self._texts: list[str | None] = []  # the :86:, where there is just one
        self._others: dict[int, list[tuple[str, str]]] = {}  # by place: tags and texts of those that have more
        self._statements: list[Statement] = []
        self._owners: list[int] = []  # places in `_statements`

    def __len__(self) -> int:
        return len(self._values)

    def begin(self, value: str, line: int, statement: Statement) -> None:
        """A :61: and the line that it begins on."""
        if not self._statements or self._statements[-1] is not statement:
            self._statements.append(statement)
        self._owners.append(len(self._statements) - 1)
        self._values.append(value)
        self._lines.append(line)
        self._texts.append(None)

    def add_text(self, tag: str, value: str, *, goes_on: bool = False) -> None:
        """An :86: or :NS: of the last entry, or the rest of its last one."""
        place = len(self._values) - 1
        text, others = self._texts[place], self._others.get(place)
        if goes_on and others:
            others[-1] = (tag, others[-1][1] + value)
        elif goes_on:
            self._texts[place] = (text or "") + value
        elif text is None and others is None and tag == "86":
            self._texts[place] = value
        else:
            self._others.setdefault(place, [] if text is None else [("86", text)]).append((tag, value))

    def batch(self) -> pa.RecordBatch:
        """All so far as rows, counted in their statements; what cannot be read is a reject."""
        owners, statements = np.array(self._owners, np.int64), self._statements
        currencies = [each.currency for each in statements]
        names = pa.array([each or "" for each in currencies], pa.string())
        is_regular, minor_units = np.zeros(len(owners), bool), np.zeros(len(owners), np.int64)
        found: dict[str, pa.Array] = {}
        if len(owners) >= _FEW:
            fast = columns(self._values, self._texts, names.take(pa.array(owners)))
            is_regular, minor_units, found = fast.is_regular, fast.minor_units, dict(fast.found)
            is_regular[list(self._others)] = False
        apart, rows = self._one_by_one(np.flatnonzero(~is_regular), minor_units)
        stated = pa.array([(each.name, each.account, each.currency) for each in statements], _STATED)
        given = stated.take(pa.array(owners))
        found |= {
            **{name: pc.struct_field(given, [place]) for place, name in enumerate(_STATED_NAMES)},
            "level": _same("entry", len(owners)),
            "status": _same(_BOOKED, len(owners)),
        }
        kept = np.arange(len(owners))
        if not (len(owners) and is_regular.all()):
            kept = np.sort(np.concatenate([np.flatnonzero(is_regular), np.array(apart, np.int64)]))
            order = np.arange(len(owners))
            order[apart] = len(owners) + np.arange(len(apart))
            slow = dict(zip(ROW, zip(*rows, strict=True), strict=True)) if rows else {}
            for name in ROW:
                column = found[name] if name in found else pa.nulls(len(owners), pa.string())
                both = pa.concat_arrays([column, pa.array(slow.get(name, ()), pa.string())])
                found[name] = both.take(pa.array(order[kept]))
        owners, minor_units = owners[kept], minor_units[kept]
        self._count(owners, minor_units, found)
        found["transaction_id"] = _ids(owners, found["acct_svcr_ref"])
        made = [found[name] if name in found else pa.nulls(len(kept), pa.string()) for name in COLUMNS]
        lines = pa.array(np.array(self._lines, np.int64)[kept])
        self._clear()
        return pa.RecordBatch.from_arrays([*made, lines], schema=self._reading.schema)

    def _one_by_one(self, places: Any, minor_units: Any) -> tuple[list[int], list[Row]]:
        """The rows of these entries, and the places of those that could be read."""
        read: list[int] = []
        rows: list[Row] = []
        for place in places.tolist():
            statement = self._statements[self._owners[place]]
            try:
                line = read_line(self._values[place], statement.currency or "", self._amounts)
            except FieldUnreadable as unreadable:
                note_reject(self._reading, self._lines[place], unreadable.field, unreadable.reason, self._format)
                continue
            text = self._texts[place]
            texts = self._others.get(place) or ([] if text is None else [("86", text)])
            read.append(place)
            rows.append(row(line, texts, statement))
            minor_units[place] = line.amount.minor_units
        return read, rows

    def _count(self, owners: Any, minor_units: Any, found: dict[str, Any]) -> None:
        """Add what is booked to the statements."""
        self._found["dates_clamped"] += len(owners) - found["stated_date"].null_count
        if not self._found["dates_clamped"]:
            del self._found["dates_clamped"]
        is_booked = pc.equal(found["status"], _BOOKED).to_numpy(zero_copy_only=False)
        owners, minor_units = owners[is_booked], minor_units[is_booked]
        days = pc.cast(pc.cast(found["booked_on"], pa.date32()), pa.int32()).to_numpy()[is_booked]
        count = len(self._statements)
        entries, credits, debits = (np.zeros(count, np.int64) for _ in range(3))
        first, last = np.full(count, _LATEST), np.full(count, -_LATEST)
        np.add.at(entries, owners, 1)
        np.add.at(credits, owners, np.maximum(minor_units, 0))
        np.add.at(debits, owners, np.maximum(-minor_units, 0))
        np.minimum.at(first, owners, days)
        np.maximum.at(last, owners, days)
        for place in np.flatnonzero(entries).tolist():
            self._statements[place].add(
                entries=int(entries[place]),
                credits=int(credits[place]),
                debits=int(debits[place]),
                first_on=_iso(first[place]),
                last_on=_iso(last[place]),
            )


_STATED_NAMES = ("statement", "account", "currency")
_STATED = pa.struct([(name, pa.string()) for name in _STATED_NAMES])


_LATEST = 1 << 30  # days since 1970


def _iso(days: int) -> str:
    return (_EPOCH + timedelta(days=int(days))).isoformat()


def _same(text: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(text), count)


def _ids(owners: Any, references: pa.Array) -> pa.Array:
    """The bank's reference where it stands once in its message: one that stands twice is no id."""
    words = references.dictionary_encode()
    codes = pc.fill_null(words.indices, -1).to_numpy()
    _, places, uses = np.unique(owners * (len(words.dictionary) + 1) + codes, return_inverse=True, return_counts=True)
    return pc.if_else(pa.array(uses[places] == 1), references, None)
