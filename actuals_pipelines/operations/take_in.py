"""A tenant's day comes in: land what was delivered, normalise and judge it unit by unit, publish what passed.

Every step may be repeated. What a unit became is kept under its digest, reader, mapping and minimisation, so a second
run of a day touches only what is new, and a mended reader or mapping does run again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Any

from actuals_pipelines.domain.source import Source, SourceKind
from actuals_pipelines.domain.unit import GenerationState, Unit, Verdict
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.expressions import ExpressionRefused
from actuals_pipelines.landing import claim_arrivals, destroy_raw, land_inbox, open_unit
from actuals_pipelines.normalise import MappedColumnMissing, MappingRefused, Normalised, normalise
from actuals_pipelines.operations.pull import land_pull
from actuals_pipelines.operations.results import CheckResult, DayResult
from actuals_pipelines.readers import FileRefused, Reading, open_reader
from actuals_pipelines.store import catalogue, generations
from actuals_pipelines.store.generations import Generation
from actuals_pipelines.store.publish import publish as publish_day
from actuals_pipelines.tables import TRANSACTIONS
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines.validate import Profile, judge_day, judge_unit, measure, merge, suite_digest

log = logging.getLogger(__name__)

HISTORY_DAYS = 28
READABLE = "readable"
"""The check that a unit which cannot be read at all fails; a person cannot release it."""


def land(environment: TenantEnvironment, source: Source, days: Sequence[date], *, now: datetime) -> list[DayResult]:
    """Bring in what the source delivered for these days.

    A pull asks the API for each day. Files and inbox events are claimed whatever their day is: they have landed, and
    a day outside this range is found waiting at the next look.
    """
    if source.kind is SourceKind.OAUTH_API:
        for day in days:
            land_pull(environment, source, day, now=now)
    elif source.kind is SourceKind.INBOX:
        land_inbox(environment, source, now)
    else:
        claim_arrivals(environment, now)
    return [_landed(day, catalogue.units_of_day(environment, source.name, day)) for day in days]


def validate(environment: TenantEnvironment, source: Source, days: Sequence[date]) -> list[DayResult]:
    """Give every landed unit of these days a generation and a verdict; then judge each day as a whole."""
    return [_validate_day(environment, source, day) for day in days]


def publish(environment: TenantEnvironment, source: Source, days: Sequence[date]) -> list[DayResult]:
    """Make live what passed. A day with a held unit is reported held; its other units are live all the same."""
    results = []
    for day in days:
        done = publish_day(environment, source, day)
        counts: dict[str, int] = {}
        for publication in done:
            for name, count in publication.counts.items():
                counts[name] = counts.get(name, 0) + count
        waiting = [g for _, g in _judged(environment, source, day) if g is None or g.state in _NOT_PASSED]
        outcome = "held" if waiting else "published" if done else "nothing"
        results.append(DayResult(day, outcome, {**counts, "units_held": len(waiting)}))
    return results


def sources_waiting(environment: TenantEnvironment, *, now: datetime) -> dict[str, tuple[date, ...]]:
    """Source -> days that have landed and are not published. What no unit names yet counts as today's."""
    return catalogue.waiting(environment, now=now)


def catalogue_mark(environment: TenantEnvironment) -> str:
    """Where the tenant's catalogue stands; see `store.catalogue.mark`."""
    return catalogue.mark(environment)


_NOT_PASSED = (GenerationState.CANDIDATE, GenerationState.HELD)


def _landed(day: date, units: Sequence[Unit]) -> DayResult:
    repeats = sum(unit.repeat_of is not None for unit in units)
    counts = {"units": len(units) - repeats, "repeated_units": repeats, "bytes": sum(u.size_bytes for u in units)}
    return DayResult(day, "landed" if units else "nothing", counts)


def _validate_day(environment: TenantEnvironment, source: Source, day: date) -> DayResult:
    units = [unit for unit in catalogue.units_of_day(environment, source.name, day) if unit.repeat_of is None]
    if not units:
        return DayResult(day, "nothing", {"units": 0})
    judged = [_generation(environment, source, unit) for unit in units]
    checks = [CheckResult(c["check"], c["outcome"], c["severity"] == "critical") for g in judged for c in g.checks]
    whole = _profile(environment, judged)
    if whole is not None:
        history = catalogue.rows_by_day(environment, source.name, day - timedelta(days=HISTORY_DAYS), day)
        before = _profile_of_the_day_before(environment, source, day) if whole.balances else None
        for check in judge_day(whole, list(history.values()), source, before=before):
            checks.append(CheckResult(check.check, check.outcome, check.severity == "critical"))
    counts = {name: sum(g.counts.get(name, 0) for g in judged) for name in ("raw", "transactions", "rejected")}
    counts["units"] = len(units)
    counts["units_held"] = sum(g.state is GenerationState.HELD for g in judged)
    could_not = any(g.verdict is Verdict.COULD_NOT_RUN for g in judged)
    outcome = "could_not_run" if could_not else "held" if counts["units_held"] else "passed"
    return DayResult(day, outcome, counts, tuple(checks))


