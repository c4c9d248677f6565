"""A unit in numbers, small enough to keep for years and made to be added up: profiles of units make the day's.

A profile names accounts and amounts, so it is kept sealed and shows none of them in its `repr`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from actuals_pipelines.errors import ActualsError
from actuals_pipelines.validate.sample import IdSample, merged, no_ids
from actuals_pipelines.validate.statements import StatementBalances, bounded_balances

_VERSION = 1


class ProfileUnreadable(ActualsError):
    """Stored bytes are no profile of a version this program knows."""

    def __init__(self, found: str) -> None:
        super().__init__(found)
        self.found = found

    def __str__(self) -> str:
        return f"A stored profile cannot be read: {self.found}. Judge its unit again: then it is measured anew."


@dataclass(frozen=True, slots=True)
class CurrencyTotals:
    """Control totals of one currency's transactions; credits and debits in minor units, both positive."""

    rows: int
    credits: int
    debits: int


@dataclass(frozen=True, slots=True)
class AmountSums:
    """Readable amounts of one currency in minor units, signed."""

    read: int
    stored: int
    rejected: int


@dataclass(frozen=True, slots=True, repr=False)
class Profile:
    """What was measured of one unit, or of several together.

    Records are the sender's, rows are transactions: one record can make several rows.
    """

    units: int = 0
    rows: int = 0
    raw: int = 0  # records: raw = stored + rejected + not_taken + repeats
    stored: int = 0
    rejected: int = 0
    not_taken: int = 0  # records that the mapping's `where` leaves out
    repeats: int = 0  # records delivered before, where a door sorts them out
    rejects: int = 0  # entries of the rejects table: one per record and field
    missing_records: int = 0  # by how much `raw` differs from its parts, without sign, summed over units
    missing_rows: int = 0  # likewise rows announced by normalising against rows found
    currencies_off: int = 0  # currencies, per unit, whose amounts read are not stored + rejected, or not what is found
    null_ids: int = 0  # rows without a transaction id
    repeated_ids: int = 0  # rows after the first with the same id, kind, status and currency, within a unit
    repeated_row_uids: int = 0  # rows after the first with the same row_uid, within a unit
    first_booked_on: date | None = None
    last_booked_on: date | None = None
    totals: Mapping[str, CurrencyTotals] = field(default_factory=dict)  # by currency
    amounts: Mapping[str, AmountSums] = field(default_factory=dict)  # by currency
    statements: int = 0
    statements_disagreeing: int = 0  # something stated contradicts what was read
    statement_gaps: int = 0  # of those, balances that do not chain
    balances: tuple[StatementBalances, ...] | None = ()  # None: more than MAX_STATEMENTS
    ids: IdSample = field(default_factory=no_ids)

    def __repr__(self) -> str:
        return f"Profile(units={self.units}, rows={self.rows}, raw={self.raw}, rejected={self.rejected})"

    def to_bytes(self) -> bytes:
        """Compact JSON: about a kilobyte and 16 bytes per transaction id, some 530 kB at most for a unit's ids."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in _NUMBERS}
        plain |= {
            "version": _VERSION,
            "booked_on": [day.isoformat() if day else None for day in (self.first_booked_on, self.last_booked_on)],
            "totals": {code: [t.rows, t.credits, t.debits] for code, t in self.totals.items()},
            "amounts": {code: [a.read, a.stored, a.rejected] for code, a in self.amounts.items()},
            "balances": None if self.balances is None else [each.plain() for each in self.balances],
            "ids": self.ids.plain(),
        }
        return json.dumps(plain, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Profile:
        """The reverse of `to_bytes`.

        Raises:
            ProfileUnreadable: other bytes, or another version's.
        """
        try:
            plain = _plain(content)
            first, last = (date.fromisoformat(day) if day else None for day in plain["booked_on"])
            return cls(
                **{name: int(plain[name]) for name in _NUMBERS},
                first_booked_on=first,
                last_booked_on=last,
                totals={code: CurrencyTotals(*each) for code, each in plain["totals"].items()},
                amounts={code: AmountSums(*each) for code, each in plain["amounts"].items()},
                balances=_balances(plain),
                ids=IdSample.of_plain(plain["ids"]),
            )
        except _DAMAGED as error:
            kind = type(error).__name__
        raise ProfileUnreadable(f"it is damaged ({kind})")  # outside the handler: the cause's text may quote it

    @staticmethod
    def balances_from_bytes(content: bytes) -> tuple[StatementBalances, ...] | None:
        """Only the statements of what `to_bytes` gave: a look back over months need not unpack the ids.

        Raises:
            ProfileUnreadable.
        """
        try:
            return _balances(_plain(content))
        except _DAMAGED as error:
            kind = type(error).__name__
        raise ProfileUnreadable(f"it is damaged ({kind})")


_DAMAGED = (ValueError, KeyError, TypeError, AttributeError)


def _plain(content: bytes) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(content)
    if plain["version"] != _VERSION:
        raise ProfileUnreadable("it is of another version")
    return plain


def _balances(plain: dict[str, Any]) -> tuple[StatementBalances, ...] | None:
    kept = plain["balances"]
    return None if kept is None else tuple(map(StatementBalances.of_plain, kept))


_NUMBERS = (
    *("units", "rows", "raw", "stored", "rejected", "not_taken", "repeats", "rejects"),
    *("missing_records", "missing_rows", "currencies_off", "null_ids", "repeated_ids", "repeated_row_uids"),
    *("statements", "statements_disagreeing", "statement_gaps"),
)


def merge(profiles: Iterable[Profile]) -> Profile:
    """The profile of all these units together; of none, an empty one. The order does not count."""
    parts = list(profiles)
    days = [day for p in parts for day in (p.first_booked_on, p.last_booked_on) if day]
    totals: dict[str, CurrencyTotals] = {}
    amounts: dict[str, AmountSums] = {}
    for part in parts:
        for code, t in part.totals.items():
            so_far = totals.get(code, CurrencyTotals(0, 0, 0))
            totals[code] = CurrencyTotals(so_far.rows + t.rows, so_far.credits + t.credits, so_far.debits + t.debits)
        for code, a in part.amounts.items():
            flow = amounts.get(code, AmountSums(0, 0, 0))
            amounts[code] = AmountSums(flow.read + a.read, flow.stored + a.stored, flow.rejected + a.rejected)
    return Profile(
        **{name: sum(getattr(part, name) for part in parts) for name in _NUMBERS},
        first_booked_on=min(days, default=None),
        last_booked_on=max(days, default=None),
        totals=totals,
        amounts=amounts,
        balances=bounded_balances([part.balances for part in parts]),
        ids=merged([part.ids for part in parts]),
    )
