"""The DuckDB connection that every room computes in: in memory, no spill, no files, no network, nothing left behind.

Spilled intermediates would be plaintext on disk, so there are none: what does not fit in memory fails cleanly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    "enable_progress_bar = false",
    # DuckDB 2.0.0 sometimes dies in this cache after a join: "dict-surviving cache: global dictionary column 0
    # changed identity" (duckdb/duckdb#23447). The line goes when a release mends it.
    "enable_caching_operators = false",
    "enable_external_access = false",
)


_prepared: list[duckdb.DuckDBPyConnection] = []


def prepare(settings: Sequence[str] = ()) -> None:
    """From here on every connection of this process is one to a single database with one thread, opened now.

    For a process that is about to be confined: opening a database reads files and starts threads.
    """
    _prepared.append(connect(1, settings=settings))


def connect(
    threads: int = 2, memory_limit: str | None = None, settings: Sequence[str] = ()
) -> duckdb.DuckDBPyConnection:
    """A fresh in-memory database, which the caller closes; never shared between tenants: one of its own costs 15 ms.

    Args:
        memory_limit: "2GB"; None leaves DuckDB's default of 80 % of the machine.
        settings: a room's own, "name = value", from our code alone; after these nothing can be changed.
    """
    if _prepared:
        return _prepared[0].cursor()
    # Not by SET: until then there would be a thread for each processor.
    connection = duckdb.connect(":memory:", config={"threads": threads})
    try:
        for setting in (*_SETTINGS, *settings):
            connection.execute(f"SET {setting}")
        if memory_limit is not None:
            connection.execute("SET memory_limit = ?", [memory_limit])
        connection.execute("SET lock_configuration = true")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def engine(
    threads: int = 2, memory_limit: str | None = None, settings: Sequence[str] = ()
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection (see `connect`) that is closed, with all its tables, at the end of the block."""
    connection = connect(threads, memory_limit, settings)
    try:
        yield connection
    finally:
        connection.close()


def table_of(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    """A query's result as an Arrow table."""
    return connection.sql(query).to_arrow_table()


def number_of(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    """A query's single whole number; 0 where it is null."""
    [(number, *_)] = connection.execute(query).fetchall()
    return int(number) if number is not None else 0
