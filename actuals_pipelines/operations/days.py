"""What a source-day says as a whole: its checks over all its units, and whether its statements continue the earlier.

Units are judged in `take_in`; here their profiles are added up, so that a day of a million rows is not measured again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from actuals_pipelines.domain.source import Source
from actuals_pipelines.domain.unit import GenerationState, Verdict
from actuals_pipelines.operations.results import CheckResult, DayResult
from actuals_pipelines.store import catalogue, generations
from actuals_pipelines.store.generations import Generation
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines.validate import (
    CheckOutcome,
    DayToJudge,
    Finding,
    Profile,
    StatementBalances,
    bounded_balances,
    findings,
    judge_days,
    merge,
)

HISTORY_DAYS = 28
STATEMENT_DAYS = 100
"""How far back a statement looks for the one it continues: a quarter, as the rarest statements have it, and a bit."""

StatementsByDay = Mapping[date, tuple[StatementBalances, ...] | None]
"""Source-day -> the statements of its units in force; None where they are too many to remember."""


def day_results(
    environment: TenantEnvironment, source: Source, by_day: Mapping[date, Sequence[Generation]]
) -> list[DayResult]:
    """Judge each day over all its units, in one validation; and say what those checks and the units' make of the day.

    Args:
        by_day: the judged generation of each unit; a day without units is "nothing".
    """
    profiles = {day: profile for day, judged in by_day.items() if (profile := _profile(environment, judged))}
    if not profiles:
        return [_day_result(day, judged, ()) for day, judged in by_day.items()]
    first, last = min(profiles), max(profiles)
    rows = catalogue.rows_by_day(environment, source.name, first - timedelta(days=HISTORY_DAYS), last)
    has_statements = any(profile.balances != () for profile in profiles.values())
    statements = statements_by_day(environment, source, first, last) if has_statements else {}
    to_judge = []
    for day, profile in profiles.items():
        since = day - timedelta(days=HISTORY_DAYS)
        history = [count for then, count in rows.items() if since <= then < day]
        to_judge.append(DayToJudge(profile, history, _earlier(statements, day)))
    checks = dict(zip(profiles, judge_days(to_judge, source), strict=True))
    return [_day_result(day, judged, checks.get(day, ())) for day, judged in by_day.items()]


def statement_findings(environment: TenantEnvironment, source: Source, day: date) -> list[Finding]:
    """What is wrong with the day's statements, with balances, days and numbers: for the tenant's own people.

    The check `continuity` counts the same. Nothing is found where there are too many statements to remember.
    """
    statements = statements_by_day(environment, source, day, day)
    today, earlier = statements.get(day), _earlier(statements, day)
    return [] if today is None or earlier is None else findings(today, earlier)


def statements_by_day(environment: TenantEnvironment, source: Source, first: date, last: date) -> StatementsByDay:
    """The statements of these days and of the `STATEMENT_DAYS` before them, in force or on their way to be."""
    since = first - timedelta(days=STATEMENT_DAYS)
    parts: dict[date, list[tuple[StatementBalances, ...] | None]] = {}
    for day, profile in generations.profiles_between(environment, source.name, since, last):
        parts.setdefault(day, []).append(Profile.balances_from_bytes(profile))
    return {day: bounded_balances(each) for day, each in parts.items()}


def standing_generations(
    environment: TenantEnvironment, source: Source, days: Sequence[date]
) -> dict[date, list[Generation | None]]:
    """For each unit of each day the newest of its generations; None for a unit that has none."""
    units = [u for u in catalogue.units_of_days(environment, source.name, days) if u.repeat_of is None]
    newest = {g.unit_id: g for g in generations.of_units(environment, [unit.id for unit in units])}
    return {day: [newest.get(unit.id) for unit in units if unit.partition == day] for day in days}


def _earlier(statements: StatementsByDay, day: date) -> list[StatementBalances] | None:
    """Statements of the days before, oldest first; None if one day's are too many to remember."""
    since = day - timedelta(days=STATEMENT_DAYS)
    found: list[StatementBalances] = []
    for then in sorted(then for then in statements if since <= then < day):
        of_day = statements[then]
        if of_day is None:
            return None
        found += of_day
    return found


def _profile(environment: TenantEnvironment, judged: Sequence[Generation]) -> Profile | None:
    """The profile of several units together; None where none of them could be measured."""
    kept = generations.profiles(environment, [each.id for each in judged]) if judged else {}
    return merge(Profile.from_bytes(each) for each in kept.values()) if kept else None


def _day_result(day: date, judged: Sequence[Generation], of_day: Sequence[CheckOutcome]) -> DayResult:
    if not judged:
        return DayResult(day, "nothing", {"units": 0})
    checks = [CheckResult(c["check"], c["outcome"], c["severity"] == "critical") for g in judged for c in g.checks]
    checks += [CheckResult(c.check, c.outcome, c.severity == "critical") for c in of_day]
    counts = {name: sum(g.counts.get(name, 0) for g in judged) for name in ("raw", "transactions", "rejected")}
    counts["units"] = len(judged)
    counts["units_held"] = sum(g.state is GenerationState.HELD for g in judged)
    could_not = any(g.verdict is Verdict.COULD_NOT_RUN for g in judged)
    outcome = "could_not_run" if could_not else "held" if counts["units_held"] else "passed"
    return DayResult(day, outcome, counts, tuple(checks))
