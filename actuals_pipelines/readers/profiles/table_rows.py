"""A CSV file or a workbook as records under a profile's own words: finds the header, whatever stands above it.

Columns are found by header name in any language that the profile gives; their order and others beside them do not
matter. A record with blank fields too many is kept, one with other fields too many or too few is a reject, unless the
profile says `pad`.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from actuals_pipelines.readers import csv as csv_format
from actuals_pipelines.readers import csv_records, xlsx
from actuals_pipelines.readers.profiles.profile import Profile
from actuals_pipelines.readers.reading import FileRefused, Reading, raw_schema
from actuals_pipelines.readers.text import Utf8Stream
from actuals_pipelines.tables import LINE

_DELIMITERS = (",", ";", "\t", "|")
_HEADER_WITHIN = 100  # records; above the header stand at most a page of metadata
_PEEK = 1 << 20
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


@dataclass(frozen=True, slots=True)
class Header:
    """Where a profile's columns stand in a file."""

    places: dict[str, int]  # word -> place
    names: tuple[str, ...]
    lines: int  # physical lines up to and with the header
    above: tuple[str, ...]  # the rows above it, fields joined by blanks
    delimiter: str = ","


@dataclass(slots=True)
class Records:
    """What a profile is compiled against: words that the file has, metadata, and the records as text."""

    words: tuple[str, ...]
    metadata: dict[str, str | None]
    batches: Iterator[pa.RecordBatch]  # the words as text, then LINE
    is_workbook: bool = False


class Rewound:
    """A stream whose first bytes were looked at."""

    def __init__(self, stream: BinaryIO, size: int = _PEEK) -> None:
        self._stream = stream
        self.head = stream.read(size)
        self._left = self.head

    def read(self, size: int = -1) -> bytes:
        """As a file."""
        if size < 0:
            data, self._left = self._left + self._stream.read(), b""
            return data
        if self._left:
            data, self._left = self._left[:size], self._left[size:]
            return data
        return self._stream.read(size)


def read_table(profile: Profile, stream: Rewound, reading: Reading) -> Records:
    """Find the header and begin; FileRefused names the columns that were looked for."""
    if stream.head.startswith(_WORKBOOKS):
        return _workbook(profile, stream, reading)
    encoding = _encoding(stream.head, profile.encodings)
    text = Utf8Stream(stream, encoding, profile.name, profile.quote)  # type: ignore[arg-type]  # it only reads
    header = find_header(profile, csv_format.head_of(text))
    if header is None:
        raise not_found(profile)
    csv_format.consume_lines(text, header.lines)
    reading.notes = {"delimiter": header.delimiter}
    batches = csv_records.records(
        reading,
        text,
        _unique(header.names),
        delimiter=header.delimiter,
        quote=profile.quote,
        lines_before=header.lines,
        mend=_mend(profile, len(header.names)),
    )
    return Records(tuple(header.places), _metadata(profile, header.above), _chosen(batches, header.places))


def find_header(profile: Profile, head: str) -> Header | None:
    """The first record of the text that has every required column; with `header` in the profile, its first record."""
    for delimiter in (profile.delimiter,) if profile.delimiter else _DELIMITERS:
        reader = csv.reader(io.StringIO(head), delimiter=delimiter, quotechar=profile.quote)
        rows: list[str] = []
        try:
            for count, fields in enumerate(reader):
                if profile.header:
                    return _headerless(profile, fields, delimiter)
                found = places(profile, fields)
                if found is not None:
                    names = tuple(name.strip() for name in fields)
                    return Header(found, names, reader.line_num, tuple(rows), delimiter)
                if count >= _HEADER_WITHIN:
                    break
                rows.append(" ".join(fields))
        except csv.Error:
            continue
    return None


def _headerless(profile: Profile, first: Sequence[str], delimiter: str) -> Header | None:
    """A file without a header is recognised by its first record: the profile's `records` pattern."""
    if not profile.records or not re.match(profile.records[0], delimiter.join(first)):
        return None
    found = places(profile, profile.header)
    return Header(found, profile.header, 0, (), delimiter) if found is not None else None


