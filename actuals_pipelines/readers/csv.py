"""CSV: header by name, every field as text. RFC 4180, and what banks and shops make of it.

pyarrow parses; what is ours is what it leaves open: encoding and line ends (`text.py`), the delimiter, the header,
line numbers, and rows with the wrong number of fields, which become rejects.
Options: delimiter, encoding, quote, skip_rows.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from actuals_pipelines.readers.reading import (
    MAX_COLUMNS,
    MAX_FIELD_BYTES,
    FileRefused,
    OptionRefused,
    Reading,
    note_reject,
    raw_schema,
)
from actuals_pipelines.readers.text import Utf8Stream
from actuals_pipelines.tables import LINE

_DELIMITERS = (",", ";", "\t", "|")
_HEAD_BYTES = 256 << 10
_BLOCK_BYTES = 4 * MAX_FIELD_BYTES  # a record lies within one block, so this bounds a record too
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
        head = _head(text)
        stated = options.get("delimiter")
        delimiter = _one_character("delimiter", _NAMED.get(stated, stated)) if stated else _sniff(head, quote, skipped)
        header, header_lines = _header(head, delimiter, quote)
        columns = _names(header, skipped + 1)
        _consume_lines(text, header_lines)
        reading = Reading(schema=raw_schema(columns), batches=iter(()))
        reading.notes = {"delimiter": delimiter, "columns": str(len(columns))}
        parsing = _Parsing(
            reading, text, columns, delimiter=delimiter, quote=quote, lines_before=skipped + header_lines
        )
        reading.batches = parsing.batches()
        return reading


class _Parsing:
    """One pass over the records. pyarrow numbers rows, we want lines: a row's line is its number plus the line ends
    inside the quoted fields of all rows before it, of those that it refused too."""

    def __init__(
        self, reading: Reading, text: Utf8Stream, columns: list[str], *, delimiter: str, quote: str, lines_before: int
    ) -> None:
        self.reading, self.text, self.columns = reading, text, columns
        self.delimiter, self.quote = delimiter, quote
        self.number = 0  # of the last row that went out
        self.shift = lines_before  # line = number + shift
        self.refused: list[tuple[int, int, int]] = []  # number, fields found, line ends inside
        self.ends_in_quotes = self.takes_last_line_end = False  # of the last row so far

    def batches(self) -> Iterator[pa.RecordBatch]:
        if not self.text.peek(1):
            self.reading.notes["encoding"] = self.text.encoding
            yield pa.RecordBatch.from_pylist([], schema=self.reading.schema)
            return
        names = [f"c{i}" for i in range(len(self.columns))]
        try:
            reader = arrow_csv.open_csv(
                pa.PythonFile(self.text, mode="r"),
                # use_threads=False: only then does pyarrow number the rows it refuses.
                read_options=arrow_csv.ReadOptions(use_threads=False, column_names=names, block_size=_BLOCK_BYTES),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=self.delimiter,
                    quote_char=self.quote,
                    newlines_in_values=True,
                    ignore_empty_lines=False,  # they count as lines
                    invalid_row_handler=self._refuse,
                ),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    check_utf8=False,  # text.py made it UTF-8
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=True,
                ),
            )
            for batch in reader:
                yield self._numbered(batch)
        except pa.ArrowInvalid as error:
            raise self._broken(str(error)) from None
        self._note_refused(np.array([], np.int64), np.array([], np.int64))
        self._refuse_open_quote()
        self.reading.notes["encoding"] = self.text.encoding

    def _refuse(self, row: Any) -> str:
        self.refused.append((row.number, row.actual_columns, row.text.count("\n")))
        return "skip"

    def _numbered(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with LINE, without blank lines and without oversized records."""
        count = batch.num_rows
        taken = np.array([number for number, _, _ in self.refused], np.int64)
        numbers = np.setdiff1d(np.arange(self.number + 1, self.number + 1 + count + len(taken)), taken)[:count]
        lines = self._note_refused(numbers, _line_ends_inside(batch))
        # A quote that is not closed takes the file's last line end into its field too.
        final = batch.column(len(self.columns) - 1)[-1].as_py() if count else None
        self.takes_last_line_end = (final or "").endswith("\n")
        columns = [*batch.columns, pa.array(lines)]
        numbered = pa.RecordBatch.from_arrays(columns, schema=self.reading.schema)
        return self._without_oversized(_without_blank(numbered))

    def _note_refused(self, numbers: Any, inside: Any) -> Any:
        """The lines of the rows `numbers` with `inside` line ends each; refused rows before them become rejects."""
        last = int(numbers[-1]) if len(numbers) else None
        due = [row for row in self.refused if last is None or row[0] < last]
        if not due and not inside.any():
            lines = numbers + self.shift
        else:
            every = np.concatenate([numbers, np.array([row[0] for row in due], np.int64)])
            ends = np.concatenate([inside, np.array([row[2] for row in due], np.int64)])
            order = np.argsort(every)
            before = np.empty_like(ends)
            before[order] = np.cumsum(ends[order]) - ends[order]
            all_lines = every + before + self.shift
            lines = all_lines[: len(numbers)]
            for line, (_, found, _) in sorted(zip(all_lines[len(numbers) :].tolist(), due, strict=True)):
                note_reject(
                    self.reading, line, "", f"expected {len(self.columns)} fields, found {found}", CsvReader.format
                )
            self.shift += int(ends.sum())
        self.refused = self.refused[len(due) :]
        self.number = last if last is not None else self.number
        if last is not None:
            self.ends_in_quotes = bool(inside[-1])
        elif due:
            self.ends_in_quotes = self.takes_last_line_end = bool(due[-1][2])
        return lines

    def _without_oversized(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        for name, column in zip(self.columns, batch.columns[:-1], strict=True):
            if column.nbytes <= MAX_FIELD_BYTES:
                continue
            over = pc.fill_null(pc.greater(pc.binary_length(column), MAX_FIELD_BYTES), False)
            if over.true_count:
                for line in batch.column(LINE).filter(over).to_pylist():
                    reason = f"longer than {MAX_FIELD_BYTES} bytes"
                    note_reject(self.reading, line, name, reason, CsvReader.format)
                return self._without_oversized(batch.filter(pc.invert(over)))
        return batch

    def _refuse_open_quote(self) -> None:
        """A file cut off inside a quoted field parses, and must not pass for whole.

        A bare quote may stand inside an unquoted field (5" pipe), so an odd number of quotes alone proves nothing.
        """
        if self.text.quotes % 2 == 0:
            return
        end = self.text.last_line()
        goes_on = _is_open(self.quote + end, self.delimiter, self.quote) if end else self.takes_last_line_end
        if (self.ends_in_quotes and goes_on) or _is_open(end, self.delimiter, self.quote):
            raise FileRefused(
                CsvReader.format,
                "it ends inside a quoted field",
                "It was cut off, or a quote is not closed; ask for the file again.",
                self.text.lines + 1,
            )

    def _broken(self, message: str) -> FileRefused:
        """pyarrow's text may hold a row, so only its kind is used."""
        line = self.number + self.shift + 1
        if "straddl" in message:
            what = f"a record here is longer than {_BLOCK_BYTES} bytes, or a quote is never closed"
            return FileRefused(CsvReader.format, what, "Correct the quoting, or state the quote character.", line)
        return FileRefused(
            CsvReader.format, "its rows cannot be told apart", "Check delimiter and quote of the source.", line
        )


def _line_ends_inside(batch: pa.RecordBatch) -> Any:
    """How many line ends each row's fields hold."""
    total = np.zeros(batch.num_rows, np.int64)
    for column in batch.columns:
        data = column.buffers()[2]
        if data is not None and b"\n" in memoryview(data).tobytes():
            total += pc.fill_null(pc.count_substring(column, "\n"), 0).to_numpy(zero_copy_only=False)
    return total


def _without_blank(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A blank line comes as a row of nulls: it holds nothing, so nothing is lost with it."""
    fields = batch.columns[:-1]
    if any(column.null_count == 0 for column in fields):
        return batch
    blank = fields[0].is_null()
    for column in fields[1:]:
        blank = pc.and_(blank, column.is_null())
    return batch.filter(pc.invert(blank)) if blank.true_count else batch


def _skip(text: Utf8Stream, option: str) -> int:
    if not option.isdecimal() or int(option) > 1000:
        raise OptionRefused(CsvReader.format, "skip_rows", "how many lines stand above the header, 0 to 1000")
    _consume_lines(text, int(option))
    return int(option)


def _consume_lines(text: Utf8Stream, count: int) -> None:
    for _ in range(count):
        head = text.peek(_HEAD_BYTES)
        text.read(head.index(b"\n") + 1 if b"\n" in head else len(head))


def _head(text: Utf8Stream) -> str:
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


def _is_open(line: str, delimiter: str, quote: str) -> bool:
    """Whether a quoted field begins in this last line and does not end."""
    inside, at_start = False, True
    position = 0
    while position < len(line):
        character = line[position]
        if inside:
            if character == quote:
                if line[position + 1 : position + 2] == quote:
                    position += 1
                else:
                    inside = False
        elif character == quote and at_start:
            inside = True
        at_start = not inside and character == delimiter
        position += 1
    return inside
