"""One message: what its header and balances say, and what its entries add up to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from actuals_pipelines.domain.controls import StatementControls
from actuals_pipelines.readers.mt940.entry import Balance, Total


@dataclass
class Statement:
    """One message while its fields pass by; `carried` is what the pages before it add up to."""

    reference: str | None = None
    account: str | None = None
    number: str | None = None
    currency: str | None = None
    opening: Balance | None = None
    closing: Balance | None = None
    begins_between: bool = False  # :60M:
    ends_between: bool = False  # :62M:
    is_closed: bool = False
    has_interim_fields: bool = False
    entries: int = 0
    credits: int = 0
    debits: int = 0
    first_on: str | None = None
    last_on: str | None = None
    stated_debits: Total | None = None
    stated_credits: Total | None = None

    @property
    def name(self) -> str | None:
        return self.number or self.reference

    def add(self, *, entries: int, credits: int, debits: int, first_on: str | None, last_on: str | None) -> None:
        """Count booked entries: sums in minor units, days as YYYY-MM-DD."""
        self.entries += entries
        self.credits += credits
        self.debits += debits
        self.first_on = min((day for day in (self.first_on, first_on) if day), default=None)
        self.last_on = max((day for day in (self.last_on, last_on) if day), default=None)

    def continues(self, before: Statement) -> bool:
        """Whether it is the next page of that statement."""
        return (
            before.ends_between
            and self.begins_between
            and self.account == before.account
            and self.number == before.number
            and self.opening is not None
            and before.closing is not None
            and self.opening.minor_units == before.closing.minor_units
        )

    def carry(self, before: Statement) -> None:
        """Take over what the pages before it hold."""
        self.opening, self.begins_between = before.opening, before.begins_between
        self.add(
            entries=before.entries,
            credits=before.credits,
            debits=before.debits,
            first_on=before.first_on,
            last_on=before.last_on,
        )

    def controls(self) -> StatementControls:
        """What it adds up to against what it states."""
        debits, credits = self.stated_debits, self.stated_credits
        first_on, last_on = self._days()
        return StatementControls(
            account=self.account,
            statement=self.name,
            currency=self.currency or "",
            opening=self.opening.minor_units if self.opening else None,
            closing=self.closing.minor_units if self.closing else None,
            credits=self.credits,
            debits=self.debits,
            entries=self.entries,
            stated_credits=credits.minor_units if credits else None,
            stated_debits=debits.minor_units if debits else None,
            stated_entries=credits.entries + debits.entries if credits and debits else None,
            number=self.number,
            first_on=first_on,
            last_on=last_on,
        )

    def _days(self) -> tuple[date | None, date | None]:
        """The days of its balances if they make sense, else those of its entries."""
        if self.opening and self.closing and self.opening.on <= self.closing.on:
            return self.opening.on, self.closing.on
        days = [date.fromisoformat(day) if day else None for day in (self.first_on, self.last_on)]
        return days[0], days[1]
