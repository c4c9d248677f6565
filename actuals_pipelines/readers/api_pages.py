r"""A pull's pages as they landed (written by sources/oauth_api/container.py): the records of all pages in order.

    {"actuals_api_pages": 1, "connector": "psp", "records": {"transactions": "data", "payouts": "data"}}\n
    {"endpoint": "transactions", "page": 1, "size": 4711}\n   followed by 4711 bytes and \n
    {"end": true, "pages": 12}\n

Columns are the records' top-level keys and `_endpoint`; numbers keep the digits that were sent, nested objects and
lists stay JSON text. LINE counts records over all pages. No options. A day without records has no rows and no keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from actuals_pipelines.readers.reading import (
    MAX_COLUMNS,
    MAX_FIELD_BYTES,
    FileEmpty,
    FileRefused,
    Reading,
    note_reject,
    raw_schema,
)
from actuals_pipelines.tables import LINE

ENDPOINT = "_endpoint"
"""The column that names the endpoint a record came from."""

_MAX_FACTS_BYTES = 64 * 1024
_MAX_BYTES = 1 << 30  # which keys there are is known after the last page, so all of it lies in memory
_DECODE_PAGE = msgspec.json.Decoder(float_hook=str).decode  # floats stay the digits that were sent
_ADVICE = "It was not written by our pull, or it was cut: pull the day again."


class _Head(msgspec.Struct):
    actuals_api_pages: int
    records: dict[str, str]


class _Facts(msgspec.Struct):
    """The line before a page, or the last line."""

    endpoint: str = ""
    size: int = -1
    end: bool = False
    pages: int = -1


@dataclass(frozen=True, slots=True)
class _PageRecords:
    columns: dict[str, pa.Array]
    lines: pa.Array


class ApiPagesReader:
    """See the module's text."""

    format = "api_pages"
    version = 1

    def read(self, stream: BinaryIO, options: Mapping[str, str]) -> Reading:
        """Read everything: which keys there are is known at the end.

        Raises:
            FileEmpty, FileRefused: no container, a page that is cut or is no JSON, no end, beyond the bounds.
                A record that is no object is a reject.
        """
        reading = Reading(schema=pa.schema([]), batches=iter(()))
        pages = [self._records(*page, reading) for page in self._pages(stream)]
        names = list(dict.fromkeys(name for page in pages for name in page.columns))
        if len(names) > MAX_COLUMNS or LINE in names:
            raise FileRefused(self.format, f"more than {MAX_COLUMNS} keys, or one named {LINE!r}", _ADVICE)
        if ENDPOINT not in names:
            names.append(ENDPOINT)
        reading.schema = raw_schema(names)
        reading.batches = (_batch(page, reading.schema) for page in pages if len(page.lines))
        return reading

    def _pages(self, stream: BinaryIO) -> Iterator[tuple[str, str, bytes, list[int]]]:
        """Give (endpoint, where its records stand, body, counter of records so far) for every page."""
        first = stream.readline(_MAX_FACTS_BYTES)
        if not first.strip():
            raise FileEmpty(self.format)
        head = self._facts(first, _Head, 1)
        if head.actuals_api_pages != 1:
            raise FileRefused(self.format, "it is of an unknown version", "Update this program.", 1)
        count, total, counter = 0, 0, [0]
        while True:
            facts = self._facts(stream.readline(_MAX_FACTS_BYTES), _Facts, count + 1)
            if facts.end:
                if facts.pages != count or stream.read(1):
                    raise FileRefused(self.format, "its end does not fit its pages", _ADVICE)
                return
            count, total = count + 1, total + facts.size
            if facts.endpoint not in head.records or facts.size < 0 or total > _MAX_BYTES:
                raise FileRefused(self.format, f"page {count} is unknown or beyond {_MAX_BYTES} bytes", _ADVICE)
            body = stream.read(facts.size)
            if len(body) != facts.size or stream.read(1) != b"\n":
                raise FileRefused(self.format, f"page {count} is not whole", _ADVICE)
            yield facts.endpoint, head.records[facts.endpoint], body, counter

    def _facts(self, line: bytes, kind: type[Any], number: int) -> Any:
        try:
            if not line.endswith(b"\n"):
                raise msgspec.DecodeError
            return msgspec.json.decode(line, type=kind)
        except msgspec.DecodeError:
            raise FileRefused(self.format, f"the line before page {number} cannot be read", _ADVICE) from None

    def _records(self, endpoint: str, path: str, body: bytes, counter: list[int], reading: Reading) -> _PageRecords:
        try:
            found = _DECODE_PAGE(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise FileRefused(self.format, "a page is no JSON document", _ADVICE) from None
        for step in path.split("."):
            found = found.get(step) if isinstance(found, dict) else None
        if not isinstance(found, list):
            raise FileRefused(self.format, f"a page of {endpoint!r} has no list at {path!r}", _ADVICE)
        lines = range(counter[0] + 1, counter[0] + len(found) + 1)
        counter[0] += len(found)
        objects = [(line, record) for line, record in zip(lines, found, strict=True) if isinstance(record, dict)]
        if len(objects) < len(found):
            for line, record in zip(lines, found, strict=True):
                if not isinstance(record, dict):
                    note_reject(reading, line, "", "not a JSON object", self.format)
        records = [record for _, record in objects]
        columns = {name: _texts([record.get(name) for record in records]) for name in _keys(records)}
        columns[ENDPOINT] = pa.array([endpoint] * len(records), pa.string())
        return self._without_long(_PageRecords(columns, pa.array([line for line, _ in objects], pa.int64())), reading)

    def _without_long(self, page: _PageRecords, reading: Reading) -> _PageRecords:
        """Reject the records with a field beyond the bound."""
        longest = [pc.fill_null(pc.binary_length(column), 0) for column in page.columns.values()]
        long = [lengths for lengths in longest if len(lengths) and pc.max(lengths).as_py() > MAX_FIELD_BYTES]
        if not long:
            return page
        fits = pc.less_equal(pc.max_element_wise(*long), MAX_FIELD_BYTES)
        for line in page.lines.filter(pc.invert(fits)).to_pylist():
            note_reject(reading, line, "", f"a field is longer than {MAX_FIELD_BYTES} bytes", self.format)
        return _PageRecords({n: column.filter(fits) for n, column in page.columns.items()}, page.lines.filter(fits))


def _keys(records: list[dict[str, object]]) -> list[str]:
    return list(dict.fromkeys(key for record in records for key in record))


def _texts(values: list[object]) -> pa.Array:
    """A column as text: blank is null; what is no text is written as JSON writes it."""
    try:
        column = pa.array(values, pa.string())  # nearly always all text
    except pa.ArrowTypeError:
        column = pa.array([_text(value) for value in values], pa.string())
    trimmed = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(trimmed, ""), None, trimmed)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _batch(page: _PageRecords, schema: pa.Schema) -> pa.RecordBatch:
    size = len(page.lines)
    arrays = [page.columns.get(name, pa.nulls(size, pa.string())) for name in schema.names if name != LINE]
    return pa.RecordBatch.from_arrays([*arrays, page.lines], schema=schema)
