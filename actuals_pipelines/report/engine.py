"""DuckDB as reports use it: over tables that the caller holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from actuals_pipelines.engine import engine

_IN_ORDER = ("preserve_insertion_order = true",)  # what came sorted is shown sorted


@contextmanager
def over(**tables: pa.Table | pa.RecordBatchReader) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that sees these tables under their names; gone, with all it made, at the end of the block."""
    with engine(settings=_IN_ORDER) as connection:
        for name, table in tables.items():
            connection.register(name, table)
        yield connection


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