def places(profile: Profile, names: Sequence[str]) -> dict[str, int] | None:
    """Word -> place of its column; None when a required one is missing."""
    by_name = {_folded(name): place for place, name in reversed(list(enumerate(names)))}
    found: dict[str, int] = {}
    for column in profile.columns:
        place = next((by_name[_folded(each)] for each in column.headers if _folded(each) in by_name), None)
        if place is not None:
            found[column.word] = place
        elif column.is_required:
            return None
    return found


def not_found(profile: Profile) -> FileRefused:
    """The refusal of a file that lacks what the profile requires."""
    wanted = ", ".join(f"{' / '.join(column.headers)!r}" for column in profile.columns if column.is_required)
    return FileRefused(
        profile.name,
        "no row has the columns of its header",
        f"It needs: {wanted}. Choose another format, or add the columns' names to the profile.",
    )


def decoded(head: bytes, encodings: Iterable[str]) -> str | None:
    """The beginning of a file as text with LF line ends, in the first encoding that fits."""
    names = ("utf-8-sig", *encodings)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        names = ("utf-16",)
    for name in names:
        try:
            text = codecs.getincrementaldecoder(name)().decode(head)  # leaves out an incomplete last character
        except UnicodeDecodeError:
            continue
        return text.replace("\r\n", "\n").replace("\r", "\n")
    return None


def _encoding(head: bytes, candidates: tuple[str, ...]) -> str | None:
    for name in candidates:
        try:
            codecs.getincrementaldecoder(name)().decode(head)
        except UnicodeDecodeError:
            continue
        return name
    return candidates[0] if candidates else None


def _folded(name: str) -> str:
    return re.sub(r"\s+", " ", name).strip().casefold()


def _unique(names: Sequence[str]) -> list[str]:
    """Each name once: a profile may not need those that are doubled, or have none."""
    return [f"{name.strip()} [{place}]" for place, name in enumerate(names, 1)]


def _metadata(profile: Profile, rows: Sequence[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for word, pattern in profile.metadata.items():
        matches = (re.search(pattern, row) for row in rows)
        found[word] = next((match[1].strip() for match in matches if match and match[1]), None)
    return found


def _mend(profile: Profile, width: int) -> csv_records.Mend:
    """What to do with a record of another width: its fields, or None for a reject."""

    def mend(fields: list[str]) -> list[str] | None:
        if len(fields) > width:
            return fields[:width] if not any(field.strip() for field in fields[width:]) else None
        return [*fields, *[""] * (width - len(fields))] if profile.is_padded else None

    return mend


def _chosen(batches: Iterator[pa.RecordBatch], places: dict[str, int]) -> Iterator[pa.RecordBatch]:
    schema = raw_schema(list(places))
    for batch in batches:
        yield pa.RecordBatch.from_arrays(
            [*(batch.column(place) for place in places.values()), batch.column(LINE)], schema=schema
        )


def _workbook(profile: Profile, stream: Rewound, reading: Reading) -> Records:
    """The sheet that has the header, or the first of them."""
    book = xlsx.open_book(stream.read(), profile.name)
    for sheet in book.sheet_names:
        rows = xlsx.rows_of(xlsx.open_sheet(book, sheet, profile.name))
        above: list[str] = []
        for count, (line, cells) in enumerate(rows):
            names = [str(cell) for cell in cells]
            found = places(profile, names)
            if found is not None:
                columns = _unique(names)
                raw = Reading(raw_schema(columns), iter(()), rejects=reading.rejects)
                batches = xlsx.batches_of(rows, columns, raw, decimal=profile.amounts.decimal or ".")
                reading.notes = {"sheet": sheet, "header": str(line)}
                return Records(tuple(found), _metadata(profile, above), _chosen(batches, found), is_workbook=True)
            if count >= _HEADER_WITHIN:
                break
            above.append(" ".join(name for name in names if name))
    raise not_found(profile)


def sheet_has(profile: Profile, rows: Iterable[tuple[int, list[Any]]]) -> bool:
    """Whether one of a sheet's first rows is this profile's header."""
    return any(places(profile, [str(cell) for cell in cells]) is not None for _, cells in rows)
