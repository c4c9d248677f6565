"""The records of a CSV text: pyarrow parses; line numbers and records of another width are ours.

A record of another width than the header's is a reject, unless whoever reads knows how to mend it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from actuals_pipelines.readers.reading import (
    MAX_FIELD_BYTES,
    MAX_REJECTS,
    FileRefused,
    Reading,
    note_reject,
    raw_schema,
)
from actuals_pipelines.readers.text import Utf8Stream
from actuals_pipelines.tables import LINE

Mend = Callable[[list[str]], list[str] | None]
"""Gets the fields of a record of another width; gives them at the right width, or None for a reject."""

_BLOCK_BYTES = 4 * MAX_FIELD_BYTES  # a record lies within one block, so this bounds a record too


def records(
    reading: Reading,
    text: Utf8Stream,
    columns: Sequence[str],
    *,
    delimiter: str,
    quote: str,
    lines_before: int,
    mend: Mend | None = None,
) -> Iterator[pa.RecordBatch]:
    """Read what follows the header: the columns as text, then LINE, the physical line on which a record begins.

    Args:
        reading: gets the rejects, and the encoding among its notes when all is read.
        columns: the header's names in its order, each once.
        lines_before: physical lines up to and with the header.

    Raises:
        FileRefused: a quote that is never closed, a record beyond the bounds.
    """
    parsing = _Parsing(reading, text, columns, delimiter=delimiter, quote=quote, lines_before=lines_before, mend=mend)
    yield from parsing.batches()


class _Parsing:
    """One pass over the records. pyarrow numbers rows, we want lines: a row's line is its number plus the line ends
    inside the quoted fields of all rows before it, of those that it refused too."""

    def __init__(
        self,
        reading: Reading,
        text: Utf8Stream,
        columns: Sequence[str],
        *,
        delimiter: str,
        quote: str,
        lines_before: int,
        mend: Mend | None,
    ) -> None:
        self.reading, self.text, self.columns = reading, text, columns
        self.delimiter, self.quote, self.mend = delimiter, quote, mend
        self.schema = raw_schema(list(columns))
        self.number = 0  # of the last row that went out
        self.shift = lines_before  # line = number + shift
        self.refused: list[tuple[int, int, str]] = []  # number, fields found, text
        self.mended: list[tuple[int, list[str]]] = []  # line, fields
        self.ends_in_quotes = self.takes_last_line_end = False  # of the last row so far

    def batches(self) -> Iterator[pa.RecordBatch]:
        if not self.text.peek(1):
            self.reading.notes["encoding"] = self.text.encoding
            yield pa.RecordBatch.from_pylist([], schema=self.schema)
            return
        names = [f"c{place}" for place in range(len(self.columns))]
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
                yield self._with_mended(self._numbered(batch))
        except pa.ArrowInvalid as error:
            raise self._broken(str(error)) from None
        self._note_refused(np.array([], np.int64), np.array([], np.int64))
        if self.mended:
            yield self._with_mended(pa.RecordBatch.from_pylist([], schema=self.schema))
        self._refuse_open_quote()
        self.reading.notes["encoding"] = self.text.encoding

    def _refuse(self, row: Any) -> str:
        self.refused.append((row.number, row.actual_columns, row.text))
        return "skip"

    def _numbered(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with LINE, without blank lines and without oversized records."""
        count = batch.num_rows
        numbers = np.arange(self.number + 1, self.number + 1 + count + len(self.refused))
        if self.refused:
            numbers = np.setdiff1d(numbers, np.array([number for number, _, _ in self.refused], np.int64))[:count]
        # A line end inside a field needs a quote, and the stream is ahead of the parser.
        inside = _line_ends_inside(batch) if self.text.quotes else np.zeros(count, np.int64)
        lines = self._note_refused(numbers, inside)
        # A quote that is not closed takes the file's last line end into its field too.
        final = batch.column(len(self.columns) - 1)[-1].as_py() if count else None
        self.takes_last_line_end = (final or "").endswith("\n")
        columns = [*batch.columns, pa.array(lines)]
        numbered = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        return self._without_oversized(_without_blank(numbered))

    def _note_refused(self, numbers: Any, inside: Any) -> Any:
        """The lines of the rows `numbers` with `inside` line ends each; refused rows before them become rejects."""
        last = int(numbers[-1]) if len(numbers) else None
        due = [row for row in self.refused if last is None or row[0] < last]
        if not due and not inside.any():
            lines = numbers + self.shift
        else:
            every = np.concatenate([numbers, np.array([row[0] for row in due], np.int64)])
            ends = np.concatenate([inside, np.array([row[2].count("\n") for row in due], np.int64)])
            order = np.argsort(every)
            before = np.empty_like(ends)
            before[order] = np.cumsum(ends[order]) - ends[order]
            all_lines = every + before + self.shift
            lines = all_lines[: len(numbers)]
            for line, (_, found, row) in sorted(zip(all_lines[len(numbers) :].tolist(), due, strict=True)):
                self._mend_or_reject(line, found, row)
            self.shift += int(ends.sum())
        self.refused = self.refused[len(due) :]
        self.number = last if last is not None else self.number
        if last is not None:
            self.ends_in_quotes = bool(inside[-1])
        elif due:
            self.ends_in_quotes = self.takes_last_line_end = "\n" in due[-1][2]
        return lines

    def _mend_or_reject(self, line: int, found: int, row: str) -> None:
        if len(self.mended) < MAX_REJECTS and self.mend is not None:
            reader = csv.reader(io.StringIO(row, newline=""), delimiter=self.delimiter, quotechar=self.quote)
            try:
                fields = self.mend(next(reader, []))
            except csv.Error:
                fields = None
            if fields is not None:
                self.mended.append((line, fields))
                return
        note_reject(self.reading, line, "", f"expected {len(self.columns)} fields, found {found}", self.text.format)

    def _with_mended(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch and the records mended before its end, by their lines."""
        if not self.mended:
            return batch
        lines, rows = zip(*self.mended, strict=True)
        self.mended = []
        columns = [pa.array([field or None for field in column], pa.string()) for column in zip(*rows, strict=True)]
        mended = pa.RecordBatch.from_arrays([*columns, pa.array(lines, pa.int64())], schema=self.schema)
        both = pa.Table.from_batches([batch, self._without_oversized(_without_blank(mended))]).sort_by(LINE)
        return both.combine_chunks().to_batches(max_chunksize=None)[0] if both.num_rows else batch

    def _without_oversized(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        for name, column in zip(self.columns, batch.columns[:-1], strict=True):
            if column.nbytes <= MAX_FIELD_BYTES:
                continue
            over = pc.fill_null(pc.greater(pc.binary_length(column), MAX_FIELD_BYTES), False)
            if over.true_count:
                for line in batch.column(LINE).filter(over).to_pylist():
                    reason = f"longer than {MAX_FIELD_BYTES} bytes"
                    note_reject(self.reading, line, name, reason, self.text.format)
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
                self.text.format,
                "it ends inside a quoted field",
                "It was cut off, or a quote is not closed; ask for the file again.",
                self.text.lines + 1,
            )

    def _broken(self, message: str) -> FileRefused:
        """pyarrow's text may hold a row, so only its kind is used."""
        line = self.number + self.shift + 1
        if "straddl" in message:
            what = f"a record here is longer than {_BLOCK_BYTES} bytes, or a quote is never closed"
            return FileRefused(self.text.format, what, "Correct the quoting, or state the quote character.", line)
        return FileRefused(
            self.text.format, "its rows cannot be told apart", "Check delimiter and quote of the source.", line
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
