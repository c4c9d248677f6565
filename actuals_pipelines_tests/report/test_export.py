"""Files for spreadsheets: exact amounts, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import stat
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import openpyxl
import pyarrow as pa
import pytest

from actuals_pipelines.report import export
from actuals_pipelines.report.export import SheetTooSmall, with_decimals, write_csv, write_xlsx

HOSTILE = ["=1+1", "+31 6", "-order", "@SUM(A1)", "\tcmd", "\rcmd", "\n=1", "order-1", "", None]
TABLE = pa.table(
    {
        "id": pa.array(HOSTILE, pa.string()),
        "currency": ["EUR", "JPY", "KWD", "EUR", "EUR", "CLF", "EUR", "EUR", "EUR", "EUR"],
        "difference": pa.array([-2000, 500, -1, 5, 0, 12345, -99, 100, None, 10**15], pa.int64()),
        "day": pa.array([date(2026, 2, 1)] * 10, pa.date32()),
    }
)
SAFE = ["'=1+1", "'+31 6", "'-order", "'@SUM(A1)", "'\tcmd", "'\rcmd", "'\n=1", "order-1"]
DECIMALS = ["-20.00", "500", "-0.001", "0.05", "0.00", "1.2345", "-0.99", "1.00", None, "10000000000000.00"]


def test_minor_units_become_decimals_of_their_currency_in_their_place() -> None:
    """Euros have two, yen none, dinars three, the unidad de fomento four."""
    assert with_decimals(TABLE, ["difference"])["difference"].to_pylist() == DECIMALS


def test_a_csv_file_holds_no_formula_and_amounts_are_numbers(tmp_path: Path) -> None:
    """The apostrophe stands before texts, never before a negative amount."""
    write_csv(TABLE, tmp_path / "items.csv", ["difference"])

    with (tmp_path / "items.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["id"] for row in read[:8]] == SAFE
    assert [row["difference"] or None for row in read] == DECIMALS
    assert read[0]["day"] == "2026-02-01"


def test_a_sheet_holds_no_formula_and_amounts_are_numbers(tmp_path: Path) -> None:
    """Cells are texts, numbers and dates by type."""
    write_xlsx(TABLE, tmp_path / "items.xlsx", ["difference"])

    header, *rows = openpyxl.load_workbook(tmp_path / "items.xlsx").active.iter_rows()  # type: ignore[union-attr]
    assert [cell.value for cell in header] == ["id", "currency", "difference", "day"]
    assert all(row[0].data_type != "f" for row in rows)
    assert str(rows[0][0].value) == "'=1+1"
    assert Decimal(str(rows[0][2].value)) == Decimal(-20)
    assert (rows[2][2].value, rows[2][2].number_format) == (-0.001, "0.000")
    assert rows[0][3].value == datetime(2026, 2, 1)  # noqa: DTZ001 - a sheet has no zones


def test_an_exported_file_is_its_owners_alone_even_if_it_was_not(tmp_path: Path) -> None:
    """It is in clear."""
    path = tmp_path / "items.csv"
    path.write_text("old")
    path.chmod(0o644)

    write_csv(TABLE, path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_more_rows_than_a_sheet_holds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that a spreadsheet would cut off in silence."""
    monkeypatch.setattr(export, "MAX_SHEET_ROWS", 9)

    with pytest.raises(SheetTooSmall, match="CSV"):
        write_xlsx(TABLE, tmp_path / "items.xlsx")

    assert not (tmp_path / "items.xlsx").exists()
