"""Whether an account's statements continue one another: gaps, overlaps, re-issues, and what came out of order.

Statements arrive in any order and some banks neither number nor date them. So an account's statements are laid in a
line, by their days where all have them, else by their balances alone; where one does not open with what the one before
it closed with, the line is torn. What is found names balances, so it is for who may see the tenant's amounts;
checks and logs take `Findings.counts`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum
from itertools import pairwise
from typing import Any

MAX_STATEMENTS = 10_000
"""Statements whose balances a profile remembers; a day with more is not judged for continuity."""


@dataclass(frozen=True, slots=True, repr=False)
class StatementBalances:
    """Where one statement begins and ends, in minor units; its number and days where the sender tells them."""

    account: str
    statement: str
    currency: str
    opening: int
    closing: int
    number: str = ""
    first_on: date | None = None
    last_on: date | None = None

    def plain(self) -> list[object]:
        """As JSON can hold it."""
        days = [day.isoformat() if day else None for day in (self.first_on, self.last_on)]
        return [self.account, self.statement, self.currency, self.opening, self.closing, self.number, *days]

    @classmethod
    def of_plain(cls, plain: Sequence[Any]) -> StatementBalances:
        """The reverse of `plain`; one that was kept without number and days has none."""
        account, statement, currency, opening, closing, *rest = plain
        number, first, last = rest or ("", None, None)
        first_on, last_on = (date.fromisoformat(day) if day else None for day in (first, last))
        return cls(account, statement, currency, int(opening), int(closing), number, first_on, last_on)

    @property
    def has_movement(self) -> bool:
        """Whether it closes with another balance than it opens with."""
        return self.opening != self.closing


class FindingKind(StrEnum):
    """What can be wrong between two statements of one account."""

    GAP = "gap"  # something is missing between them
    OVERLAP = "overlap"  # they cover the same days, or open with the same balance
    REISSUE = "reissue"  # the same statement came again with other balances
    OUT_OF_ORDER = "out_of_order"  # the earlier one came on a later day


@dataclass(frozen=True, slots=True, repr=False)
class Finding:
    """One thing that is wrong, with the statement before and the one after: the range is between them."""

    kind: FindingKind
    before: StatementBalances
    after: StatementBalances

    def as_mapping(self) -> dict[str, object]:
        """For people who may see the tenant's amounts: minor units, days, numbers."""
        return {"kind": self.kind.value, "before": asdict(self.before), "after": asdict(self.after)}


def bounded_balances(parts: Sequence[Iterable[StatementBalances] | None]) -> tuple[StatementBalances, ...] | None:
    """Every statement once, however often it was delivered; None when they are too many to remember."""
    found: set[StatementBalances] = set()
    for part in parts:
        if part is None:
            return None
        found.update(part)
    return tuple(sorted(found, key=_in_order)) if len(found) <= MAX_STATEMENTS else None


def findings(today: Iterable[StatementBalances], earlier: Iterable[StatementBalances] = ()) -> list[Finding]:
    """What is wrong with today's statements, among themselves and against those that were delivered on earlier days.

    Args:
        earlier: in force and delivered before, as far back as is known. What is wrong among them alone was found on
            their own days, and is not found again.
    """
    by_account: dict[tuple[str, str], dict[StatementBalances, bool]] = defaultdict(dict)
    for known in earlier:
        by_account[known.account, known.currency][known] = False
    for each in today:  # one that was delivered before is no news
        by_account[each.account, each.currency].setdefault(each, True)
    return [found for account in by_account.values() if any(account.values()) for found in _of_account(account)]


def _of_account(is_new: dict[StatementBalances, bool]) -> Iterator[Finding]:
    """Findings of one account; `is_new` has the earlier ones first."""
    standing = list(is_new)
    for older, newer in _reissues(is_new):
        yield Finding(FindingKind.REISSUE, older, newer)
        if older in standing:
            standing.remove(older)  # what came later stands
    line = _in_line(standing)
    for before, after in pairwise(line):
        if not (is_new[before] or is_new[after]):
            continue
        if before.closing != after.opening:
            kind = FindingKind.OVERLAP if _overlap(before, after) else FindingKind.GAP
            yield Finding(kind, before, after)
        if is_new[before] and not is_new[after]:
            yield Finding(FindingKind.OUT_OF_ORDER, before, after)


def _reissues(is_new: dict[StatementBalances, bool]) -> Iterator[tuple[StatementBalances, StatementBalances]]:
    """(older, newer): one name or number, the same days, other balances. A number alone comes back each year."""
    by_name: dict[tuple[str, str], list[StatementBalances]] = defaultdict(list)
    for each in is_new:
        if each.statement or each.number:
            by_name[each.statement, each.number].append(each)
    for alike in by_name.values():
        for older, newer in pairwise(alike):
            if is_new[newer] and _share_days(older, newer):
                yield older, newer


def _share_days(one: StatementBalances, other: StatementBalances) -> bool:
    """Whether two statements are about the same time; where days are not told, whether they open alike."""
    days = (one.first_on, one.last_on, other.first_on, other.last_on)
    if any(day is None for day in days):
        return one.opening == other.opening
    first, last, other_first, other_last = (day for day in days if day is not None)
    return first <= other_last and other_first <= last


def _overlap(before: StatementBalances, after: StatementBalances) -> bool:
    if before.opening == after.opening:
        return True
    return before.last_on is not None and after.first_on is not None and after.first_on < before.last_on


def _in_line(statements: list[StatementBalances]) -> list[StatementBalances]:
    """The statements as they follow one another.

    By days where all have them. One without days and movement (an empty statement) says nothing that its neighbours
    do not, and is left out where the others have days. Within a day, and where days are not told, balances decide.
    """
    dated = [each for each in statements if each.last_on is not None]
    if not dated or any(each.last_on is None and each.has_movement for each in statements):
        return _chained(statements, None)
    line: list[StatementBalances] = []
    by_days: dict[tuple[date, date], list[StatementBalances]] = defaultdict(list)
    for each in dated:
        if each.last_on is not None:
            by_days[each.last_on, each.first_on or each.last_on].append(each)
    for days in sorted(by_days):
        line += _chained(by_days[days], line[-1].closing if line else None)
    return line


def _chained(statements: Sequence[StatementBalances], balance: int | None) -> list[StatementBalances]:
    """Each statement once, continuing the balance wherever one does; else the one that no other leads to."""
    waiting: dict[int, list[StatementBalances]] = defaultdict(list)
    led_to: dict[int, int] = defaultdict(int)
    for each in statements:
        waiting[each.opening].append(each)
        led_to[each.closing] += 1
    line: list[StatementBalances] = []
    while len(line) < len(statements):
        if balance is None or not waiting.get(balance):
            open_ = [opening for opening, those in waiting.items() if those]
            balance = next((opening for opening in open_ if led_to[opening] < len(waiting[opening])), open_[0])
        those = waiting[balance]
        # Balances come back: an empty statement first, then one that leads on, so that the rest is not cut off.
        place = min(range(len(those)), key=lambda n: (those[n].has_movement, not waiting.get(those[n].closing)))
        each = those.pop(place)
        led_to[each.closing] -= 1
        line.append(each)
        balance = each.closing
    return line


def _in_order(each: StatementBalances) -> tuple[object, ...]:
    days = [day.isoformat() if day else "" for day in (each.last_on, each.first_on)]
    return (each.account, each.currency, *days, each.number, each.statement, each.opening, each.closing)
