"""The suites: what a unit and a day must fulfil, as Great Expectations over one row of figures made of a profile.

No customer value is among the figures, and judging costs the same for ten rows and ten million.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from actuals_pipelines.domain.source import Source
from actuals_pipelines.validate.expectations import Expected, Met, check_figures
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
from actuals_pipelines.validate.profile import Profile, count_breaks

if TYPE_CHECKING:  # it loads pandas
    import pyarrow.dataset as ds

SUITE_VERSION = 1
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
    _Rule("continuity", "broken_chains", Severity.WARNING),
)


def judge_unit(profile: Profile, source: Source, transactions: pa.Table | ds.Dataset | None = None) -> UnitVerdict:
    """Judge one unit: totals_agree, rejects, ids, complete, then the tenant's own expectations, then could_run.

    Args:
        transactions: the unit's rows, looked at only where the source has expectations of its own; without them
            those could not run.
    """
    house = _outcomes(_UNIT_RULES, _unit_figures(profile, source))
    checks = (*house, *judge_own(transactions, source))
    checks = (*checks, could_run(checks))
    return UnitVerdict(verdict_of(checks), checks)


def judge_day(
    profile: Profile, history: Sequence[int], source: Source, *, before: Profile | None = None
) -> tuple[CheckOutcome, ...]:
    """Judge a source-day: duplicates, volume, continuity, then could_run. These warn and hold nothing.

    Args:
        profile: of all the day's units, by `merge`.
        history: rows of each earlier day on which anything was delivered, oldest first; the last 28 count.
        before: the profile of the last earlier day that had statements, if it is known.
    """
    checks = _outcomes(_DAY_RULES, _day_figures(profile, history, before))
    checks = (*checks, could_run(checks))
    for each in checks:
        if each.outcome is not Outcome.PASSED:
            log.info("day check: source=%s check=%s outcome=%s", source.name, each.check, each.outcome.value)
    return checks


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


def _unit_figures(profile: Profile, source: Source) -> dict[str, float]:
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


def _day_figures(profile: Profile, history: Sequence[int], before: Profile | None) -> dict[str, float | None]:
    return {
        "ids_in_several_units": profile.ids.in_several_units,
        "volume_ratio": _volume_ratio(profile.rows, history[-THRESHOLDS.volume_days :]),
        "broken_chains": _broken_chains(profile, before),
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


def _broken_chains(profile: Profile, before: Profile | None) -> int | None:
    """Openings that are nobody's closing, today or on the day before; None where there are too many statements."""
    if profile.balances is None:
        return None
    if before is None or before.balances is None:
        return count_breaks(profile.balances)
    # Only accounts that have a statement today: one that is silent has nothing to be continued.
    today = {(each.account, each.currency) for each in profile.balances}
    earlier = [each for each in before.balances if (each.account, each.currency) in today]
    return max(0, count_breaks({*profile.balances, *earlier}) - count_breaks(earlier))


def _outcomes(rules: Sequence[_Rule], figures: Mapping[str, float | None]) -> tuple[CheckOutcome, ...]:
    """Every rule by Great Expectations on one row, then one outcome per check, in the rules' order."""
    known = {name: float(figure) for name, figure in figures.items() if figure is not None}
    met = check_figures(known, [_as_expected(rule) for rule in rules])
    parts: dict[str, list[CheckOutcome]] = {}
    for rule, found in zip(rules, met, strict=True):
        is_shown = rule.is_count and math.isfinite(known.get(rule.figure, math.nan))
        counts = {rule.figure: int(known[rule.figure])} if is_shown else {}
        outcome = CheckOutcome(rule.check, rule.severity, _outcome(found), counts=counts)
        parts.setdefault(rule.check, []).append(outcome)
    return tuple(combined(name, each) for name, each in parts.items())


def _as_expected(rule: _Rule) -> Expected:
    arguments = {"column": rule.figure, "min_value": rule.at_least, "max_value": rule.at_most}
    return Expected("expect_column_values_to_be_between", {**arguments, "severity": rule.severity.value})


def _outcome(met: Met | None) -> Outcome:
    if met is None or met.elements != 1:  # a figure that is no number would be left out, and so "pass"
        return Outcome.COULD_NOT_RUN
    return Outcome.FAILED if met.unexpected else Outcome.PASSED
