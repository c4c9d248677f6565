"""Run a tenant's own expectations on a unit's rows, chunk by chunk; only outcomes and counts leave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

import pyarrow as pa

from actuals_pipelines.domain.source import Source
from actuals_pipelines.validate.expectations import Met, check
from actuals_pipelines.validate.outcome import CheckOutcome, Outcome
from actuals_pipelines.validate.own import ExpectationRefused, OwnExpectation, parse, severity_of, shown

if TYPE_CHECKING:  # pyarrow.dataset loads pandas as well
    import pandas as pd
    import pyarrow.dataset as ds

CHUNK_ROWS = 100_000
_CHECK = "own_expectations"


def judge_own(transactions: pa.Table | ds.Dataset | None, source: Source) -> tuple[CheckOutcome, ...]:
    """One outcome per expectation of the source, in their order, each named by its `subject`.

    What cannot be run as it is written could not run; it does not fail. So with what breaks on one chunk, and with
    everything where there are no transactions to look at (None; a table without rows is looked at).
    """
    outcomes: dict[int, CheckOutcome] = {}
    runnable: dict[int, OwnExpectation] = {}
    for place, written in enumerate(source.expectations, start=1):
        try:
            runnable[place] = parse(source, place)
        except ExpectationRefused:
            subject = f"{place} {shown(written.get('type'))}"
            outcomes[place] = CheckOutcome(_CHECK, severity_of(written), Outcome.COULD_NOT_RUN, subject)
    if transactions is None:
        for place, own in runnable.items():
            outcomes[place] = _outcome(own, None)
    elif runnable:
        judged = _judge(transactions, list(runnable.values()))
        outcomes.update(zip(runnable, judged, strict=True))
    return tuple(outcomes[place] for place in sorted(outcomes))


def _judge(transactions: pa.Table | ds.Dataset, own: Sequence[OwnExpectation]) -> list[CheckOutcome]:
    elements, unexpected, broken = [0] * len(own), [0] * len(own), [False] * len(own)
    for chunk in _chunks(transactions, {column for each in own for column in each.columns}):
        met = check(partial(_frame, chunk), [each.expected for each in own])
        for place, found in enumerate(met):
            if found is None:
                broken[place] = True
            else:
                elements[place] += found.elements
                unexpected[place] += found.unexpected
    return [
        _outcome(each, None if broken[place] else Met(elements[place], unexpected[place]))
        for place, each in enumerate(own)
    ]


def _outcome(own: OwnExpectation, met: Met | None) -> CheckOutcome:
    if met is None:
        return CheckOutcome(_CHECK, own.severity, Outcome.COULD_NOT_RUN, own.subject)
    # "Mostly" is a share of the unit, so it cannot be left to Great Expectations, which sees a chunk.
    is_met = met.unexpected == 0 or met.elements - met.unexpected >= own.mostly * met.elements
    outcome = Outcome.PASSED if is_met else Outcome.FAILED
    counts = {"rows": met.elements, "unexpected": met.unexpected}
    return CheckOutcome(_CHECK, own.severity, outcome, own.subject, counts)


def _chunks(transactions: pa.Table | ds.Dataset, columns: set[str]) -> Iterator[pa.Table]:
    """Only the columns that are judged: UUIDs and lists are no matter for pandas. At least one chunk, if empty."""
    present = [name for name in transactions.schema.names if name in columns]
    if isinstance(transactions, pa.Table):
        batches = transactions.select(present).to_batches(max_chunksize=CHUNK_ROWS)
    else:
        batches = transactions.to_batches(columns=present, batch_size=CHUNK_ROWS)
    is_first = True
    for batch in batches:
        is_first = False
        yield pa.Table.from_batches([batch])
    if is_first:
        yield transactions.schema.empty_table().select(present)


def _frame(table: pa.Table) -> pd.DataFrame:
    """Days and instants as naive nanoseconds in UTC, the form in which Great Expectations compares them at once."""
    for place, field in enumerate(table.schema):
        if pa.types.is_date(field.type) or pa.types.is_timestamp(field.type):
            moments = table[field.name].cast(pa.timestamp("us")).cast(pa.timestamp("ns"))
            table = table.set_column(place, field.name, moments)
    return cast("pd.DataFrame", table.to_pandas())
