"""From a CSV or NDJSON file to raw transactions, or a refusal by line and field."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TextIO
from zoneinfo import ZoneInfo

from actuals_client.spool import line_of

_WHOLE = {"source_id", "id", "timestamp", "data"}


class RowRefused(Exception):
    """A row is no raw transaction: nothing of it was sent."""

    def __init__(self, line: int, field: str, what: str) -> None:
        super().__init__(line, field, what)
        self.line, self.field, self.what = line, field, what

    def __str__(self) -> str:
        return f"line {self.line}, {self.field}: {self.what}"


class FileRefused(Exception):
    """The file as a whole cannot be sent."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a row's id and time are, and what is the same for all rows."""

    source_id: str | None = None
    id: str | None = None
    timestamp: str | None = None
    type: str | None = None  # the transactions' type itself, not a column
    time_zone: ZoneInfo | None = None  # of timestamps without an offset

    def transaction(self, line: int, row: Mapping[str, Any], data: bytes) -> bytes:
        """The raw transaction of one row as JSON; `data` is the row as JSON, every number written as it was."""
        if not (self.source_id and self.id and self.timestamp):
            raise FileRefused("Rows need --source, --id-column and --timestamp-column.")
        for column in (self.id, self.timestamp):
            if column not in row:
                raise FileRefused(f"There is no column {column!r}. There are: {', '.join(row)}.")
            if row[column] in (None, ""):
                raise RowRefused(line, column, "it is empty")
        found = {"source_id": self.source_id, "id": str(row[self.id])}
        found["timestamp"] = self._instant(line, str(row[self.timestamp]))
        if self.type:
            found["type"] = self.type
        return line_of(found)[:-1] + b',"data":' + data + b"}"

    def _instant(self, line: int, text: str) -> str:
        try:
            instant = datetime.fromisoformat(text)
        except ValueError:
            raise RowRefused(line, self.timestamp or "", "it is no ISO 8601 date and time") from None
        if instant.tzinfo is None:
            if self.time_zone is None:
                raise RowRefused(line, self.timestamp or "", "it has no offset; say --time-zone")
            instant = instant.replace(tzinfo=self.time_zone)
        return instant.isoformat()


def read_csv(stream: TextIO, columns: Columns, delimiter: str) -> Iterator[bytes | RowRefused]:
    """Each row as a raw transaction, or why it is none. Lines are those of the file, the header is line 1."""
    reader = csv.DictReader(stream, delimiter=delimiter, strict=True)
    try:
        for row in reader:
            line = reader.line_num
            if None in row or None in row.values():
                yield RowRefused(line, "row", f"it has not the header's {len(reader.fieldnames or [])} fields")
                continue
            try:
                yield columns.transaction(line, row, line_of(row))
            except RowRefused as refused:
                yield refused
    except csv.Error as error:
        raise FileRefused(f"line {reader.line_num}: it is not CSV ({error}). Nothing after it was read.") from None


def read_ndjson(stream: TextIO, columns: Columns) -> Iterator[bytes | RowRefused]:
    """Each line as a raw transaction: as it stands if it is one, else as a row of columns."""
    for line, text in enumerate(stream, start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text, parse_constant=_no_number)
        except ValueError:
            yield RowRefused(line, "row", "it is no JSON object")
            continue
        if not isinstance(row, dict):
            yield RowRefused(line, "row", "it is no JSON object")
            continue
        try:
            data = text.strip().encode()
            yield data if row.keys() >= _WHOLE else columns.transaction(line, row, data)
        except RowRefused as refused:
            yield refused


def _no_number(text: str) -> float:
    raise ValueError(text)
