"""DuckDB as the store uses it: in memory, without a way to the disk or the network."""

from __future__ import annotations

import duckdb

MEMORY = "2GB"  # beyond it a query fails: spilling would write rows to the disk in clear
THREADS = 2


def connect() -> duckdb.DuckDBPyConnection:
    """A fresh connection that shares nothing with another; the caller closes it.

    A reader it returned must be drained or dropped before its next statement.
    """
    connection = duckdb.connect(":memory:", config={"threads": THREADS, "memory_limit": MEMORY, "temp_directory": ""})
    connection.execute("SET enable_external_access = false")
    connection.execute("SET arrow_lossless_conversion = true")  # or UUIDs come back as text
    connection.execute("SET preserve_insertion_order = false")
    # The side written first is large and streamed, the second small and kept: our queries are written that way,
    # and a scanned dataset has no row count from which DuckDB could know better.
    connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    connection.execute("SET lock_configuration = true")
    return connection
