"""What every reader gives: batches of raw records as text, rejects with their lines, control totals; or a refusal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

import pyarrow as pa

from actuals_pipelines.domain.controls import StatementControls
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.tables import LINE, REJECTS

MAX_REJECTS = 100_000
"""Records that may be unreadable before the whole unit is refused: by then the options are wrong, not the records."""

MAX_COLUMNS = 2_000
MAX_FIELD_BYTES = 1 << 20


class FileRefused(ActualsError):
    """A unit cannot be read as its source's format at all. Holds places and kinds, never content."""

    def __init__(self, format: str, what: str, advice: str, line: int | None = None) -> None:
        super().__init__(format, what, advice, line)
        self.format, self.what, self.advice, self.line = format, what, advice, line

    def __str__(self) -> str:
        place = f", line {self.line}" if self.line is not None else ""
        return f"This cannot be read as {self.format}{place}: {self.what}. {self.advice}"


class FileEmpty(FileRefused):
    """There is not one byte, or nothing but blanks: other than a file with a header and no records, which is fine."""

    def __init__(self, format: str) -> None:
        super().__init__(format, "the file is empty", "Ask the sender: an export without records still has its header.")

    def __reduce__(self) -> tuple[type[FileEmpty], tuple[str]]:
        return FileEmpty, (self.format,)


class OptionRefused(FileRefused):
    """A reader option has a value that means nothing."""

    def __init__(self, format: str, option: str, expected: str) -> None:
        super().__init__(format, f"the reader option {option!r} cannot be used", f"Expected: {expected}.")
        self.option, self.expected = option, expected

    def __reduce__(self) -> tuple[type[OptionRefused], tuple[str, str, str]]:
        return OptionRefused, (self.format, self.option, self.expected)


@dataclass
class Reading:
    """One unit being read. `controls` and `rejects` are complete when `batches` is exhausted.

    Every batch has `schema`: text columns, nullable (an empty field is null), then `LINE` (int64).
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    controls: list[StatementControls] = field(default_factory=list)
    rejects: list[tuple[int, str, str]] = field(default_factory=list)  # line, field ("" is the record), reason
    notes: dict[str, str] = field(default_factory=dict)  # what was found out: encoding, delimiter, message version

    def table(self) -> pa.Table:
        """Read everything: (the file's columns: string..., LINE: int64)."""
        return pa.Table.from_batches(self.batches, self.schema)

    def reject_table(self) -> pa.Table:
        """The records that could not be read, schema `tables.REJECTS`; complete after the batches."""
        lines, fields, reasons = zip(*self.rejects, strict=True) if self.rejects else ((), (), ())
        return pa.table([list(lines), list(fields), list(reasons)], schema=REJECTS)


class Reader(Protocol):
    """One format. Knows no key, path, tenant or network: bytes in, records out."""

    format: str
    version: int  # a unit's result is kept under it: raise it when the same bytes read differently

    def read(self, stream: BinaryIO, options: Mapping[str, str]) -> Reading:
        """Begin to read; refuses at once what is not this format, and later what turns out broken."""
        ...


def raw_schema(columns: list[str]) -> pa.Schema:
    """Text columns by the file's names, then the line."""
    return pa.schema([*(pa.field(name, pa.string()) for name in columns), pa.field(LINE, pa.int64(), nullable=False)])


def note_reject(reading: Reading, line: int, field_name: str, reason: str, format: str) -> None:
    """Record one unreadable record; too many of them refuse the unit."""
    if len(reading.rejects) >= MAX_REJECTS:
        raise FileRefused(
            format,
            f"more than {MAX_REJECTS} records cannot be read",
            "The source's reader options (delimiter, encoding, lines to skip) probably do not fit this file.",
            line,
        )
    reading.rejects.append((line, field_name, reason))
