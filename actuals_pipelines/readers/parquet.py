"""Parquet: columns by name, every value as text, so that one mapping language serves every format.

Nested and binary values are refused. No options.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from actuals_pipelines.readers.reading import MAX_COLUMNS, FileEmpty, FileRefused, Reading, raw_schema
from actuals_pipelines.tables import LINE

MAX_FILE_BYTES = 4 << 30  # a Parquet file is read from its end, so it lies in memory whole
_ROWS_PER_BATCH = 65_536


class ParquetReader:
    """See the module's text. LINE is the record's number, from 1."""

    format = "parquet"
    version = 1

    def read(self, stream: BinaryIO, options: Mapping[str, str]) -> Reading:
        """Read the footer at once, the records as they are asked for.

        Raises:
            FileEmpty, FileRefused: not Parquet, encrypted, nested columns, beyond the bounds.
        """
        data = stream.read(MAX_FILE_BYTES + 1)
        if not data:
            raise FileEmpty(self.format)
        if len(data) > MAX_FILE_BYTES:
            raise FileRefused(self.format, f"it is larger than {MAX_FILE_BYTES} bytes", "Split it.")
        try:
            file = parquet.ParquetFile(pa.BufferReader(data))
            schema = file.schema_arrow
        except (pa.ArrowInvalid, OSError):
            raise FileRefused(self.format, "it is no Parquet file, or half of one", "Ask for it again.") from None
        _check(schema)
        reading = Reading(schema=raw_schema(schema.names), batches=iter(()))
        reading.batches = _batches(file, reading.schema)
        return reading


def _check(schema: pa.Schema) -> None:
    if len(schema) > MAX_COLUMNS:
        raise FileRefused("parquet", f"it has more than {MAX_COLUMNS} columns", "Export what is needed.")
    if len(set(schema.names)) != len(schema) or LINE in schema.names:
        raise FileRefused("parquet", f"column names are doubled, or {LINE!r}", "Name each column once.")
    for column in schema:
        if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
            raise FileRefused("parquet", f"column {column.name!r} is {column.type}", "Export plain columns.")


def _batches(file: parquet.ParquetFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    line = 1
    try:
        for batch in file.iter_batches(_ROWS_PER_BATCH):
            lines = pa.array(range(line, line + batch.num_rows), pa.int64())
            yield pa.RecordBatch.from_arrays([*(_as_text(c) for c in batch.columns), lines], schema=schema)
            line += batch.num_rows
    except (pa.ArrowInvalid, OSError):
        raise FileRefused("parquet", "its pages are damaged", "Ask for the file again.", line) from None
    if line == 1:
        yield pa.RecordBatch.from_pylist([], schema=schema)


def _as_text(column: pa.Array) -> pa.Array:
    """Decimals in plain notation, instants in UTC with their Z; floats their shortest digits."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_timestamp(kind):
        zone = "UTC" if kind.tz else None
        text = pc.strftime(column.cast(pa.timestamp("us", tz=zone), safe=False), "%Y-%m-%dT%H:%M:%S")
        return pc.binary_join_element_wise(text, "Z" if kind.tz else "", "") if kind.tz else text
    text = column.cast(pa.string())
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
