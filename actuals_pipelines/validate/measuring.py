"""Measure a unit: one pass over its transactions, and what its reader and normalising say about themselves."""

# ruff: noqa: S608 - SQL is made of our own column names

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol, Self

import duckdb
import pyarrow as pa

from actuals_pipelines.domain.controls import StatementControls
from actuals_pipelines.engine import connect
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.validate.profile import AmountSums, CurrencyTotals, Profile
from actuals_pipelines.validate.sample import LIMIT, IdSample
from actuals_pipelines.validate.statements import StatementBalances, bounded_balances

if TYPE_CHECKING:  # it loads pandas
    import pyarrow.dataset as ds

MEMORY = "2GB"  # some 50 bytes a row are kept; beyond it measuring fails, because spilling would write rows in clear
_KEY = "key_transaction_id"


class Flow(Protocol):
    """What became of the readable amounts of one currency, in minor units: read = stored + rejected."""

    @property
    def read(self) -> int: ...
    @property
    def stored(self) -> int: ...
    @property
    def rejected(self) -> int: ...


class CountsIncomplete(ActualsError):
    """A unit came without the counts that it is measured by."""

    def __init__(self, missing: Sequence[str], found: Sequence[str]) -> None:
        super().__init__(missing, found)
        self.missing, self.found = missing, found

    def __str__(self) -> str:
        return (
            f"A unit is measured with its counts, and these are missing: {', '.join(self.missing)}. "
            f"Given: {', '.join(self.found) or 'none'}. Hand over the counts that normalising returned."
        )


class MeasuringFailed(ActualsError):
    """The engine failed while it measured; its own text may hold values and is dropped."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    def __str__(self) -> str:
        return f"A unit's transactions cannot be measured ({self.kind}). A unit beyond {MEMORY} has to be split."


class Measuring:
    """Measures units one after another, each in chunks, on a connection that is opened once.

    `begin`, `add` each chunk, then `profile`. Kept are some 50 bytes a row, until the next unit begins.
    """

    def __init__(self) -> None:
        self._connection = connect(memory_limit=MEMORY)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def begin(self) -> None:
        """Forget the unit before."""
        self._connection.execute(_NOTHING)

    def add(self, transactions: pa.Table | ds.Dataset) -> None:
        """Add transactions: schema `tables.TRANSACTIONS` and more; `key_transaction_id` makes the ids if it is there.

        Raises:
            MeasuringFailed.
        """
        # An id is the cleaned and keyed one where there is one. Payment and fee of one order share their id, and so
        # do a pending and a booked line: those are no repeats.
        own = "nullif(transaction_id, '')"
        has_key = _KEY in transactions.schema.names
        known = f"coalesce(CAST({_KEY} AS VARCHAR), {own})" if has_key else own
        self._connection.register("transactions", transactions)
        self._asked(
            f"""
            INSERT INTO measured
            SELECT row_uid, booked_on, amount_minor_units AS amount, currency, {own} IS NULL AS is_null,
                   CASE WHEN {known} IS NOT NULL
                        THEN md5_number_lower(concat_ws(chr(31), {known}, kind, status, currency)) END AS id
            FROM transactions
            """
        )
        self._connection.unregister("transactions")

    def repeated_row_uids(self) -> int:
        """Rows so far after the first with the same row_uid."""
        [(repeated,)] = self._asked("SELECT count(*) - count(DISTINCT row_uid) FROM measured")
        return int(repeated)

    def profile(
        self, counts: Mapping[str, int], amounts: Mapping[str, Flow], controls: Sequence[StatementControls] = ()
    ) -> Profile:
        """The unit's profile.

        Args:
            counts: records: raw, stored, rejected; if known not_taken, repeats; rows: transactions, rejects.
            amounts: by currency, as normalising counted them.
            controls: what the file's statements say about themselves.

        Raises:
            CountsIncomplete, MeasuringFailed.
        """
        missing = [name for name in ("raw", "stored", "rejected") if name not in counts]
        if missing:
            raise CountsIncomplete(missing, sorted(counts))
        return _profile(self._found(), counts, amounts, controls)

    def _found(self) -> _Found:
        [row] = self._asked(
            """
            SELECT count(*), count(*) - count(DISTINCT row_uid), count(*) FILTER (is_null),
                   count(id) - count(DISTINCT id), min(booked_on), max(booked_on)
            FROM measured
            """
        )
        by_currency = self._asked(
            """
            SELECT currency, count(*), coalesce(sum(amount) FILTER (amount > 0), 0),
                   coalesce(-sum(amount) FILTER (amount < 0), 0)
            FROM measured GROUP BY currency ORDER BY currency
            """
        )
        totals = {code: CurrencyTotals(int(n), int(plus), int(minus)) for code, n, plus, minus in by_currency}
        # Sum of 32-bit parts of the keyed row_uids: the same rows give the same digest, in any order. 0 is reserved.
        sampled = f"""
            WITH small AS (SELECT DISTINCT id FROM measured WHERE id IS NOT NULL ORDER BY id LIMIT {LIMIT + 1})
            SELECT id, CAST(1 + sum(('0x' || substr(CAST(row_uid AS VARCHAR), 1, 8))::UINTEGER) % 4294967295
                            AS UINTEGER) AS rows
            FROM measured SEMI JOIN small USING (id) GROUP BY id ORDER BY id
            """
        with _own_failure():
            ids = IdSample.of_rows(self._connection.sql(sampled).to_arrow_table())
        rows, repeated_row_uids, null_ids, repeated_ids, first, last = row
        return _Found(rows, repeated_row_uids, null_ids, repeated_ids, first, last, totals, ids)

    def _asked(self, query: str) -> list[Any]:
        with _own_failure():
            return self._connection.execute(query).fetchall()


@contextmanager
def _own_failure() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        kind = type(error).__name__
    else:
        return
    raise MeasuringFailed(kind)  # outside the handler: the engine's text may quote values


_NOTHING = """
CREATE OR REPLACE TEMP TABLE measured
    (row_uid UUID, booked_on DATE, amount BIGINT, currency VARCHAR, is_null BOOLEAN, id UBIGINT)
