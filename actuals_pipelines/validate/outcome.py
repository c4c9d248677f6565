"""What a check says: names, a severity, an outcome and counts; never a customer's value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from actuals_pipelines.domain.unit import Verdict


class Severity(StrEnum):
    """What a failure means."""

    CRITICAL = "critical"  # the unit is held
    WARNING = "warning"


class Outcome(StrEnum):
    """What became of a check. Could not run says nothing about the data."""

    PASSED = "passed"
    FAILED = "failed"
    COULD_NOT_RUN = "could_not_run"


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """One check of one unit or day. `severity` is that of what decided; of a passed check, the highest it could have.

    `subject` names one of the tenant's own expectations by place, type and columns; empty for the house's checks.
    """

    check: str
    severity: Severity
    outcome: Outcome
    subject: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)  # rows, records, statements, ...; no amounts

    @property
    def holds(self) -> bool:
        """Whether anything but a pass of this check keeps a unit from being published."""
        return self.severity is Severity.CRITICAL

    def as_mapping(self) -> dict[str, object]:
        """As the catalogue keeps it: check, severity, outcome and, where there are any, subject and counts."""
        kept: dict[str, object] = {
            "check": self.check,
            "severity": self.severity.value,
            "outcome": self.outcome.value,
        }
        if self.subject:
            kept["subject"] = self.subject
        if self.counts:
            kept["counts"] = dict(self.counts)
        return kept


@dataclass(frozen=True, slots=True)
class UnitVerdict:
    """Whether a unit may be published, and why."""

    verdict: Verdict  # passed | held | could_not_run
    checks: tuple[CheckOutcome, ...]


def verdict_of(checks: Iterable[CheckOutcome]) -> Verdict:
    """Only critical checks decide. Could-not-run comes first: nobody should release what was judged by half."""
    deciding = {check.outcome for check in checks if check.holds}
    if Outcome.COULD_NOT_RUN in deciding:
        return Verdict.COULD_NOT_RUN
    return Verdict.HELD if Outcome.FAILED in deciding else Verdict.PASSED


def combined(check: str, parts: Sequence[CheckOutcome]) -> CheckOutcome:
    """One outcome of a check that has several expectations: the gravest."""
    gravest = max(parts, key=_gravity)
    severity = gravest.severity
    if gravest.outcome is Outcome.PASSED and any(part.holds for part in parts):
        severity = Severity.CRITICAL
    counts = {name: count for part in parts for name, count in part.counts.items()}
    return CheckOutcome(check, severity, gravest.outcome, counts=counts)


def could_run(checks: Sequence[CheckOutcome]) -> CheckOutcome:
    """The check over the checks: whether each of them came to an answer."""
    stuck = [check for check in checks if check.outcome is Outcome.COULD_NOT_RUN]
    weighed = stuck or checks
    severity = Severity.CRITICAL if any(check.holds for check in weighed) else Severity.WARNING
    outcome = Outcome.COULD_NOT_RUN if stuck else Outcome.PASSED
    return CheckOutcome("could_run", severity, outcome, counts={"checks": len(checks), "could_not_run": len(stuck)})


def _gravity(part: CheckOutcome) -> tuple[bool, int]:
    order = (Outcome.PASSED, Outcome.FAILED, Outcome.COULD_NOT_RUN)
    return part.holds and part.outcome is not Outcome.PASSED, order.index(part.outcome)
