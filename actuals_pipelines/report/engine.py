"""DuckDB as reports use it: in memory over tables that the caller holds, without a way to the disk or the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa

_THREADS = 2


@contextmanager
def over(**tables: pa.Table | pa.RecordBatchReader) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that sees these tables under their names; gone, with all it made, at the end of the block."""
    connection = duckdb.connect(":memory:", config={"threads": _THREADS, "temp_directory": ""})
    try:
        connection.execute("SET enable_external_access = false")
        connection.execute("SET arrow_lossless_conversion = true")  # or UUIDs come back as text
        connection.execute("SET python_enable_replacements = false")
        connection.execute("SET lock_configuration = true")
        for name, table in tables.items():
            connection.register(name, table)
        yield connection
    finally:
        connection.close()


_SQL_TYPES = {
    pa.string(): "VARCHAR",
    pa.int64(): "BIGINT",
    pa.int32(): "INTEGER",
    pa.date32(): "DATE",
    pa.uuid(): "UUID",
}


def shaped(relation: duckdb.DuckDBPyRelation, schema: pa.Schema) -> pa.Table:
    """A query's result under a schema's names, types and nullability; column by column, whatever it calls them."""
    # A sum of BIGINT is a HUGEINT, which Arrow does not have: types are made the schema's while DuckDB still knows.
    columns = ", ".join(f"CAST(#{n} AS {_SQL_TYPES[field.type]})" for n, field in enumerate(schema, 1))
    return pa.table(list(relation.project(columns).to_arrow_table().itercolumns()), schema=schema)
