"""A landed unit is read, normalised and measured chunk by chunk, while the store writes what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from actuals_pipelines.domain.source import Source
from actuals_pipelines.domain.unit import Unit
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.landing import open_unit
from actuals_pipelines.normalise import AmountFlow, Normalised, normalise
from actuals_pipelines.readers import Reading
from actuals_pipelines.readers.sandbox import read_apart
from actuals_pipelines.tables import LINE, REJECTS
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines.validate import Measuring, Profile

if TYPE_CHECKING:
    from actuals_pipelines.domain.controls import StatementControls

CHUNK_ROWS = 122_880
"""Records that are normalised together: a row group of the files that are written."""


class EqualsApart(ActualsError):
    """A row came twice in a unit that was read in chunks: equal records are told apart only where they are together."""

    def __str__(self) -> str:
        return "A row came twice in a unit that was read in chunks. It is read again as a whole; if not, report it."


class UnitRead:
    """One unit on its way from bytes to transactions.

    `transactions`, then `rejects` are drained; then `counts` and `profile` are complete. With a bound on the records
    that are in memory, whatever the unit's size.
    """

    def __init__(
        self,
        environment: TenantEnvironment,
        source: Source,
        unit: Unit,
        *,
        look_in: list[tuple[str, str]],
        chunk_rows: int | None,
    ) -> None:
        """With chunk_rows None the unit is taken whole."""
        self._environment, self._source, self._unit, self._look_in = environment, source, unit, look_in
        self._measuring, self._chunk_rows = Measuring(), chunk_rows
        self._rejects: list[pa.Table] = []
        self._amounts: dict[str, AmountFlow] = {}
        self._controls: list[StatementControls] = []
        self.counts: dict[str, int] = {}
        self._profile: Profile | None = None
        self.is_complete = False

    def transactions(self) -> pa.RecordBatchReader:
        """Begin to read; raises at once what the first chunk shows, and the rest while it is drained.

        Raises:
            the refusals of `readers` and `normalise`; EqualsApart; the errors of `landing.open_unit`.
        """
        chunks = self._normalised()
        first = next(chunks)
        return pa.RecordBatchReader.from_batches(first.schema, _batches(first, chunks))

    def rejects(self) -> pa.RecordBatchReader:
        """All that could not become a transaction; to be drained after the transactions."""
        return pa.RecordBatchReader.from_batches(
            REJECTS, (batch for table in self._rejects for batch in table.to_batches())
        )

    def profile(self) -> Profile:
        """What was measured."""
        if self._profile is None:
            self._profile = self._measuring.profile(self.counts, self._amounts, self._controls)
        return self._profile

    def _normalised(self) -> Iterator[pa.Table]:
        environment, source = self._environment, self._source
        with open_unit(environment, self._unit) as stream:
            reading = read_apart(source.format, stream, source.reader)  # what strangers send may be hostile
            number = 0
            for raw, is_last in _chunks(reading, self._chunk_rows):
                number += 1
                done = normalise(
                    raw,
                    source,
                    ids=environment.tenant.ids,
                    look_in=self._look_in,
                    secrets=environment.keys.pseudonyms,
                    unit_id=self._unit.id,
                    unread=reading.reject_table() if is_last else None,
                )
                self._add(done)
                yield done.transactions
        if number > 1 and self._measuring.repeated_row_uids():
            raise EqualsApart
        self._controls = reading.controls
        self.is_complete = True

    def _add(self, done: Normalised) -> None:
        self._measuring.add(done.transactions)
        self._rejects.append(done.rejects)
        for name, count in done.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        for code, flow in done.amounts.items():
            before = self._amounts.get(code, AmountFlow(0, 0, 0))
            self._amounts[code] = AmountFlow(
                before.read + flow.read, before.stored + flow.stored, before.rejected + flow.rejected
            )


def _batches(first: pa.Table, others: Iterator[pa.Table]) -> Iterator[pa.RecordBatch]:
    yield from first.to_batches()
    for table in others:
        yield from table.to_batches()


def _chunks(reading: Reading, rows: int | None) -> Iterator[tuple[pa.Table, bool]]:
    """(records, whether they are the last); at least once. What stands on one line of the file stays together."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in _sliced(reading.batches, rows):
        if rows is not None and count >= rows and batch.column(LINE)[0] != waiting[-1].column(LINE)[-1]:
            yield pa.Table.from_batches(waiting, reading.schema), False
            waiting, count = [], 0
        waiting.append(batch)
        count += batch.num_rows
    yield pa.Table.from_batches(waiting, reading.schema), True


def _sliced(batches: Iterator[pa.RecordBatch], rows: int | None) -> Iterator[pa.RecordBatch]:
    """The batches that have rows, none of them larger than a chunk."""
    for batch in batches:
        for start in range(0, batch.num_rows, rows or max(batch.num_rows, 1)):
            yield batch.slice(start, rows)
