"""When a missing other side is overdue: calendar or business days, and what the other source has delivered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from actuals_pipelines.domain.package import Calendar, Due

SATURDAY = 5


YEARS_BACK = 5
"""What is older than this is overdue whatever the holidays: `due` has at most 999 days."""


def holidays_of(calendar: Calendar, day: date) -> frozenset[date]:
    """The days a close of `day` counts as holidays: the country's of some years around it, and the listed ones.

    A country's holidays are the library's of today; a close keeps them, so that it can be taken again as it was.
    """
    public: Iterable[date] = ()
    if calendar.country:
        import holidays  # noqa: PLC0415 - packages without a country need no library

        public = holidays.country_holidays(calendar.country, years=range(day.year - YEARS_BACK, day.year + 2))
    return frozenset([*public, *calendar.days])


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