def _profile(environment: TenantEnvironment, judged: Sequence[Generation]) -> Profile | None:
    """The profile of several units together; None where none of them could be measured."""
    kept = [profile for each in judged if (profile := generations.profile(environment, each)) is not None]
    return merge(Profile.from_bytes(profile) for profile in kept) if kept else None


def _profile_of_the_day_before(environment: TenantEnvironment, source: Source, day: date) -> Profile | None:
    """What the statements of the last earlier day closed with: whether published or not, today's must open with it."""
    earlier = catalogue.day_before(environment, source.name, day)
    if earlier is None:
        return None
    return _profile(environment, [each for _, each in _judged(environment, source, earlier) if each is not None])


def _generation(environment: TenantEnvironment, source: Source, unit: Unit) -> Generation:
    """The unit's judged generation under today's reader and mapping; made if it is not there yet."""
    mapping = mapping_digest(environment, source)
    fingerprint = hashlib.sha256(b"generation 1" + unit.digest + mapping).digest()
    known = generations.find(environment, unit, fingerprint)
    if known is not None and known.state is not GenerationState.CANDIDATE:
        return known
    try:
        reading, done = _read(environment, source, unit)
    except (FileRefused, MappedColumnMissing, MappingRefused, ExpressionRefused) as refusal:
        return _unreadable(environment, unit, fingerprint, mapping, refusal)
    profile = measure(done.transactions, done.counts, done.amounts, reading.controls)
    candidate = generations.record_candidate(
        environment,
        unit,
        fingerprint,
        done.transactions,
        mapping_digest=mapping,
        counts=done.counts,
        rejects=done.rejects,
        profile=profile.to_bytes(),
    )
    if done.counts.get("card_numbers"):
        destroy_raw(environment, unit)  # a card number is not kept, not even sealed
    if candidate.state is not GenerationState.CANDIDATE:
        return candidate
    verdict = judge_unit(profile, source, done.transactions)
    checks = [asdict(check) for check in verdict.checks]
    digest = suite_digest(source)
    return generations.judge(environment, candidate, Verdict(verdict.verdict), checks, suite_digest=digest)


def _read(environment: TenantEnvironment, source: Source, unit: Unit) -> tuple[Reading, Normalised]:
    reader = open_reader(source.format)
    with open_unit(environment, unit) as stream:
        reading = reader.read(stream, source.reader)
        raw = reading.table()
    done = normalise(
        raw,
        source,
        ids=environment.tenant.ids,
        look_in=_look_in(environment),
        secrets=environment.keys.pseudonyms,
        unit_id=unit.id,
        unread=reading.reject_table(),
    )
    return reading, done


def _unreadable(
    environment: TenantEnvironment, unit: Unit, fingerprint: bytes, mapping: bytes, refusal: ActualsError
) -> Generation:
    """A unit that cannot be read at all is held with the reason, which names places and kinds, never content."""
    nothing = TRANSACTIONS.empty_table()
    candidate = generations.record_candidate(
        environment, unit, fingerprint, nothing, mapping_digest=mapping, counts={"raw": 0, "transactions": 0}
    )
    if candidate.state is not GenerationState.CANDIDATE:
        return candidate
    check = {"check": READABLE, "severity": "critical", "outcome": "failed", "reason": _kept_reason(refusal)}
    log.warning("unit unreadable: tenant=%s unit=%s kind=%s", environment.ref.uuid, unit.id, type(refusal).__name__)
    return generations.judge(environment, candidate, Verdict.HELD, [check])


def _kept_reason(refusal: ActualsError) -> str:
    """What a refusal says, without the file's columns: it is kept in clear, and a header may be a first record."""
    if isinstance(refusal, MappedColumnMissing):
        what = f"Source {refusal.source!r} maps {refusal.field} to the column {refusal.column!r}"
    elif isinstance(refusal, ExpressionRefused):  # in force since `tenant apply`, so it is the file that changed
        what = f"The expression of {refusal.where} cannot be used: it may name a column"
    else:
        return str(refusal)
    return f"{what}, which this file does not have. Correct the mapping, or ask the sender whether the export changed."


def mapping_digest(environment: TenantEnvironment, source: Source) -> bytes:
    """Of all that decides what a unit becomes beside its content: reader, mapping, minimisation, ids."""
    decides: dict[str, Any] = {
        "source": asdict(source),
        "reader": [source.format, open_reader(source.format).version],
        "ids": [asdict(scheme) for scheme in environment.tenant.ids],
        "look_in": _look_in(environment),
    }
    return hashlib.sha256(json.dumps(decides, default=str, sort_keys=True).encode()).digest()


def _look_in(environment: TenantEnvironment) -> list[tuple[str, str]]:
    packages = environment.tenant.packages
    return sorted({(one.by, field) for package in packages for one in package.passes for field in one.look_in})


def _judged(environment: TenantEnvironment, source: Source, day: date) -> list[tuple[Unit, Generation | None]]:
    """Each unit of the day with the generation that stands for it: the newest that is not superseded."""
    units = [unit for unit in catalogue.units_of_day(environment, source.name, day) if unit.repeat_of is None]
    by_unit = {g.unit_id: g for g in generations.of_units(environment, [u.id for u in units])}
    return [(unit, by_unit.get(unit.id)) for unit in units]
