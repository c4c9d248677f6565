"""Judge what landed: a profile in one pass, and a Great Expectations suite over the profile.

Importing this room loads neither Great Expectations nor pandas: that costs seconds and 200 MB, so it happens inside
the first judgement of a process.
"""

from __future__ import annotations

from actuals_pipelines.validate.measuring import CountsIncomplete, Flow, Measuring
from actuals_pipelines.validate.outcome import CheckOutcome, Outcome, Severity, UnitVerdict
from actuals_pipelines.validate.own import ExpectationRefused, check_expectations
from actuals_pipelines.validate.own_rows import judge_own
from actuals_pipelines.validate.profile import Profile, ProfileUnreadable, merge
from actuals_pipelines.validate.statements import Finding, FindingKind, StatementBalances, bounded_balances, findings
from actuals_pipelines.validate.suite import (
    THRESHOLDS,
    DayToJudge,
    UnitToJudge,
    judge_days,
    judge_units,
    suite_digest,
)

__all__ = [
    "THRESHOLDS",
    "CheckOutcome",
    "CountsIncomplete",
    "DayToJudge",
    "ExpectationRefused",
    "Finding",
    "FindingKind",
    "Flow",
    "Measuring",
    "Outcome",
    "Profile",
    "ProfileUnreadable",
    "Severity",
    "StatementBalances",
    "UnitToJudge",
    "UnitVerdict",
    "bounded_balances",
    "check_expectations",
    "findings",
    "judge_days",
    "judge_own",
    "judge_units",
    "merge",
    "suite_digest",
]
