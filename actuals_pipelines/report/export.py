# ruff: noqa: S608 - SQL is put together from quoted columns
"""Tables as files for spreadsheets: CSV and XLSX, amounts as decimals, and no text that a spreadsheet would run.

A cell that begins with = + - @ or a control character is a formula to a spreadsheet, and ids and texts come from
strangers. Such a text gets an apostrophe in front (OWASP, "CSV Injection"). Amounts are numbers and stay as they are.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as pacsv

from actuals_pipelines.domain.money import exponent, exponents
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.report.engine import over

MAX_SHEET_ROWS = 1_048_575  # of an XLSX sheet, beside its header
_DANGEROUS = "^[=+@\\t\\r\\n-]"
_BATCH_ROWS = 10_000


class SheetTooSmall(ActualsError):
    """A table has more rows than an XLSX sheet can hold."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows)
        self.rows = rows

    def __str__(self) -> str:
        return f"An XLSX sheet holds {MAX_SHEET_ROWS} rows and there are {self.rows}. Write a CSV file instead."


def with_decimals(table: pa.Table, amounts: Collection[str]) -> pa.Table:
    """Turn minor units into decimal text ("-20.00", "500") by each row's `currency`; the other columns stay."""
    codes = pa.table({"currency": list(exponents()), "exponent": pa.array(exponents().values(), pa.int32())})
    with over(given=table, codes=codes) as con:
        chosen = ", ".join(f"{_decimal_sql(n)} AS {_quoted(n)}" for n in table.column_names if n in amounts)
        if not chosen:
            return table
        # The place is kept by number: a join does not keep order.
        numbered = "SELECT *, row_number() OVER () AS place FROM given"
        return con.sql(f"""
            SELECT given.* EXCLUDE (place) REPLACE ({chosen})
            FROM ({numbered}) given LEFT JOIN codes ON codes.currency = given.currency ORDER BY place
            """).to_arrow_table()  # fmt: skip


def escaped(table: pa.Table, amounts: Collection[str] = ()) -> pa.Table:
    """Put an apostrophe before every text that a spreadsheet would take for a formula; `amounts` are left alone."""
    with over(given=table) as con:
        texts = [
            f.name for f in table.schema if f.name not in amounts and (pa.types.is_string(f.type) or _is_large(f.type))
        ]
        chosen = ", ".join(
            f"CASE WHEN regexp_matches({_quoted(n)}, '{_DANGEROUS}') THEN '''' || {_quoted(n)} ELSE {_quoted(n)} END "
            f"AS {_quoted(n)}"
            for n in texts
        )
        return con.sql(f"SELECT * REPLACE ({chosen}) FROM given").to_arrow_table() if chosen else table


def write_csv(table: pa.Table, path: Path, amounts: Collection[str] = ()) -> None:
    """Write UTF-8 CSV with a header, readable by its owner alone.

    Args:
        amounts: the columns that hold minor units of the row's `currency`.
    """
    with _private(path) as file:
        pacsv.write_csv(escaped(with_decimals(table, amounts), amounts), file)


def write_xlsx(table: pa.Table, path: Path, amounts: Collection[str] = ()) -> None:
    """Write one XLSX sheet with a header; amounts are numbers. Raises SheetTooSmall before anything is written."""
    from openpyxl import Workbook  # noqa: PLC0415 - a quarter of a second that other reports need not wait for
    from openpyxl.cell import WriteOnlyCell  # noqa: PLC0415

    if table.num_rows > MAX_SHEET_ROWS:
        raise SheetTooSmall(table.num_rows)
    book = Workbook(write_only=True)
    sheet = book.create_sheet("open items")
    sheet.append(table.column_names)
    currencies = table["currency"].to_pylist() if amounts else []
    done = 0
    for batch in escaped(table, amounts).to_batches(max_chunksize=_BATCH_ROWS):
        for record in batch.to_pylist():  # a sheet is written cell by cell: there is no other way
            cells = []
            for name, value in record.items():
                if name in amounts and value is not None:
                    places = exponent(currencies[done])
                    exact: Any = Decimal(value).scaleb(-places)  # its stubs know floats alone
                    cell = WriteOnlyCell(sheet, exact)
                    cell.number_format = "0" if not places else "0." + "0" * places
                else:
                    cell = WriteOnlyCell(sheet, value)
                    if isinstance(value, date):
                        cell.number_format = "yyyy-mm-dd"
                cells.append(cell)
            sheet.append(cells)
            done += 1
    with _private(path) as file:
        book.save(file)


def _private(path: Path) -> BinaryIO:
    """Open a new or existing file for its owner alone: what leaves the store here is in clear."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "wb")


def _decimal_sql(column: str) -> str:
    """SQL: minor units of the row's currency as decimal text, by digits and never by floats."""
    name, places = f"given.{_quoted(column)}", "coalesce(codes.exponent, 2)"
    plain = f"CAST(abs({name}) AS VARCHAR)"
    digits = f"lpad({plain}, CAST(greatest({places} + 1, length({plain})) AS INTEGER), '0')"
    whole, cents = f"left({digits}, length({digits}) - {places})", f"right({digits}, {places})"
    sign = f"CASE WHEN {name} < 0 THEN '-' ELSE '' END"
    return f"{sign} || CASE {places} WHEN 0 THEN {digits} ELSE {whole} || '.' || {cents} END"


def _is_large(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
