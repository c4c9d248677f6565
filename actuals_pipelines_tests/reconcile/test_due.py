"""Which days count as business days, and what a calendar adds to Saturday and Sunday."""

from __future__ import annotations

from datetime import date

from actuals_pipelines.domain.package import Calendar, Due
from actuals_pipelines.reconcile.due import due_day, holidays_of


def test_a_countrys_holidays_and_listed_days_are_no_business_days() -> None:
    """Friday 24 April 2026 and a business day: Monday is King's Day, Tuesday is listed, so Wednesday."""
    days = holidays_of(Calendar("NL", (date(2026, 4, 28),)), date(2026, 4, 24))

    assert due_day(date(2026, 4, 24), Due(1, business=True), days) == date(2026, 4, 29)
    assert due_day(date(2026, 4, 24), Due(1, business=True)) == date(2026, 4, 27)


def test_a_package_without_a_calendar_has_no_holidays() -> None:
    assert holidays_of(Calendar(), date(2026, 4, 24)) == frozenset()
