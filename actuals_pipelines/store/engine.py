"""DuckDB as the store uses it."""

from __future__ import annotations

import duckdb

from actuals_pipelines import engine

MEMORY = "2GB"  # beyond it a query fails: spilling would write rows to the disk in clear
_OWN = (
    # The side written first is large and streamed, the second small and kept: our queries are written that way,
    # and a scanned dataset has no row count from which DuckDB could know better.
    "disabled_optimizers = 'join_order,build_side_probe_side'",
)


def connect() -> duckdb.DuckDBPyConnection:
    """A fresh connection that shares nothing with another; the caller closes it.

    A reader it returned must be drained or dropped before its next statement.
    """
    return engine.connect(memory_limit=MEMORY, settings=_OWN)
