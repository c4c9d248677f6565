"""Excel workbooks (.xlsx, .xls, .xlsb, .ods) by calamine: one sheet, header by name, every cell as text.

Excel keeps numbers as floats with 15 digits: an id stored as a number has lost the rest, so such a record is rejected.
Options: sheet (needed where several sheets hold something), skip_rows.
"""

from __future__ import annotations

import datetime
import io
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, BinaryIO

import pyarrow as pa
import python_calamine

from actuals_pipelines.readers.reading import (
    MAX_COLUMNS,
    MAX_FIELD_BYTES,
    FileEmpty,
    FileRefused,
    OptionRefused,
    Reading,
    note_reject,
    raw_schema,
)
from actuals_pipelines.tables import LINE

MAX_FILE_BYTES = 256 << 20
_MAX_UNPACKED_BYTES = 2 << 30  # a small archive can unpack to anything
_ROWS_PER_BATCH = 16_384
_LARGEST_WHOLE = 10**15  # Excel shows 15 significant digits


class XlsxReader:
    """See the module's text. LINE is the row's number as Excel shows it."""

    format = "xlsx"
    version = 1

    def read(self, stream: BinaryIO, options: Mapping[str, str]) -> Reading:
        """Read the sheet's header at once, its rows as they are asked for.

        Raises:
            FileEmpty, OptionRefused, FileRefused: no workbook (a .xls may hold HTML or CSV), protected by a password,
                several sheets and none named, no or a doubled header, beyond the bounds.
        """
        book = open_book(stream.read(MAX_FILE_BYTES + 1), self.format)
        rows = _rows(book, options.get("sheet"))
        skip = options.get("skip_rows", "0")
        if not skip.isdecimal():
            raise OptionRefused(self.format, "skip_rows", "how many rows stand above the header")
        for line, cells in rows:
            if line > int(skip) and any(cell != "" for cell in cells):
                columns = _names(cells, line)
                break
        else:
            raise FileRefused(self.format, "the sheet has no header", "Its first row must name the columns.")
        reading = Reading(schema=raw_schema(columns), batches=iter(()))
        reading.batches = batches_of(rows, columns, reading)
        return reading


def open_book(data: bytes, format: str) -> Any:
    """A workbook of calamine's.

    Raises:
        FileEmpty, FileRefused: too large, half a file, protected, or another kind of file.
    """
    _check_archive(data, format)
    try:
        return python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
    except (python_calamine.CalamineError, OSError, ValueError):
        raise _unreadable(format) from None


def open_sheet(book: Any, name: str, format: str = "xlsx") -> Any:
    """A sheet of calamine's, which unpacks it only now.

    Raises:
        FileRefused: damaged.
    """
    try:
        return book.get_sheet_by_name(name)
    except (python_calamine.CalamineError, OSError, ValueError):
        raise _unreadable(format) from None


def _unreadable(format: str) -> FileRefused:
    return FileRefused(
        format,
        "it is no workbook that can be opened: damaged, protected, or HTML or CSV under an Excel name",
        "Save it as .xlsx without a password, or set the source's format to what it is.",
    )


def _check_archive(data: bytes, format: str) -> None:
    if not data.strip():
        raise FileEmpty(format)
    if len(data) > MAX_FILE_BYTES:
        raise FileRefused(format, f"it is larger than {MAX_FILE_BYTES} bytes", "Export it as CSV.")
    if data.startswith(b"PK"):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                unpacked = sum(part.file_size for part in archive.infolist())
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):  # also a version from the future
            raise FileRefused(format, "it is half a file, or damaged", "Ask for it again.") from None
        if unpacked > _MAX_UNPACKED_BYTES:
            raise FileRefused(format, f"it unpacks to over {_MAX_UNPACKED_BYTES} bytes", "Export as CSV.")


def _rows(book: Any, wanted: str | None) -> Iterator[tuple[int, list[Any]]]:
    """The rows of the sheet with their numbers in Excel."""
    names = list(book.sheet_names)
    if wanted is not None and wanted not in names:
        raise OptionRefused(XlsxReader.format, "sheet", "the name of one of the workbook's sheets")
    chosen = [name for name in names if wanted in (None, name)]
    filled = [sheet for name in chosen if (sheet := open_sheet(book, name)).total_height > 0]
    if not filled:
        raise FileRefused(XlsxReader.format, "its sheets are empty", "Ask the sender for the export.")
    if len(filled) > 1:
        what = f"{len(filled)} sheets hold something"
        raise FileRefused(XlsxReader.format, what, "State which in the source's reader options: sheet.")
    return rows_of(filled[0])


def rows_of(sheet: Any) -> Iterator[tuple[int, list[Any]]]:
    """A sheet's rows with their numbers in Excel."""
    start = sheet.start or (0, 0)
    return enumerate(sheet.iter_rows(), start[0] + 1)


def _names(cells: list[Any], line: int) -> list[str]:
    names = [str(cell).strip() or f"column {place}" for place, cell in enumerate(cells, 1)]
    if len(names) > MAX_COLUMNS:
        raise FileRefused(XlsxReader.format, f"it has more than {MAX_COLUMNS} columns", "Remove some.", line)
    if LINE in names or max(Counter(names).values()) > 1:
        raise FileRefused(XlsxReader.format, "two columns have the same name", "Name each column once.", line)
    return names


def batches_of(
    rows: Iterator[tuple[int, list[Any]]], columns: list[str], reading: Reading, decimal: str = "."
) -> Iterator[pa.RecordBatch]:
    """Rows as text under these columns, with LINE; an id that Excel has cut is a reject.

    Args:
        decimal: the mark that numeric cells get, so that they read like the sheet's text cells.
    """
    held: list[list[str | None]] = []
    lines: list[int] = []
    for line, cells in rows:
        texts = [_text(cell, decimal) for cell in cells]
        if all(text is None for text in texts):
            continue
        long = next((place for place, cell in enumerate(cells) if _lost_digits(cell)), None)
        if long is not None:
            reason = "a number of more than 15 digits: Excel has lost the others; the column must be text"
            note_reject(reading, line, columns[long], reason, XlsxReader.format)
            continue
        big = next((place for place, text in enumerate(texts) if text and len(text) > MAX_FIELD_BYTES), None)
        if big is not None:
            note_reject(reading, line, columns[big], f"longer than {MAX_FIELD_BYTES} bytes", XlsxReader.format)
            continue
        held.append(texts)
        lines.append(line)
        if len(held) >= _ROWS_PER_BATCH:
            yield _batch(held, lines, reading.schema)
            held, lines = [], []
    yield _batch(held, lines, reading.schema)


def _batch(rows: list[list[str | None]], lines: list[int], schema: pa.Schema) -> pa.RecordBatch:
    columns = [pa.array([row[place] for row in rows], pa.string()) for place in range(len(schema) - 1)]
    return pa.RecordBatch.from_arrays([*columns, pa.array(lines, pa.int64())], schema=schema)


def _lost_digits(cell: Any) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool) and abs(cell) >= _LARGEST_WHOLE


def _text(cell: Any, decimal: str) -> str | None:
    """What Excel shows, without its formatting: numbers to 15 digits in plain notation, ISO dates."""
    if isinstance(cell, str):
        return cell.strip() or None
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, int | float):
        text = format(Decimal(f"{cell:.15g}"), "f")
        return text.rstrip("0").rstrip(".").replace(".", decimal) if "." in text else text
    if isinstance(cell, datetime.datetime | datetime.date | datetime.time):
        return cell.isoformat()
    return str(cell)
