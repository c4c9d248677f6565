"""The suites: what a unit and a day must fulfil, as Great Expectations over one row of figures per unit or day.

No customer value is among the figures, and judging costs the same for ten rows and ten million, one unit and a
thousand: Great Expectations costs a tenth of a second each time it is asked, so it is asked once for all of them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from actuals_pipelines.domain.source import Source
from actuals_pipelines.validate.expectations import Expected, check_rows
from actuals_pipelines.validate.outcome import (
    CheckOutcome,
    Outcome,
    Severity,
    UnitVerdict,
    combined,
    could_run,
    verdict_of,
)
from actuals_pipelines.validate.own_rows import judge_own
from actuals_pipelines.validate.profile import Profile
from actuals_pipelines.validate.statements import FindingKind, StatementBalances, findings

SUITE_VERSION = 2
"""Raise it when the same profile is judged differently."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where judging draws its lines."""

    reject_share: float = 0.05  # of the records that the mapping takes; more holds the unit
    volume_factor: float = 4.0  # rows of a day, against the mean: from a quarter to four times
    volume_days: int = 28
    volume_days_at_least: int = 7  # of history; below, a day's rows say nothing yet


THRESHOLDS = Thresholds()


@dataclass(frozen=True, slots=True)
class _Rule:
    check: str
    figure: str
    severity: Severity
    at_most: float = 0
    at_least: float = 0
    is_count: bool = True  # shown in the outcome


_UNIT_RULES = (
    _Rule("totals_agree", "statements_disagreeing", Severity.CRITICAL),
    _Rule("totals_agree", "statement_gaps", Severity.CRITICAL),
    _Rule("rejects", "rejected_records", Severity.WARNING),
    _Rule("rejects", "reject_share", Severity.CRITICAL, at_most=THRESHOLDS.reject_share, is_count=False),
    _Rule("ids", "null_ids", Severity.WARNING),
    _Rule("ids", "repeated_ids", Severity.WARNING),
    _Rule("ids", "repeated_row_uids", Severity.CRITICAL),
    _Rule("complete", "missing_records", Severity.CRITICAL),
    _Rule("complete", "missing_rows", Severity.CRITICAL),
    _Rule("complete", "currencies_off", Severity.CRITICAL),
)
_DAY_RULES = (
    _Rule("duplicates", "ids_in_several_units", Severity.WARNING),
    _Rule(
        "volume",
        "volume_ratio",
        Severity.WARNING,
        at_most=THRESHOLDS.volume_factor,
        at_least=1 / THRESHOLDS.volume_factor,
        is_count=False,
    ),
    *(_Rule("continuity", f"statements_{kind.value}", Severity.WARNING) for kind in FindingKind),
)


@dataclass(frozen=True, slots=True)
class UnitToJudge:
    """One unit's profile, and what came of the tenant's own expectations on its rows (`judge_own`).

    Without that (None) the source's own expectations could not run.
    """

    profile: Profile
    own: tuple[CheckOutcome, ...] | None = None


@dataclass(frozen=True, slots=True)
class DayToJudge:
    """One source-day.

    `profile`: of all its units, by `merge`. `history`: rows of each earlier day on which anything was delivered,
    oldest first; the last 28 count. `earlier`: statements in force that were delivered on earlier days; None where
    they are too many to remember.
    """

    profile: Profile
    history: Sequence[int] = ()
    earlier: Sequence[StatementBalances] | None = field(default=(), repr=False)


def judge_units(units: Sequence[UnitToJudge], source: Source) -> list[UnitVerdict]:
    """Judge units of one source, each for itself: totals_agree, rejects, ids, complete, own_expectations, could_run."""
    verdicts = []
    figures = [_unit_figures(unit.profile, source) for unit in units]
    for unit, house in zip(units, _outcomes(_UNIT_RULES, figures), strict=True):
        checks = (*house, *(judge_own(None, source) if unit.own is None else unit.own))
        checks = (*checks, could_run(checks))
        verdicts.append(UnitVerdict(verdict_of(checks), checks))
    return verdicts


def judge_days(days: Sequence[DayToJudge], source: Source) -> list[tuple[CheckOutcome, ...]]:
    """Judge days of one source: duplicates, volume, continuity, then could_run. These warn and hold nothing."""
    judged = []
    for house in _outcomes(_DAY_RULES, [_day_figures(day) for day in days]):
        checks = (*house, could_run(house))
        for each in checks:
            if each.outcome is not Outcome.PASSED:
                log.info("day check: source=%s check=%s outcome=%s", source.name, each.check, each.outcome.value)
        judged.append(checks)
    return judged


