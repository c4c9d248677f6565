"""CSV: header by name, every field as text. RFC 4180, and what banks and shops make of it.

What is ours here is the delimiter and the header; encoding and line ends are in `text.py`, records in `csv_records.py`.
Options: delimiter, encoding, quote, skip_rows.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from actuals_pipelines.readers.csv_records import records
from actuals_pipelines.readers.reading import (
    MAX_COLUMNS,
    FileRefused,
    OptionRefused,
    Reading,
    raw_schema,
)
from actuals_pipelines.readers.text import Utf8Stream
from actuals_pipelines.tables import LINE

_DELIMITERS = (",", ";", "\t", "|")
_HEAD_BYTES = 256 << 10
_NAMED = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "\\t": "\t"}


class CsvReader:
    """See the module's text."""

    format = "csv"
    version = 1

    def read(self, stream: BinaryIO, options: Mapping[str, str]) -> Reading:
        """Read the header at once, the records as they are asked for.

        LINE is the physical line on which a record begins, as an editor shows it; the header is on line 1.

        Raises:
            FileEmpty, OptionRefused, FileRefused: binary or foreign content, an encoding that does not fit, a header
                that is missing or doubled, a quote that is never closed, fields or columns beyond the bounds.
        """
        quote = _one_character("quote", options.get("quote", '"'))
        text = Utf8Stream(stream, options.get("encoding"), self.format, quote)
        skipped = _skip(text, options.get("skip_rows", "0"))
        head = head_of(text)
        stated = options.get("delimiter")
        delimiter = _one_character("delimiter", _NAMED.get(stated, stated)) if stated else _sniff(head, quote, skipped)
        header, header_lines = _header(head, delimiter, quote)
        columns = _names(header, skipped + 1)
        consume_lines(text, header_lines)
        reading = Reading(schema=raw_schema(columns), batches=iter(()))
        reading.notes = {"delimiter": delimiter, "columns": str(len(columns))}
        reading.batches = records(
            reading, text, columns, delimiter=delimiter, quote=quote, lines_before=skipped + header_lines
        )
        return reading


def _skip(text: Utf8Stream, option: str) -> int:
    if not option.isdecimal() or int(option) > 1000:
        raise OptionRefused(CsvReader.format, "skip_rows", "how many lines stand above the header, 0 to 1000")
    consume_lines(text, int(option))
    return int(option)


def consume_lines(text: Utf8Stream, count: int) -> None:
    """Leave out that many lines."""
    for _ in range(count):
        head = text.peek(_HEAD_BYTES)
        text.read(head.index(b"\n") + 1 if b"\n" in head else len(head))


def head_of(text: Utf8Stream) -> str:
    """The first records as text; cut at a line end where the file goes on."""
    head = text.peek(_HEAD_BYTES)
    if len(head) == _HEAD_BYTES:
        cut = head.rfind(b"\n")
        if cut < 0:
            raise FileRefused(CsvReader.format, f"its first line has no end within {_HEAD_BYTES} bytes", "Is it CSV?")
        head = head[: cut + 1]
    return head.decode("utf-8")


def _records(head: str, delimiter: str, quote: str) -> Iterator[list[str]]:
    lines = iter(head.splitlines(keepends=True))
    yield from csv.reader(lines, delimiter=delimiter, quotechar=quote)


def _sniff(head: str, quote: str, skipped: int) -> str:
    """The delimiter whose column count is steadiest over the first 50 records."""
    scores: list[tuple[float, int, str]] = []
    for delimiter in _DELIMITERS:
        try:
            counts = [len(record) for _, record in zip(range(51), _records(head, delimiter, quote), strict=False)]
        except csv.Error:
            continue
        filled = [count for count in counts if count]
        if filled and filled[0] > 1:
            scores.append((sum(count == filled[0] for count in filled) / len(filled), filled[0], delimiter))
    if not scores:
        return ","
    scores.sort(reverse=True)
    if len(scores) > 1 and scores[0][:2] == scores[1][:2]:
        raise FileRefused(
            CsvReader.format,
            "its delimiter cannot be told: two of comma, semicolon, tab and bar fit alike",
            "State it in the source's reader options, for example delimiter: ';'.",
            skipped + 1,
        )
    return scores[0][2]


def _header(head: str, delimiter: str, quote: str) -> tuple[list[str], int]:
    """The first record that is not blank, and how many lines it takes with the blank ones above it."""
    reader = csv.reader(iter(head.splitlines(keepends=True)), delimiter=delimiter, quotechar=quote)
    try:
        for record in reader:
            if any(name.strip() for name in record):
                return record, reader.line_num
    except csv.Error:
        pass
    raise FileRefused(CsvReader.format, "it has no header", "The first line must name the columns.")


def _names(header: list[str], line: int) -> list[str]:
    """The columns' names, trimmed; a nameless one is called by its place."""
    if len(header) > MAX_COLUMNS:
        raise FileRefused(CsvReader.format, f"it has more than {MAX_COLUMNS} columns", "Check the delimiter.", line)
    names = [name.strip() or f"column {place}" for place, name in enumerate(header, 1)]
    if LINE in names:
        raise FileRefused(
            CsvReader.format, f"a column is named {LINE!r}", "That name is ours: rename the column.", line
        )
    for name, count in Counter(names).items():
        if count > 1:
            places = ", ".join(str(place) for place, other in enumerate(names, 1) if other == name)
            raise FileRefused(
                CsvReader.format,
                f"columns {places} have the same name",
                "A header names each column once: a mapping could not tell them apart.",
                line,
            )
    return names


def _one_character(option: str, value: str) -> str:
    if len(value) != 1 or not value.isascii() or value in "\r\n":
        raise OptionRefused(CsvReader.format, option, "one character, or tab")
    return value
