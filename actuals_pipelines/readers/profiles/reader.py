"""The reader that a profile makes: a format like any other, whose records are entries."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from actuals_pipelines.engine import connect, table_of
from actuals_pipelines.readers.entries import ENTRY_COLUMNS
from actuals_pipelines.readers.profiles import marks
from actuals_pipelines.readers.profiles.json_rows import read_json
from actuals_pipelines.readers.profiles.profile import Profile
from actuals_pipelines.readers.profiles.program import OPTIONS, Compiler, Program
from actuals_pipelines.readers.profiles.sums import Sums
from actuals_pipelines.readers.profiles.table_rows import Records, Rewound, read_table
from actuals_pipelines.readers.reading import FileEmpty, OptionRefused, Reading, note_reject, raw_schema

_ENGINE_VERSION = 1
_ROWS_PER_BATCH = 131_072  # what one query takes: DuckDB compiles it anew for each
_EVIDENCE = 2_000  # values looked at for marks and date order
_WORKBOOK_DAYS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S")  # a date cell of a workbook is written like this
_MAX_UNKNOWN = 20


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
        if zone and not marks.is_zone(zone):
            raise OptionRefused(self.format, "zone", "an IANA time zone, for example Europe/Amsterdam")
        rewound = Rewound(stream)
        if not rewound.head.strip():
            raise FileEmpty(self.format)
        reading = Reading(schema=raw_schema(list(ENTRY_COLUMNS)), batches=iter(()))
        read = read_table if self.profile.file == "table" else read_json
        records = read(self.profile, rewound, reading)
        tables = _grouped(records.batches)
        first = next(tables, None)
        given = {name: options[name] for name in OPTIONS if options.get(name)}
        profile = self._decided(records, first)
        program = Compiler(profile, records.words, records.metadata, given).program()
        reading.batches = self._batches(program, first, tables, reading)
        return reading

    def _decided(self, records: Records, first: pa.Table | None) -> Profile:
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
        self, program: Program, first: pa.Table | None, tables: Iterator[pa.Table], reading: Reading
    ) -> Iterator[pa.RecordBatch]:
        sums = Sums(self.profile.is_zero_sum)
        unknown: dict[str, int] = {}
        settings = ("preserve_insertion_order = true",)
        with closing(connect(settings=settings)) as connection:
            for word in self.profile.fill_down:
                connection.execute(f"SET VARIABLE fill_{word} = NULL")
            table = first
            while table is not None:
                connection.register("records", table)
                connection.execute(program.typed)
                for line, bad in connection.execute(program.rejects).fetchall():
                    name, reason = bad.split("|", 1)
                    expected = reason if name in ("", "amount", "status") else f"expected {reason}"
                    note_reject(reading, line, name, expected, self.format)
                entries = table_of(connection, program.entries)
                sums.add(entries)
                self._count(connection, program, sums, unknown)
                yield from entries.select(reading.schema.names).cast(reading.schema).to_batches()
                self._carry(connection, table)
                connection.unregister("records")
                table = next(tables, None)
        reading.controls.extend(sums.controls())
        reading.notes |= sums.notes()
        reading.notes["profile"] = self.profile.name
        if unknown:
            most = sorted(unknown.items(), key=lambda each: (-each[1], each[0]))[:_MAX_UNKNOWN]
            reading.notes["kinds"] = "taken as other: " + ", ".join(f"{word!r} ({count})" for word, count in most)

    def _count(self, connection: Any, program: Program, sums: Sums, unknown: dict[str, int]) -> None:
        if program.unknown:
            for word, count in connection.execute(program.unknown).fetchall():
                if word in unknown or len(unknown) < 1000:
                    unknown[word] = unknown.get(word, 0) + count
        if program.balances:
            sums.add_balances(connection.execute(program.balances).fetchall())
        for check, query in program.noted:
            [(count, line)] = connection.execute(query).fetchall()
            if count:
                sums.contradictions.setdefault(check, [0, line])[0] += count
        for query in program.stated:
            found = connection.execute(query)
            names = [column[0] for column in found.description]
            sums.stated.extend(dict(zip(names, row, strict=True)) for row in found.fetchall()[:1000])

    def _carry(self, connection: Any, table: pa.Table) -> None:
        """What is filled down goes on in the next batch."""
        for word in self.profile.fill_down:
            if word in table.column_names:
                last = pc.drop_null(table[word])
                if len(last):
                    connection.execute(f"SET VARIABLE fill_{word} = ?", [last[-1].as_py()])


def _values(table: pa.Table | None, words: tuple[str, ...], records: Records) -> list[str]:
    """The first values of these columns, and of the metadata."""
    found = [value for word in words if (value := records.metadata.get(word))]
    for word in words:
        if table is not None and word in table.column_names:
            found.extend(value.strip() for value in pc.drop_null(table[word])[:_EVIDENCE].to_pylist() if value.strip())
    return found


def _grouped(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Batches in tables large enough for a query's own cost not to count."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        if rows >= _ROWS_PER_BATCH:
            yield pa.Table.from_batches(held)
            held, rows = [], 0
    if held:
        yield pa.Table.from_batches(held)
