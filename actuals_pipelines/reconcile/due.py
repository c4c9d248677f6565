"""When a missing other side is overdue: calendar or business days, and what the other source has delivered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from actuals_pipelines.domain.package import Due

SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Clock:
    """All that the reasons of open groups know of time; without `as_of` nothing is too early to be missing."""

    as_of: date | None = None
    coverage: Mapping[str, date] | None = None  # source -> last day it has delivered completely; None: all, always
    holidays: frozenset[date] = frozenset()


def due_day(day: date, due: Due, holidays: Collection[date] = ()) -> date:
    """The last day on which the other side is still in time.

    Business days are Monday to Friday less `holidays`: 3 business days after a Friday is the Wednesday.
    """
    if not due.business:
        return day + timedelta(days=due.days)
    left = due.days
    while left > 0:
        day += timedelta(days=1)
        if day.weekday() < SATURDAY and day not in holidays:
            left -= 1
    return day


def covered_through(sources: Iterable[str], coverage: Mapping[str, date] | None) -> date | None:
    """The day through which all of these sources are complete; None if one of them has delivered nothing yet."""
    if coverage is None:
        return date.max
    days = [coverage.get(source) for source in sources]
    known = [day for day in days if day is not None]
    return min(known) if len(known) == len(days) and known else None
