"""The DuckDB connection that matching runs in: in memory, no spill, no files, no network, nothing left behind.

Spilled intermediates would be plaintext on disk, so there are none: what does not fit in memory fails cleanly.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa

_SETTINGS = (
    "temp_directory = ''",
    "arrow_lossless_conversion = true",  # UUIDs stay UUIDs on the way back
    "python_enable_replacements = false",  # a table's name in SQL is never a variable's name in Python
    "TimeZone = 'UTC'",
    "preserve_insertion_order = false",  # results are sets; a digest sorts for itself
    "autoinstall_known_extensions = false",
    "autoload_known_extensions = false",
    "enable_external_access = false",
)


def connect(threads: int = 2, memory_limit: str | None = None) -> duckdb.DuckDBPyConnection:
    """A fresh in-memory database. Never shared between tenants: a catalogue of its own costs 15 ms.

    Args:
        memory_limit: "2GB"; None leaves DuckDB's default of 80 % of the machine.
    """
    connection = duckdb.connect(":memory:")
    for setting in _SETTINGS:
        connection.execute(f"SET {setting}")
    connection.execute(f"SET threads = {int(threads)}")
    if memory_limit is not None:
        connection.execute("SET memory_limit = ?", [memory_limit])
    connection.execute("SET lock_configuration = true")
    return connection


@contextmanager
def engine(threads: int = 2) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that is closed, with all its tables, at the end of the block."""
    connection = connect(threads)
    try:
        yield connection
    finally:
        connection.close()


def table_of(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    """A query's result as an Arrow table."""
    return connection.sql(query).to_arrow_table()


def number_of(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    """A query's single whole number; 0 where it is null."""
    row = connection.execute(query).fetchone()
    return int(row[0]) if row and row[0] is not None else 0
