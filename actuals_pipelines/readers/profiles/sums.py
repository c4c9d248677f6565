"""What the entries of a file add up to, held against what it says itself: running balances, footers, sums of nought."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actuals_pipelines.domain.controls import StatementControls
from actuals_pipelines.domain.money import exponent
from actuals_pipelines.readers.profiles.profile import Profile
from actuals_pipelines.tables import LINE

_MAX_STATEMENTS = 100_000  # by then `statement` or `account` is no such thing
_MAX_WORDS, _MAX_TOLD = 1_000, 20
_KEYS = ("account", "statement", "currency")
Key = tuple[str | None, str | None, str]


@dataclass(slots=True)
class _Chain:
    """Running balances of one account: whether each follows from its neighbour, read from either end.

    Of the two orders the one with more links is the file's: newest last, or newest first.
    """

    first: tuple[int, int] | None = None  # movement, balance
    last: tuple[int, int] | None = None
    links_down: int = 0  # newest last: a balance is the one above plus its own movement
    links_up: int = 0
    broken_down: int | None = None  # the first line that does not follow
    broken_up: int | None = None

    def add(self, line: int, movement: int, balance: int) -> None:
        if self.last is None:
            self.first = (movement, balance)
        else:
            above_movement, above = self.last
            if above + movement == balance:
                self.links_down += 1
            elif self.broken_down is None:
                self.broken_down = line
            if balance + above_movement == above:
                self.links_up += 1
            elif self.broken_up is None:
                self.broken_up = line
        self.last = (movement, balance)

    @property
    def ends(self) -> tuple[int, int]:
        """Opening and closing balance."""
        assert self.first is not None and self.last is not None  # noqa: S101 - a chain begins with a record
        oldest, newest = (self.first, self.last) if self.links_down >= self.links_up else (self.last, self.first)
        return oldest[1] - oldest[0], newest[1]

    @property
    def broken(self) -> int | None:
        return self.broken_down if self.links_down >= self.links_up else self.broken_up


@dataclass(slots=True)
class Sums:
    """Collects batch by batch; flat but for one line for each statement."""

    profile: Profile
    found: dict[Key, list[int]] = field(default_factory=dict)  # credits, debits, entries
    chains: dict[Key, _Chain] = field(default_factory=dict)
    stated: list[dict[str, Any]] = field(default_factory=list)
    noted: dict[int, list[int]] = field(default_factory=dict)  # place of a check -> records, first line
    unknown: dict[str, int] = field(default_factory=dict)

    def add(self, entries: pa.RecordBatch) -> None:
        """One batch of a program's `entries`, without rejects."""
        needed = {*_KEYS, LINE, "_amount", "_movement", "_balance"}
        counted = entries.select([name for name in entries.schema.names if name in needed])
        if counted.column("_amount").null_count:
            counted = counted.filter(counted.column("_amount").is_valid())
        if len(counted):
            self._add_amounts(counted)
        if self.profile.balance:
            self._add_balances(counted.filter(counted.column("_balance").is_valid()))
        unknown = entries.column("_unknown")
        words = unknown.drop_null() if unknown.null_count < len(unknown) else unknown[:0]
        for each in pc.value_counts(words).to_pylist() if len(words) else []:
            if each["values"] in self.unknown or len(self.unknown) < _MAX_WORDS:
                self.unknown[each["values"]] = self.unknown.get(each["values"], 0) + each["counts"]
        noted = entries.column("_noted")
        if noted.null_count < len(noted):
            failed = entries.select(["_noted", LINE]).filter(noted.is_valid())
            for place, line in zip(*(column.to_pylist() for column in failed.columns), strict=True):
                self.noted.setdefault(place, [0, line])[0] += 1

    def _add_amounts(self, counted: pa.RecordBatch) -> None:
        amounts = _whole(counted.column("_amount")) if len(counted) else np.array([], np.int64)
        blank = pa.nulls(len(counted), pa.string())
        filled = {name: counted.column(name) if name in counted.schema.names else blank for name in _KEYS}
        currency = filled["currency"].dictionary_encode()
        names = [each.as_py() or "" for each in currency.dictionary]
        place = pc.fill_null(currency.indices, len(names)).to_numpy(zero_copy_only=False)
        # Amounts are whole numbers of 10^-decimals; what is finer than the currency's minor unit is left to
        # normalising, which rejects it.
        steps = np.array([10 ** (self.profile.amounts.decimals - exponent(name)) for name in [*names, ""]], np.int64)
        step = steps[place]
        minor = np.where(amounts % step == 0, amounts // step, 0)
        table = pa.table(
            {
                **filled, "credit": np.maximum(minor, 0), "debit": np.maximum(-minor, 0),
            }
        )  # fmt: skip
        sums = [("credit", "sum"), ("debit", "sum"), ("credit", "count")]
        grouped = table.group_by(list(_KEYS), use_threads=False).aggregate(sums)
        for row in grouped.to_pylist():
            key = (row["account"], row["statement"], row["currency"] or "")
            if key not in self.found and len(self.found) >= _MAX_STATEMENTS:
                continue
            totals = self.found.setdefault(key, [0, 0, 0])
            for total, name in enumerate(("credit_sum", "debit_sum", "credit_count")):
                totals[total] += row[name]

    def _add_balances(self, chained: pa.RecordBatch) -> None:
        blank = [None] * len(chained)
        keys = [chained.column(name).to_pylist() if name in chained.schema.names else blank for name in (*_KEYS, LINE)]
        movements, balances = (_whole(chained.column(name)).tolist() for name in ("_movement", "_balance"))
        for account, statement, currency, line, movement, balance in zip(*keys, movements, balances, strict=True):
            chain = self.chains.setdefault((account, statement, currency or ""), _Chain())
            step = 10 ** (self.profile.amounts.decimals - exponent(currency or ""))
            chain.add(line, movement // step, balance // step)

    def controls(self) -> list[StatementControls]:
        """One for each statement, account and currency."""
        ends = 0 if self.profile.is_zero_sum else None
        made = [
            StatementControls(
                account=account, statement=statement, currency=currency, opening=ends, closing=ends,
                credits=credits, debits=debits, entries=entries,
            )
            for (account, statement, currency), (credits, debits, entries) in self.found.items()
        ]  # fmt: skip
        chained = []
        for control in made:
            chain = self.chains.get((control.account, control.statement, control.currency))
            if chain is not None:
                opening, closing = chain.ends
                control = replace(control, opening=opening, closing=closing)  # noqa: PLW2901
            chained.append(control)
        for said in self.stated:
            chained = self._with_stated(chained, said)
        return chained

    def _with_stated(self, controls: list[StatementControls], said: dict[str, Any]) -> list[StatementControls]:
        """The controls that a footer is about get what it states; one about none becomes a control of its own."""
        names = ("account", "statement", "currency")

        def fits(control: StatementControls) -> bool:
            return all(said[name] is None or said[name] == getattr(control, name) for name in names)

        claims = {
            name: said[given]
            for given, name in (
                ("credits", "stated_credits"),
                ("debits", "stated_debits"),
                ("entries", "stated_entries"),
                ("opening", "opening"),
                ("closing", "closing"),
            )
            if said[given] is not None
        }
        if not claims:
            return controls
        if not any(fits(control) for control in controls):
            empty = StatementControls(
                said["account"], said["statement"], said["currency"] or "", None, None, credits=0, debits=0, entries=0
            )
            return [*controls, replace(empty, **claims)]
        return [replace(control, **claims) if fits(control) else control for control in controls]

    def notes(self) -> dict[str, str]:
        """What is noted: words without a kind, records that contradict themselves, where balances do not chain."""
        notes = {}
        if self.unknown:
            most = sorted(self.unknown.items(), key=lambda each: (-each[1], each[0]))[:_MAX_TOLD]
            notes["kinds"] = "taken as other: " + ", ".join(f"{word!r} ({count})" for word, count in most)
        if self.noted:
            told = sorted(self.noted.items())
            checks = self.profile.checks
            notes["contradicts"] = "; ".join(
                f"{checks[p].that}: not in {n}, first line {line}" for p, (n, line) in told
            )
        broken = [chain.broken for chain in self.chains.values() if chain.broken is not None]
        if self.chains:
            notes["balance"] = f"does not chain at line {min(broken)}" if broken else "chains"
        return notes


def _whole(amounts: pa.Array) -> Any:
    """A column of `amount_type` as whole numbers: the lower half of its 128 bits, into which it fits."""
    words = np.frombuffer(amounts.buffers()[1], np.int64)
    return words[2 * amounts.offset : 2 * (amounts.offset + len(amounts)) : 2]
