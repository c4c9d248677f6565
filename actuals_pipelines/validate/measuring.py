"""Measure a unit: one pass over its transactions, and what its reader and normalising say about themselves.

In columns, without the engine: most units are small, and a connection and its statements would cost more than they.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actuals_pipelines.domain.controls import StatementControls
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.validate.profile import AmountSums, CurrencyTotals, Profile
from actuals_pipelines.validate.sample import LIMIT, IdSample
from actuals_pipelines.validate.statements import StatementBalances, bounded_balances

Numbers = npt.NDArray[np.uint64]

_KEY = "key_transaction_id"
_DECIMAL = pa.decimal128(38, 0)  # Arrow's sums of int64 wrap; 38 digits hold any number of rows


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


class Measuring:
    """Measures one unit: `add` each of its chunks, then `profile`. Some 25 bytes a row are kept."""

    def __init__(self) -> None:
        self._uids: list[Numbers] = []  # (n, 2): the two halves of each row_uid
        self._ids: list[Numbers] = []  # of the rows that have an id
        self._id_rows: list[Numbers] = []  # the half of their row_uid that tells rows apart in the sample
        self._null_ids = 0
        self._first: date | None = None
        self._last: date | None = None
        self._totals: dict[str, CurrencyTotals] = {}

    def add(self, transactions: pa.Table) -> None:
        """Add transactions, schema `tables.TRANSACTIONS` and more; their `key_transaction_id` makes the ids."""
        if not transactions.num_rows:
            return
        uids = _halves(transactions["row_uid"])
        ids, has_id = _ids(transactions)
        self._uids.append(uids)
        self._ids.append(ids[has_id])
        self._id_rows.append(uids[has_id, 0] & np.uint64(0xFFFFFFFF))
        self._null_ids += pc.sum(pc.invert(_is_filled(transactions["transaction_id"]))).as_py()
        booked = pc.min_max(transactions["booked_on"]).as_py()
        if booked["min"] is not None:
            self._first = min(self._first or date.max, booked["min"])
            self._last = max(self._last or date.min, booked["max"])
        for currency, found in _totals(transactions).items():
            before = self._totals.get(currency, CurrencyTotals(0, 0, 0))
            self._totals[currency] = CurrencyTotals(
                before.rows + found.rows, before.credits + found.credits, before.debits + found.debits
            )

    def repeated_row_uids(self) -> int:
        """Rows so far after the first with the same row_uid."""
        uids = np.concatenate(self._uids) if self._uids else np.empty((0, 2), np.uint64)
        halves = np.sort(uids[:, 0])
        if not np.any(halves[1:] == halves[:-1]):  # they are digests: equal halves mean equal ids, but for an accident
            return 0
        return len(uids) - len(np.unique(uids, axis=0))

    def profile(
        self, counts: Mapping[str, int], amounts: Mapping[str, Flow], controls: Sequence[StatementControls] = ()
    ) -> Profile:
        """The unit's profile.

        Args:
            counts: records: raw, stored, rejected; if known not_taken, repeats; rows: transactions, rejects.
            amounts: by currency, as normalising counted them.
            controls: what the file's statements say about themselves.

        Raises:
            CountsIncomplete.
        """
        missing = [name for name in ("raw", "stored", "rejected") if name not in counts]
        if missing:
            raise CountsIncomplete(missing, sorted(counts))
        return _profile(self._found(), counts, amounts, controls)

    def _found(self) -> _Found:
        nothing = np.empty(0, np.uint64)
        ids, rows = (np.concatenate([nothing, *parts]) for parts in (self._ids, self._id_rows))
        distinct = np.unique(ids)
        return _Found(
            rows=sum(len(part) for part in self._uids),
            repeated_row_uids=self.repeated_row_uids(),
            null_ids=self._null_ids,
            repeated_ids=len(ids) - len(distinct),
            first=self._first,
            last=self._last,
            totals=dict(sorted(self._totals.items())),
            ids=_sample(distinct[: LIMIT + 1], ids, rows),
        )


def _halves(uuids: pa.ChunkedArray) -> Numbers:
    """UUIDs as two numbers each: (n, 2); what stands for a null means nothing."""
    stored = pa.concat_arrays(uuids.chunks).storage
    content = np.frombuffer(stored.buffers()[1], dtype="<u8", count=2 * len(stored), offset=16 * stored.offset)
    return content.reshape(-1, 2).astype(np.uint64, copy=False)


def _is_filled(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(pc.greater(pc.binary_length(texts), 0), False)


def _ids(transactions: pa.Table) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """A digest per row of what makes it repeat another, and which rows have one.

    An id is the cleaned and keyed one where there is one. Payment and fee of one order share their id, and so do a
    pending and a booked line: those are no repeats.
    """
    texts = transactions["transaction_id"]
    has_text = _is_filled(texts).to_numpy()
    if _KEY in transactions.schema.names and transactions[_KEY].null_count < transactions.num_rows:
        keys = transactions[_KEY]
        has_key = keys.is_valid().to_numpy()
        ids = _halves(keys)[:, 0].copy()
    else:
        has_key = np.zeros(transactions.num_rows, np.bool_)
        ids = np.zeros(transactions.num_rows, np.uint64)
    unkeyed = has_text & ~has_key
    if unkeyed.any():
        ids[unkeyed] = _digests(texts.filter(pa.array(unkeyed)))
    # Keys and digests are evenly spread, so that what tells them apart may be added by xor.
    for name in ("kind", "status", "currency"):
        ids ^= _digests(transactions[name], name)
    return ids, has_key | unkeyed


def _digests(texts: pa.ChunkedArray, use: str = "") -> Numbers:
    """64 bits per text; each different text is hashed once."""
    encoded = pa.concat_arrays(texts.chunks).dictionary_encode()
    person = use.encode()
    hashes = [
        int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, person=person).digest(), "little")
        for text in encoded.dictionary.to_pylist()
    ]
    numbers: Numbers = np.array(hashes, np.uint64)[encoded.indices.to_numpy(zero_copy_only=False)]
    return numbers


def _totals(transactions: pa.Table) -> dict[str, CurrencyTotals]:
    amount = transactions["amount_minor_units"]
    signed = {
        "currency": transactions["currency"],
        "credits": pc.max_element_wise(amount, 0).cast(_DECIMAL),
        "debits": pc.min_element_wise(amount, 0).cast(_DECIMAL),
    }
    summed = pa.table(signed).group_by("currency").aggregate([([], "count_all"), ("credits", "sum"), ("debits", "sum")])
    return {
        row["currency"]: CurrencyTotals(row["count_all"], int(row["credits_sum"]), -int(row["debits_sum"]))
        for row in summed.to_pylist()
    }


def _sample(smallest: Numbers, ids: Numbers, rows: Numbers) -> IdSample:
    """The sample of the smallest different ids, sorted; of each the sum of its rows' numbers.

    The same rows give the same sum, in any order. 0 is reserved.
    """
    is_small = ids <= smallest[-1] if len(smallest) else np.empty(0, np.bool_)
    places = np.searchsorted(smallest, ids[is_small])
    order = np.argsort(places, kind="stable")
    starts = np.searchsorted(places[order], np.arange(len(smallest)))
    sums = np.add.reduceat(rows[is_small][order], starts) if len(smallest) else np.empty(0, np.uint64)
    numbers = (sums % np.uint64(2**32 - 1) + np.uint64(1)).astype(np.uint32)
    return IdSample.of_rows(pa.table({"id": pa.array(smallest, pa.uint64()), "rows": pa.array(numbers, pa.uint32())}))


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
