"""Measure a unit: one scan of its transactions by DuckDB, and what its reader and normalising say about themselves."""

# ruff: noqa: S608 - SQL is made of our own column names

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import duckdb
import pyarrow as pa

from actuals_pipelines.domain.controls import StatementControls
from actuals_pipelines.engine import engine
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


def measure(
    transactions: pa.Table | ds.Dataset,
    counts: Mapping[str, int],
    amounts: Mapping[str, Flow],
    controls: Sequence[StatementControls] = (),
) -> Profile:
    """Measure one unit.

    Args:
        transactions: schema `tables.TRANSACTIONS` and more; `key_transaction_id` is used for the ids if it is there.
        counts: records: raw, stored, rejected; if known not_taken, repeats; rows: transactions, rejects.
        amounts: by currency, as normalising counted them.
        controls: what the file's statements say about themselves.

    Raises:
        CountsIncomplete, MeasuringFailed.
    """
    missing = [name for name in ("raw", "stored", "rejected") if name not in counts]
    if missing:
        raise CountsIncomplete(missing, sorted(counts))
    try:
        found = _Found(transactions)
    except duckdb.Error as error:
        kind = type(error).__name__
    else:
        return _profile(found, counts, amounts, controls)
    raise MeasuringFailed(kind)  # outside the handler: the engine's text may quote values


class _Found:
    """What the transactions themselves show."""

    def __init__(self, transactions: pa.Table | ds.Dataset) -> None:
        with engine(memory_limit=MEMORY) as connection:
            connection.register("transactions", transactions)
            self._measure(connection, has_key=_KEY in transactions.schema.names)

    def _measure(self, connection: duckdb.DuckDBPyConnection, *, has_key: bool) -> None:
        # An id is the cleaned and keyed one where there is one. Payment and fee of one order share their id, and so
        # do a pending and a booked line: those are no repeats.
        own = "nullif(transaction_id, '')"
        known = f"coalesce(CAST({_KEY} AS VARCHAR), {own})" if has_key else own
        connection.execute(
            f"""
            CREATE TEMP TABLE measured AS
            SELECT row_uid, booked_on, amount_minor_units AS amount, currency, {own} IS NULL AS is_null,
                   CASE WHEN {known} IS NOT NULL
                        THEN md5_number_lower(concat_ws(chr(31), {known}, kind, status, currency)) END AS id
            FROM transactions
            """
        )
        [row] = connection.execute(
            """
            SELECT count(*), count(*) - count(DISTINCT row_uid), count(*) FILTER (is_null),
                   count(id) - count(DISTINCT id), min(booked_on), max(booked_on)
            FROM measured
            """
        ).fetchall()
        self.rows, self.repeated_row_uids, self.null_ids, self.repeated_ids, self.first, self.last = row
        by_currency = connection.execute(
            """
            SELECT currency, count(*), coalesce(sum(amount) FILTER (amount > 0), 0),
                   coalesce(-sum(amount) FILTER (amount < 0), 0)
            FROM measured GROUP BY currency ORDER BY currency
            """
        ).fetchall()
        self.totals = {code: CurrencyTotals(int(n), int(plus), int(minus)) for code, n, plus, minus in by_currency}
        # Sum of 32-bit parts of the keyed row_uids: the same rows give the same digest, in any order. 0 is reserved.
        sampled = connection.sql(
            f"""
            WITH small AS (SELECT DISTINCT id FROM measured WHERE id IS NOT NULL ORDER BY id LIMIT {LIMIT + 1})
            SELECT id, CAST(1 + sum(('0x' || substr(CAST(row_uid AS VARCHAR), 1, 8))::UINTEGER) % 4294967295
                            AS UINTEGER) AS rows
            FROM measured SEMI JOIN small USING (id) GROUP BY id ORDER BY id
            """
        )
        self.ids = IdSample.of_rows(sampled.to_arrow_table())


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
