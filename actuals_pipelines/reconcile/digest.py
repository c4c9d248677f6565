# ruff: noqa: S608 - SQL is put together from our own names
"""One number for one result: equal digests mean the same groups, statuses and differences, on any engine.

SHA-256 over one line per row, sorted by row_uid: row_uid, group id, status, reason, pass, version, difference,
category, as UTF-8 text, null as nothing, with U+001F between and a line feed at the end. No run ids, no clock.
"""

from __future__ import annotations

import hashlib

import duckdb
import pyarrow as pa

from actuals_pipelines.engine import engine
from actuals_pipelines.reconcile.schema import group_id_sql


def digest(rows: pa.Table, package: str) -> str:
    """The digest of solved rows (schema `schema.SOLVED`, or a state's rows), in hexadecimal."""
    with engine() as con:
        con.register("rows_given", rows)
        return digest_of(con, "rows_given", package)


def digest_of(con: duckdb.DuckDBPyConnection, rows: str, package: str) -> str:
    """The same over a relation of an open connection; streams, so that memory stays bounded by the sort."""
    parts = [
        "CAST(row_uid AS VARCHAR)", group_id_sql(package), "status", "reason", '"pass"', "CAST(version AS VARCHAR)",
        "CAST(difference AS VARCHAR)", "category",
    ]  # fmt: skip
    line = " || chr(31) || ".join(f"coalesce({part}, '')" for part in parts)
    state = hashlib.sha256()
    reader = con.sql(f"SELECT {line} || chr(10) AS line FROM {rows} ORDER BY row_uid").to_arrow_reader()
    for batch in reader:
        state.update(_bytes_of(batch.column(0)))
    return state.hexdigest()


def _bytes_of(texts: pa.StringArray) -> memoryview:
    """All texts of an array behind one another: they lie so in its buffer."""
    if len(texts) == 0:
        return memoryview(b"")
    _, offsets, data = texts.buffers()
    ends = pa.Array.from_buffers(pa.int32(), texts.offset + len(texts) + 1, [None, offsets])
    return memoryview(data)[ends[texts.offset].as_py() : ends[len(ends) - 1].as_py()]
