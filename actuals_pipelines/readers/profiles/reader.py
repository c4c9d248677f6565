"""The reader that a profile makes: a format like any other, whose records are entries."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any, BinaryIO

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actuals_pipelines.engine import connect
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.readers.entries import ENTRY_COLUMNS
from actuals_pipelines.readers.profiles import marks
from actuals_pipelines.readers.profiles.json_rows import read_json
from actuals_pipelines.readers.profiles.profile import Profile
from actuals_pipelines.readers.profiles.program import OPTIONS, Compiler, Program
from actuals_pipelines.readers.profiles.sums import Sums
from actuals_pipelines.readers.profiles.table_rows import Records, Rewound, read_table
from actuals_pipelines.readers.profiles.zones import is_zone
from actuals_pipelines.readers.reading import FileEmpty, FileRefused, OptionRefused, Reading, note_reject, raw_schema
from actuals_pipelines.tables import LINE

_ENGINE_VERSION = 1
_ROWS_PER_BATCH = 16_384
_SETTINGS = ("preserve_insertion_order = true",)
_EVIDENCE = 2_000  # values looked at for marks and date order
_WORKBOOK_DAYS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S")  # a date cell of a workbook is written like this


class ProfileReader:
    """See the module's text. LINE is a physical line, a row of the sheet, or a JSON record's number."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.format = profile.name
        # A changed profile reads the same bytes differently.
        self.version = (_ENGINE_VERSION << 32) + zlib.crc32(json.dumps(profile.document.data).encode())

    def read(self, stream: BinaryIO, options: Mapping[str, str]) -> Reading:
        """Find the header at once, read entries as they are asked for.

        Options: account, currency, zone, for what the file does not say.
        `controls` and the notes `kinds` (words without a kind, with their number) and `balance` are complete when the
        batches are exhausted.

        Raises:
            FileEmpty, FileRefused, OptionRefused: another kind of file, no row with the profile's columns, amounts or
                dates that read in two ways.
            YamlRefused: an expression of the profile cannot be read.
        """
        zone = options.get("zone", "")
        if zone and not is_zone(zone):
            raise OptionRefused(self.format, "zone", "an IANA time zone, for example Europe/Amsterdam")
        rewound = Rewound(stream)
        if not rewound.head.strip():
            raise FileEmpty(self.format)
        reading = Reading(schema=raw_schema(list(ENTRY_COLUMNS)), batches=iter(()))
        read = read_table if self.profile.file == "table" else read_json
        records = read(self.profile, rewound, reading)
        first = next(records.batches, None)
        given = {name: options[name] for name in OPTIONS if options.get(name)}
        profile = self._decided(records, first)
        program = Compiler(profile, records.words, records.metadata, given).program()
        reading.batches = self._batches(program, first, records.batches, reading)
        return reading

    def _decided(self, records: Records, first: pa.RecordBatch | None) -> Profile:
        """The profile with the marks and date formats that it left open, as the first records show them."""
        profile = self.profile
        if profile.amounts.columns and profile.amounts.decimal is None:
            decimal, thousands = marks.decimal_mark(_values(first, profile.amounts.columns, records), self.format)
            amounts = replace(profile.amounts, decimal=decimal, thousands=profile.amounts.thousands or thousands)
            profile = replace(profile, amounts=amounts)
        if profile.dates.columns and not profile.dates.formats:
            values = _values(first, profile.dates.columns, records)
            found = (marks.day_format(values, self.format),) if values else _WORKBOOK_DAYS[:1]
            profile = replace(profile, dates=replace(profile.dates, formats=found))
        if records.is_workbook:
            dates = replace(profile.dates, formats=(*profile.dates.formats, *_WORKBOOK_DAYS))
            times = profile.times
            if times.formats:
                times = replace(times, formats=(*times.formats, _WORKBOOK_DAYS[1]))
            profile = replace(profile, dates=dates, times=times)
        return profile

    def _batches(
        self, program: Program, first: pa.RecordBatch | None, rest: Iterator[pa.RecordBatch], reading: Reading
    ) -> Iterator[pa.RecordBatch]:
        sums = Sums(self.profile)
        refused: list[ActualsError] = []
        if first is not None:
            with closing(connect(settings=_SETTINGS)) as connection, ExitStack() as second:
                aside = second.enter_context(closing(connect())) if program.stated else None
                prepared = self._prepared(_noting(itertools.chain([first], rest), refused), program, aside, sums)
                connection.register("records", pa.RecordBatchReader.from_batches(first.schema, prepared))
                try:
                    for found in connection.sql(program.entries).to_arrow_reader(_ROWS_PER_BATCH):
                        yield from self._entries(found, sums, reading)
                except (OSError, duckdb.Error) as error:
                    # What went wrong within the stream is an error of the engine by now.
                    raise (refused[0] if refused else self._explained(error)) from None
        reading.controls.extend(sums.controls())
        reading.notes |= sums.notes()
        reading.notes["profile"] = self.profile.name

    def _explained(self, error: Exception) -> Exception:
        """What an error of the engine means to who wrote the profile; its text may hold values."""
        if isinstance(error, duckdb.BinderException | duckdb.ConversionException | duckdb.InvalidInputException):
            return self.profile.refuse(
                ("entry",),
                "expressions whose values fit together",
                "a text used as an amount, or an amount as a text",
                "Name the column in `amounts: columns`, or write number(word).",
            )
        if isinstance(error, duckdb.OutOfRangeException):
            what = "its amounts add up to more than 16 digits"
            return FileRefused(self.format, what, "Check the profile's decimal mark.")
        return error

    def _entries(self, found: pa.RecordBatch, sums: Sums, reading: Reading) -> Iterator[pa.RecordBatch]:
        """Entries of one batch of results; its rejects are noted, what counts is added up."""
        bad = found.column("_bad")
        if bad.null_count < len(bad):
            rejected = found.filter(bad.is_valid())
            for line, told in zip(rejected.column(LINE).to_pylist(), rejected.column("_bad").to_pylist(), strict=True):
                name, reason = told.split("|", 1)
                note_reject(reading, line, name, reason, self.format)
            found = found.filter(bad.is_null())
        sums.add(found)
        if len(self.profile.entries) > 1:  # what a record gives stays together
            lines = found.column(LINE).to_numpy()
            found = found.take(pa.array(np.argsort(lines, kind="stable")))  # in runs already, so this is quick
        blank = pa.nulls(len(found), pa.string())
        names = set(found.schema.names)
        columns = [found.column(name) if name in names else blank for name in reading.schema.names]
        yield pa.RecordBatch.from_arrays(columns, schema=reading.schema)

    def _prepared(
        self, batches: Iterator[pa.RecordBatch], program: Program, aside: Any, sums: Sums
    ) -> Iterator[pa.RecordBatch]:
        """Records trimmed and filled down; on their way, what they state about the file's sums is taken."""
        carried: dict[str, pa.Scalar] = {}
        for batch in batches:
            columns = [trimmed(column) if pa.types.is_string(column.type) else column for column in batch.columns]
            for word in self.profile.fill_down:
                place = batch.schema.get_field_index(word)
                if place >= 0 and len(batch):
                    columns[place] = _filled(columns[place], carried.get(word))
                    carried[word] = columns[place][-1]
            made = pa.RecordBatch.from_arrays(columns, schema=batch.schema)
            for query in program.stated:
                aside.register("records", pa.Table.from_batches([made]))
                found = aside.execute(query)
                names = [column[0] for column in found.description]
                sums.stated.extend(dict(zip(names, row, strict=True)) for row in found.fetchall()[:1000])
            yield made


def _noting(batches: Iterator[pa.RecordBatch], refused: list[ActualsError]) -> Iterator[pa.RecordBatch]:
    try:
        yield from batches
    except ActualsError as error:
        refused.append(error)
        raise


def trimmed(column: pa.Array) -> pa.Array:
    """Text without blanks around it, nothing left being null; a column without one blank stays as it is."""
    data = column.buffers()[2]
    if data is None or not (any(blank in memoryview(data).tobytes() for blank in (b" ", b"\t", b"\n", b"\xa0"))):
        return column
    text = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(text, ""), None, text)


def _filled(column: pa.Array, before: pa.Scalar | None) -> pa.Array:
    """Each blank as what stands above it."""
    down = pc.fill_null_forward(column)
    return pc.fill_null(down, before) if before is not None and before.is_valid else down


def _values(batch: pa.RecordBatch | None, words: tuple[str, ...], records: Records) -> list[str]:
    """The first values of these columns, and of the metadata."""
    found = [value for word in words if (value := records.metadata.get(word))]
    for word in words:
        if batch is not None and word in batch.schema.names:
            found.extend(
                value.strip() for value in pc.drop_null(batch.column(word))[:_EVIDENCE].to_pylist() if value.strip()
            )
    return found
