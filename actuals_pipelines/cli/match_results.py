# ruff: noqa: S608 - SQL is put together from our own names
"""`actuals match --out`: one line per row, as Parquet, CSV or XLSX. A spreadsheet never takes a text for a formula."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from actuals_pipelines.engine import engine, table_of
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.expressions import literal
from actuals_pipelines.reconcile.state import State

SUFFIXES = (".csv", ".parquet", ".xlsx")
_SHEET_ROWS = 1_048_575  # Excel's limit, less the header
_FORMULA = "^([=+\\-@\t\r])"  # CWE-1236: how a spreadsheet recognises a formula
_CONTROL = "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f]"  # not allowed in XLSX (XML 1.0, production Char)


class ResultsRefused(ActualsError):
    """The results cannot be written as asked."""


def check_target(out: str, inputs: list[str]) -> None:
    """Refuse a target before any work is done: an unknown ending, no folder, or one of the inputs."""
    path = Path(out)
    if path.suffix.lower() not in SUFFIXES:
        raise ResultsRefused(f"--out {out}: write to a file that ends in {', '.join(SUFFIXES)}.")
    if not path.resolve().parent.is_dir():
        raise ResultsRefused(f"--out {out}: there is no folder {path.resolve().parent}. Make it first.")
    if any(Path(name).resolve() == path.resolve() for name in inputs):
        raise ResultsRefused(f"--out {out}: that is one of the files to read. Name another.")


def results_of(state: State) -> pa.Table:
    """One line per row: (side, source, row_id, transaction_id, currency, amount_minor_units, status, reason,
    balance_difference, group_id, pass, category), groups in the order of their first ids.

    Plain files are matched under a pepper that is forgotten, so groups are numbered instead of named by their key:
    the same files give the same numbers.
    """
    with engine() as con:
        con.register("state", state.rows)
        return table_of(
            con,
            f"""
            WITH firsts AS (
                SELECT group_key, currency, continuation, min(coalesce(transaction_id, '')) AS id,
                       min(side || source || coalesce(row_id, '')) AS first
                FROM state WHERE group_key IS NOT NULL GROUP BY ALL),
            numbered AS (SELECT *, row_number() OVER (ORDER BY id, currency, first) AS n FROM firsts)
            SELECT s.side, s.source, s.row_id, s.transaction_id, s.currency, s.amount_minor_units, s.status, s.reason,
                   s.difference AS balance_difference, {literal(state.package)} || '/' || n.n AS group_id, s."pass",
                   s.category
            FROM state s LEFT JOIN numbered n USING (group_key, currency, continuation)
            ORDER BY n.n NULLS LAST, s.side DESC, s.source, s.row_id, s.amount_minor_units""",
        )


def write_results(results: pa.Table, out: str) -> None:
    """Write beside the target and rename, so that nobody reads half a file."""
    path = Path(out)
    suffix = path.suffix.lower()
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    if suffix == ".xlsx" and results.num_rows > _SHEET_ROWS:
        raise ResultsRefused(
            f"--out {out}: {results.num_rows} rows are more than a sheet holds. Write .csv or .parquet."
        )
    try:
        if suffix == ".parquet":
            from pyarrow import parquet  # noqa: PLC0415 - loaded for the format that is asked for

            parquet.write_table(results, aside, compression="zstd")
        elif suffix == ".csv":
            from pyarrow import csv  # noqa: PLC0415

            csv.write_csv(_harmless(results), aside)
        else:
            _write_xlsx(_harmless(results), aside)
        aside.replace(path)
    except OSError as error:
        raise ResultsRefused(f"--out {out}: it cannot be written ({error.strerror}).") from None
    finally:
        aside.unlink(missing_ok=True)


def _harmless(results: pa.Table) -> pa.Table:
    """Texts that a spreadsheet would run get an apostrophe in front; numbers stay numbers."""
    for index, field in enumerate(results.schema):
        if pa.types.is_string(field.type):
            texts = pc.replace_substring_regex(results.column(index), _FORMULA, "'\\1")
            results = results.set_column(index, field, texts)
    return results


def _write_xlsx(results: pa.Table, path: Path) -> None:
    from openpyxl import Workbook  # noqa: PLC0415 - 0.2 s that only this format needs

    book = Workbook(write_only=True)
    sheet = book.create_sheet("results")
    sheet.append(results.column_names)
    for index, field in enumerate(results.schema):
        if pa.types.is_string(field.type):
            results = results.set_column(index, field, pc.replace_substring_regex(results.column(index), _CONTROL, ""))
    for batch in results.to_batches(max_chunksize=10_000):
        # A workbook is written cell by cell; there is no column operation for it.
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            sheet.append(row)
    with path.open("wb") as stream:
        book.save(stream)
