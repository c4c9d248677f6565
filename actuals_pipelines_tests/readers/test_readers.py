"""Readers by name, and the small formats: Parquet, Excel, NDJSON."""

from __future__ import annotations

import datetime
import decimal
import io
import pickle
import subprocess
import sys
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actuals_pipelines.readers import FORMATS, FileEmpty, FileRefused, FormatUnknown, OptionRefused, open_reader


def read(format: str, data: bytes, **options: str) -> tuple[list[dict[str, Any]], list[tuple[int, str, str]]]:
    reading = open_reader(format).read(io.BytesIO(data), options)
    return reading.table().to_pylist(), reading.rejects


def workbook(sheets: dict[str, list[list[Any]]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, content in sheets.items():
        sheet = book.create_sheet(name)
        for row in content:
            sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_an_unknown_format_names_those_there_are() -> None:
    with pytest.raises(FormatUnknown, match="camt053"):
        open_reader("mt101")


@pytest.mark.parametrize("format", FORMATS)
def test_every_reader_says_that_an_empty_file_is_empty(format: str) -> None:
    with pytest.raises(FileEmpty, match="empty"):
        read(format, b"")


@pytest.mark.parametrize("format", [name for name in FORMATS if name not in ("csv", "ndjson")])
def test_every_reader_refuses_what_is_not_its_format(format: str) -> None:
    with pytest.raises(FileRefused, match=format):
        read(format, b"id,amount\n1,2\n")


def test_choosing_a_reader_does_not_load_the_others() -> None:
    program = (
        "import sys; from actuals_pipelines.readers import open_reader; open_reader('csv');"
        "print([m for m in ('lxml', 'python_calamine', 'duckdb', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("error", [FileEmpty("csv"), OptionRefused("csv", "sheet", "x"), FileRefused("a", "b", "c", 4)])
def test_a_refusal_survives_pickling(error: Exception) -> None:
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own bytes


def test_parquet_values_become_the_text_a_person_would_write() -> None:
    table = pa.table(
        {
            "amount": pa.array([decimal.Decimal("12.30")], pa.decimal128(10, 2)),
            "count": [7],
            "day": [datetime.date(2026, 1, 31)],
            "at": pa.array([datetime.datetime(2026, 1, 31, 9, 30, tzinfo=datetime.UTC)], pa.timestamp("us", tz="UTC")),
            "local": pa.array([datetime.datetime(2026, 1, 31, 9, 30)], pa.timestamp("ms")),  # noqa: DTZ001
            "kind": pa.array(["sale"]).dictionary_encode(),
            "empty": pa.array([""]),
        }
    )
    out = io.BytesIO()
    pq.write_table(table, out)

    rows, _ = read("parquet", out.getvalue())

    [row] = rows
    assert row["amount"] == "12.30"
    assert (row["count"], row["day"], row["kind"], row["empty"], row["_line"]) == ("7", "2026-01-31", "sale", None, 1)
    assert row["at"].startswith("2026-01-31T09:30:00") and row["at"].endswith("Z")
    assert row["local"].startswith("2026-01-31T09:30:00") and not row["local"].endswith("Z")


def test_half_a_parquet_file_is_refused() -> None:
    out = io.BytesIO()
    pq.write_table(pa.table({"a": list(range(1000))}), out)

    with pytest.raises(FileRefused, match="half"):
        read("parquet", out.getvalue()[:-200])


def test_a_nested_parquet_column_is_refused_by_name() -> None:
    out = io.BytesIO()
    pq.write_table(pa.table({"lines": [[1, 2]]}), out)

    with pytest.raises(FileRefused, match="lines"):
        read("parquet", out.getvalue())


def test_an_excel_cell_is_what_excel_shows() -> None:
    data = workbook(
        {
            "Export": [
                ["order", "amount", "booked", "paid"],
                ["0012", 12.5, datetime.date(2026, 1, 31), True],
                ["A", 0.1 + 0.2, datetime.datetime(2026, 1, 31, 9, 30), None],  # noqa: DTZ001 - Excel knows no zone
                [None, None, None, None],
                ["B", 60, None, False],
            ]
        }
    )

    rows, rejects = read("xlsx", data)

    assert [row["order"] for row in rows] == ["0012", "A", "B"]
    assert [row["amount"] for row in rows] == ["12.5", "0.3", "60"]
    assert str(rows[0]["booked"]).startswith("2026-01-31") and rows[1]["booked"] == "2026-01-31T09:30:00"
    assert [row["_line"] for row in rows] == [2, 3, 5]
    assert rejects == []


def test_an_excel_number_of_more_than_15_digits_rejects_its_record() -> None:
    """Excel keeps 15 digits: 8835511210681145 and 8835511210681144 would be one payment."""
    data = workbook({"Export": [["psp_ref", "amount"], [8835511210681145, 1], ["8835511210681145", 2]]})

    rows, rejects = read("xlsx", data)

    assert [row["psp_ref"] for row in rows] == ["8835511210681145"]
    assert [(line, field) for line, field, _ in rejects] == [(2, "psp_ref")]
    assert "15 digits" in rejects[0][2]


def test_two_filled_sheets_need_a_name() -> None:
    data = workbook({"January": [["id"], ["1"]], "February": [["id"], ["2"]], "Notes": []})

    with pytest.raises(FileRefused, match="2 sheets"):
        read("xlsx", data)
    with pytest.raises(OptionRefused, match="sheet"):
        read("xlsx", data, sheet="March")
    assert read("xlsx", data, sheet="February")[0] == [{"id": "2", "_line": 2}]


def test_json_numbers_keep_the_digits_that_were_sent() -> None:
    """A float would make 0.10 of 0.1 and lose the end of a long id."""
    data = (
        b'{"id": 88355112106811459999, "amount": 0.10, "paid": true}\n\n{"id": "x", "note": null, "more": {"a": [1]}}\n'
    )

    rows, rejects = read("ndjson", data)

    assert rows == [
        {
            "id": "88355112106811459999",
            "amount": "0.10",
            "paid": "true",
            "note": None,
            "more": None,
            "_line": 1,
        },
        {"id": "x", "amount": None, "paid": None, "note": None, "more": '{"a": [1]}', "_line": 3},
    ]
    assert rejects == []


def test_a_broken_json_line_is_a_reject_and_the_others_are_read() -> None:
    rows, rejects = read("ndjson", b'{"id": 1}\n{"id": \n[1]\n{"id": 2}\n')

    assert [row["id"] for row in rows] == ["1", "2"]
    assert rejects == [(2, "", "not a JSON object"), (3, "", "not a JSON object")]


def test_what_holds_no_json_object_at_all_is_refused() -> None:
    with pytest.raises(FileRefused, match="no line is a JSON object"):
        read("ndjson", b"id,amount\n1,2\n")
    with pytest.raises(FileRefused, match="list"):
        read("ndjson", b'[{"id": 1}]')


def test_a_workbook_whose_sheet_is_damaged_is_refused() -> None:
    """The archive's directory is whole, so only unpacking the sheet shows it."""
    data = workbook({"one": [["a", "b"], [1, "x"]]})
    sheet = data.index(b"xl/worksheets/sheet1.xml") - 30  # a local file header has 30 bytes before its name

    with pytest.raises(FileRefused, match="no workbook that can be opened"):
        open_reader("xlsx").read(io.BytesIO(data[:sheet] + b"XX" + data[sheet + 2 :]), {})


def test_a_workbook_in_an_archive_of_a_later_version_is_refused() -> None:
    data = workbook({"one": [["a", "b"], [1, "x"]]})
    entry = data.index(b"PK\x01\x02")  # in the archive's directory, the version needed is 6 bytes on

    with pytest.raises(FileRefused, match="half a file, or damaged"):
        open_reader("xlsx").read(io.BytesIO(data[: entry + 6] + b"\xab\0" + data[entry + 8 :]), {})
