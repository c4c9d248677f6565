"""NDJSON: one JSON object a line; top-level keys are columns, numbers keep the digits that were sent.

Text is unquoted, null is null, nested objects and lists stay JSON text for json_extract_path_text. No options.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa

from actuals_pipelines.readers.reading import (
    MAX_COLUMNS,
    MAX_FIELD_BYTES,
    FileRefused,
    Reading,
    note_reject,
    raw_schema,
)
from actuals_pipelines.readers.text import Utf8Stream
from actuals_pipelines.tables import LINE

_MAX_FILE_BYTES = 1 << 30  # its columns are known at its last line, so it lies in memory whole
_DECODE = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_DECODE_TEXT = msgspec.json.Decoder(str).decode


class NdjsonReader:
    """See the module's text. LINE is the physical line."""

    format = "ndjson"
    version = 1

    def read(self, stream: BinaryIO, options: Mapping[str, str]) -> Reading:
        """Read everything: which keys there are is known at the end.

        Raises:
            FileEmpty, FileRefused: no line is a JSON object, a key is ours, beyond the bounds. A line that is no
                object is a reject.
        """
        text = Utf8Stream(stream, "utf-8", self.format)
        data = text.read(_MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise FileRefused(self.format, f"it is larger than {_MAX_FILE_BYTES} bytes", "Send it in parts.")
        if data.lstrip().startswith(b"["):
            raise FileRefused(self.format, "it is one JSON list", "Send one object a line, without brackets.")
        reading = Reading(schema=pa.schema([]), batches=iter(()))
        records, lines = self._records(data, reading)
        if not records:
            raise FileRefused(self.format, "no line is a JSON object", "Check the source's format.")
        columns = _columns(records)
        reading.schema = raw_schema(list(columns))
        arrays = [pa.array(values, pa.string()) for values in columns.values()]
        batch = pa.RecordBatch.from_arrays([*arrays, pa.array(lines, pa.int64())], schema=reading.schema)
        reading.batches = iter([batch])
        return reading

    def _records(self, data: bytes, reading: Reading) -> tuple[list[dict[str, Any]], list[int]]:
        records, lines = [], []
        for line, text in enumerate(data.split(b"\n"), 1):
            if not text.strip():
                continue
            try:
                record = _DECODE(text)
                values = {key: _value(bytes(raw)) for key, raw in record.items()}
            except (msgspec.DecodeError, RecursionError):
                note_reject(reading, line, "", "not a JSON object", self.format)
                continue
            long = next((key for key, value in values.items() if value and len(value) > MAX_FIELD_BYTES), None)
            if long is not None:
                note_reject(reading, line, "", f"a field is longer than {MAX_FIELD_BYTES} bytes", self.format)
                continue
            records.append(values)
            lines.append(line)
        return records, lines


def _value(raw: bytes) -> str | None:
    first = raw[:1]
    if first == b'"':
        return _DECODE_TEXT(raw).strip() or None
    return None if raw == b"null" else raw.decode("utf-8")


def _columns(records: list[dict[str, Any]]) -> dict[str, list[str | None]]:
    """Key -> one value per record, keys in the order of their first appearance."""
    columns: dict[str, list[str | None]] = {}
    for place, record in enumerate(records):
        for key, value in record.items():
            column = columns.get(key)
            if column is None:
                if len(columns) >= MAX_COLUMNS or key == LINE:
                    raise FileRefused("ndjson", f"more than {MAX_COLUMNS} keys, or one named {LINE!r}", "Send fewer.")
                column = columns[key] = [None] * len(records)
            column[place] = value
    return columns