"""


@dataclass(frozen=True, slots=True)
class _Found:
    """What the transactions themselves show."""

    rows: int
    repeated_row_uids: int
    null_ids: int
    repeated_ids: int
    first: date | None
    last: date | None
    totals: Mapping[str, CurrencyTotals]
    ids: IdSample


def _profile(
    found: _Found,
    counts: Mapping[str, int],
    amounts: Mapping[str, Flow],
    controls: Sequence[StatementControls],
) -> Profile:
    raw, stored, rejected = counts["raw"], counts["stored"], counts["rejected"]
    not_taken, repeats = counts.get("not_taken", 0), counts.get("repeats", 0)
    balances = (
        StatementBalances(
            c.account or "",
            c.statement or "",
            c.currency,
            c.opening,
            c.closing,
            c.number or "",
            c.first_on or c.last_on,
            c.last_on or c.first_on,
        )
        for c in controls
        if c.opening is not None and c.closing is not None
    )
    return Profile(
        units=1,
        rows=found.rows,
        raw=raw,
        stored=stored,
        rejected=rejected,
        not_taken=not_taken,
        repeats=repeats,
        rejects=counts.get("rejects", rejected),
        missing_records=abs(raw - stored - rejected - not_taken - repeats),
        missing_rows=abs(counts.get("transactions", found.rows) - found.rows),
        currencies_off=sum(_is_off(amounts.get(code), found.totals.get(code)) for code in {*amounts, *found.totals}),
        null_ids=found.null_ids,
        repeated_ids=found.repeated_ids,
        repeated_row_uids=found.repeated_row_uids,
        first_booked_on=found.first,
        last_booked_on=found.last,
        totals=found.totals,
        amounts={code: AmountSums(flow.read, flow.stored, flow.rejected) for code, flow in amounts.items()},
        statements=len(controls),
        statements_disagreeing=sum(not each.agrees for each in controls),
        statement_gaps=sum(each.gap not in (None, 0) for each in controls),
        balances=bounded_balances([balances]),
        ids=found.ids,
    )


def _is_off(flow: Flow | None, totals: CurrencyTotals | None) -> bool:
    """Whether a currency's amounts leak on the way: read = stored + rejected, and stored = what is there."""
    read, stored, rejected = (flow.read, flow.stored, flow.rejected) if flow else (0, 0, 0)
    there = totals.credits - totals.debits if totals else 0
    return read != stored + rejected or stored != there