def suite_digest(source: Source) -> bytes:
    """SHA-256 over everything that judging depends on besides the data: another digest, perhaps another verdict."""
    mappings = (source.mapping, *source.iterations)
    parts = [
        SUITE_VERSION,
        asdict(THRESHOLDS),
        [asdict(rule) for rule in (*_UNIT_RULES, *_DAY_RULES)],
        _maps_transaction_id(source),
        # An expectation's columns must be mapped and kept.
        sorted({name for mapping in mappings for name in (*mapping.fields, *mapping.constants)}),
        dict(source.columns),
        [dict(each) for each in source.expectations],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str).encode()).digest()


def _unit_figures(profile: Profile, source: Source) -> dict[str, float | None]:
    taken = profile.stored + profile.rejected
    return {
        "statements_disagreeing": profile.statements_disagreeing,
        "statement_gaps": profile.statement_gaps,
        "rejected_records": profile.rejected,
        "reject_share": profile.rejected / taken if taken else 0.0,
        # Bank lines have no transaction id of their own: where none is mapped, none is missing.
        "null_ids": profile.null_ids if _maps_transaction_id(source) else 0,
        "repeated_ids": profile.repeated_ids,
        "repeated_row_uids": profile.repeated_row_uids,
        "missing_records": profile.missing_records,
        "missing_rows": profile.missing_rows,
        "currencies_off": profile.currencies_off,
    }


def _day_figures(day: DayToJudge) -> dict[str, float | None]:
    statements: dict[str, float | None] = {f"statements_{kind.value}": None for kind in FindingKind}
    if day.profile.balances is not None and day.earlier is not None:
        found = Counter(each.kind for each in findings(day.profile.balances, day.earlier))
        statements = {f"statements_{kind.value}": found[kind] for kind in FindingKind}
    return {
        "ids_in_several_units": day.profile.ids.in_several_units,
        "volume_ratio": _volume_ratio(day.profile.rows, day.history[-THRESHOLDS.volume_days :]),
        **statements,
    }


def _maps_transaction_id(source: Source) -> bool:
    mappings = (source.mapping, *source.iterations)
    return any("transaction_id" in mapping.fields or "transaction_id" in mapping.constants for mapping in mappings)


def _volume_ratio(rows: int, history: Sequence[int]) -> float:
    """Rows against the mean of the days before; 1 where history is too short to say."""
    if len(history) < THRESHOLDS.volume_days_at_least:
        return 1.0
    total = sum(history)
    if total == 0:
        return 1.0 if rows == 0 else math.inf
    return rows * len(history) / total


def _outcomes(rules: Sequence[_Rule], rows: Sequence[Mapping[str, float | None]]) -> list[tuple[CheckOutcome, ...]]:
    """Every rule on every row of figures in one validation; then one outcome per check, in the rules' order."""
    answers = check_rows(rows, [_as_expected(rule) for rule in rules]) if rows else []
    return [_row_outcomes(rules, row, met) for row, met in zip(rows, answers, strict=True)]


def _row_outcomes(
    rules: Sequence[_Rule], figures: Mapping[str, float | None], met: Sequence[bool | None]
) -> tuple[CheckOutcome, ...]:
    parts: dict[str, list[CheckOutcome]] = {}
    for rule, is_met in zip(rules, met, strict=True):
        figure = figures[rule.figure]
        counts = {}
        if rule.is_count and figure is not None and math.isfinite(figure):
            counts = {rule.figure: int(figure)}
        outcome = CheckOutcome(rule.check, rule.severity, _OUTCOME[is_met], counts=counts)
        parts.setdefault(rule.check, []).append(outcome)
    return tuple(combined(name, each) for name, each in parts.items())


def _as_expected(rule: _Rule) -> Expected:
    arguments = {"column": rule.figure, "min_value": rule.at_least, "max_value": rule.at_most}
    return Expected("expect_column_values_to_be_between", {**arguments, "severity": rule.severity.value})


_OUTCOME = {True: Outcome.PASSED, False: Outcome.FAILED, None: Outcome.COULD_NOT_RUN}
