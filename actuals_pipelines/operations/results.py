"""What a take-in and a close tell their caller: counts and verdicts per day, never a customer's value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

ARRIVALS_REFUSED = "arrivals_refused"
"""Among a landed day's counts: deliveries that are not what their rows say. Somebody must be told."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check's verdict on one day. `outcome` is passed, failed or could_not_run; `holds` says what failure means."""

    name: str
    outcome: str
    holds: bool


@dataclass(frozen=True, slots=True)
class DayResult:
    """One source-day (or close day) after a step."""

    day: date
    outcome: str  # landed | nothing | passed | held | could_not_run | published | provisional
    counts: Mapping[str, int] = field(default_factory=dict)
    checks: tuple[CheckResult, ...] = ()

    @property
    def is_held(self) -> bool:
        """Whether this day must not go on: a check held it, or could not run."""
        return self.outcome in ("held", "could_not_run")


@dataclass(frozen=True, slots=True)
class Waiting:
    """What one tenant has waiting: source -> days landed and not published; package -> close days not reconciled."""

    sources: Mapping[str, tuple[date, ...]]
    packages: Mapping[str, tuple[date, ...]]
    mark: str  # changes when something lands or is published: what failed before is then worth another try at once
