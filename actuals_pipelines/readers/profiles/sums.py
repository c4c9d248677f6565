"""What the entries of a file add up to, held against what it says itself: running balances, footers, sums of nought."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from actuals_pipelines.domain.controls import StatementControls

_MAX_STATEMENTS = 100_000  # by then `statement` or `account` is no such thing
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

    is_zero_sum: bool = False
    found: dict[Key, list[int]] = field(default_factory=dict)  # credits, debits, entries
    chains: dict[Key, _Chain] = field(default_factory=dict)
    stated: list[dict[str, Any]] = field(default_factory=list)
    contradictions: dict[str, list[int]] = field(default_factory=dict)  # check -> records, first line

    def add(self, entries: pa.Table) -> None:
        """Entries of `ENTRY_COLUMNS` and `_minor`: what counts, in minor units; null for what does not."""
        counted = entries.filter(
            pc.and_(pc.equal(entries["status"], "booked"), pc.equal(entries["level"], "entry"))
        ).select(["account", "statement", "currency", "_minor"])
        minor = counted["_minor"]
        counted = counted.append_column("credit", pc.if_else(pc.greater(minor, 0), minor, 0))
        counted = counted.append_column("debit", pc.if_else(pc.less(minor, 0), pc.negate(minor), 0))
        sums = [("credit", "sum"), ("debit", "sum"), ("account", "count", pc.CountOptions("all"))]
        grouped = counted.group_by(["account", "statement", "currency"]).aggregate(sums)
        for row in grouped.to_pylist():
            key = (row["account"], row["statement"], row["currency"] or "")
            if key not in self.found and len(self.found) >= _MAX_STATEMENTS:
                continue
            totals = self.found.setdefault(key, [0, 0, 0])
            for place, name in enumerate(("credit_sum", "debit_sum", "account_count")):
                totals[place] += row[name] or 0

    def add_balances(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Rows of (account, statement, currency, line, movement, balance) in the file's order."""
        for account, statement, currency, line, movement, balance in rows:
            if movement is not None and balance is not None:
                self.chains.setdefault((account, statement, currency), _Chain()).add(line, movement, balance)

    def controls(self) -> list[StatementControls]:
        """One for each statement, account and currency."""
        made = [
            StatementControls(
                account=account, statement=statement, currency=currency, opening=0 if self.is_zero_sum else None,
                closing=0 if self.is_zero_sum else None, credits=credits, debits=debits, entries=entries,
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
        """What contradicts itself, and where running balances do not follow from one another, by line."""
        said = [f"{check}: not in {count}, first line {line}" for check, (count, line) in self.contradictions.items()]
        notes = {"contradicts": "; ".join(said)} if said else {}
        broken = [chain.broken for chain in self.chains.values() if chain.broken is not None]
        if not self.chains:
            return notes
        return notes | {"balance": f"does not chain at line {min(broken)}" if broken else "chains"}
