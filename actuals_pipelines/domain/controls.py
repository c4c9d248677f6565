"""What a statement says about itself, so that what was read can be held against it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class StatementControls:
    """The sums of one statement (one account, one currency), read and stated. All amounts in minor units.

    `credits` and `debits` are what the reader added up over booked entries, both as positive numbers; `stated_*`
    is what the file itself claims. None means that the file does not say.

    `statement` names the statement within its account, `number` is the sender's own running number (CAMT ElctrncSeqNb
    or LglSeqNb, MT940 :28C:), which may start again each year. `first_on` and `last_on` are the days that the statement
    covers: its own period, else the days of its balances, else the first and last booking date of its entries.
    """

    account: str | None
    statement: str | None
    currency: str
    opening: int | None
    closing: int | None
    credits: int
    debits: int
    entries: int
    stated_credits: int | None = None
    stated_debits: int | None = None
    stated_entries: int | None = None
    number: str | None = None
    first_on: date | None = None
    last_on: date | None = None

    @property
    def gap(self) -> int | None:
        """Closing less opening and movement: 0 when the balances chain, None when one of them is not stated."""
        if self.opening is None or self.closing is None:
            return None
        return self.closing - (self.opening + self.credits - self.debits)

    @property
    def agrees(self) -> bool:
        """Nothing that is stated contradicts what was read."""
        stated = (
            (self.stated_credits, self.credits),
            (self.stated_debits, self.debits),
            (self.stated_entries, self.entries),
        )
        return self.gap in (None, 0) and all(claim in (None, read) for claim, read in stated)
