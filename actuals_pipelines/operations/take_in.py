"""A tenant's day comes in: land what was delivered, normalise and judge it unit by unit, publish what passed.

Every step may be repeated. What a unit became is kept under its digest, reader, mapping and minimisation, so a second
run of a day touches only what is new, and a mended reader or mapping does run again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from typing import Any, TypeVar
from uuid import UUID

from actuals_pipelines.domain.source import FETCHED, Source, SourceKind
from actuals_pipelines.domain.unit import GenerationState, Unit, Verdict
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.expressions import ExpressionRefused
from actuals_pipelines.landing import (
    claim_arrivals,
    derive_units,
    destroy_raw,
    land_inbox,
    mark_rejects,
    refused_on,
    units_sharing,
)
from actuals_pipelines.normalise import IterateRefused, MappedColumnMissing, MappingRefused
from actuals_pipelines.operations.days import day_results, standing_generations
from actuals_pipelines.operations.fetch import fetch
from actuals_pipelines.operations.pull import land_pull
from actuals_pipelines.operations.results import ARRIVALS_REFUSED, DayResult
from actuals_pipelines.operations.units_read import CHUNK_ROWS, EqualsApart, UnitRead
from actuals_pipelines.readers import FileRefused, open_reader
from actuals_pipelines.settings import NOWHERE_PRIVATE, RemoteAccess
from actuals_pipelines.store import catalogue, generations
from actuals_pipelines.store.generations import Generation
from actuals_pipelines.store.publish import publish as publish_day
from actuals_pipelines.tables import TRANSACTIONS
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines.validate import Profile, UnitToJudge, judge_own, judge_units, suite_digest

log = logging.getLogger(__name__)
_Made = TypeVar("_Made")

JUDGED_TOGETHER = 256
"""Units that one validation judges: their profiles wait in memory, half a megabyte each at most."""
UNITS_AT_ONCE = 2
"""Units that are read side by side; each has up to two chunks of records in memory."""
READABLE = "readable"
"""The check that a unit which cannot be read at all fails; a person cannot release it."""


def land(
    environment: TenantEnvironment,
    source: Source,
    days: Sequence[date],
    *,
    now: datetime,
    access: RemoteAccess = NOWHERE_PRIVATE,
) -> list[DayResult]:
    """Bring in what the source delivered for these days.

    A pull asks the API for each day. Files and inbox events are claimed whatever their day is: they have landed, and
    a day outside this range is found waiting at the next look. Files elsewhere are fetched as `operations.fetch` says.
    What is derived from the source lands with it.

    Args:
        access: where files may be fetched from.
    """
    if source.kind is SourceKind.OAUTH_API:
        for day in days:
            land_pull(environment, source, day, now=now)
    elif source.kind in FETCHED:
        fetch(environment, source, days, access=access, now=now)
    elif source.kind is SourceKind.INBOX:
        land_inbox(environment, source, now)
    elif source.kind is not SourceKind.DERIVED:
        claim_arrivals(environment, now)
    for each in (source, *_derived_from(environment, source)):
        derive_units(environment, each)
    units = catalogue.units_of_days(environment, source.name, days)
    refused = [one.day for one in refused_on(environment, source.name, days)]
    return [_landed(day, [unit for unit in units if unit.partition == day], refused.count(day)) for day in days]


def validate(environment: TenantEnvironment, source: Source, days: Sequence[date]) -> list[DayResult]:
    """Give every landed unit of these days a generation and a verdict; then judge each day as a whole.

    Units are read two at a time and judged together: a validation costs the same for one and for hundreds.
    """
    units = catalogue.units_of_days(environment, source.name, days)
    originals = [unit for unit in units if unit.repeat_of is None]
    judged = _judged_units(environment, source, originals)
    by_day: dict[date, list[Generation]] = {day: [] for day in days}
    for unit in originals:
        by_day[unit.partition].append(judged[unit.id])
    return day_results(environment, source, by_day)


def publish(environment: TenantEnvironment, source: Source, days: Sequence[date]) -> list[DayResult]:
    """Make live what passed. A day with a held unit is reported held; its other units are live all the same."""
    published = {day: publish_day(environment, source, day) for day in days}
    standing = standing_generations(environment, source, days)
    results = []
    for day, done in published.items():
        counts: dict[str, int] = {}
        for publication in done:
            for name, count in publication.counts.items():
                counts[name] = counts.get(name, 0) + count
        waiting = [g for g in standing[day] if g is None or g.state in _NOT_PASSED]
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


def _landed(day: date, units: Sequence[Unit], refused: int) -> DayResult:
    repeats = sum(unit.repeat_of is not None for unit in units)
    counts = {"units": len(units) - repeats, "repeated_units": repeats, "bytes": sum(u.size_bytes for u in units)}
    if refused:
        counts[ARRIVALS_REFUSED] = refused
    return DayResult(day, "landed" if units else "nothing", counts)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A unit that was read, normalised and kept, and waits for its verdict."""

    generation: Generation
    profile: Profile

    def to_judge(self, environment: TenantEnvironment, source: Source) -> UnitToJudge:
        """With what the tenant's own expectations find in its rows."""
        if not source.expectations:
            return UnitToJudge(self.profile, ())
        return UnitToJudge(self.profile, judge_own(generations.candidate_rows(environment, self.generation), source))


def _judged_units(environment: TenantEnvironment, source: Source, units: Sequence[Unit]) -> dict[UUID, Generation]:
    """Unit id -> its judged generation under today's reader and mapping; made where it is not there yet."""
    mapping = mapping_digest(environment, source)
    fingerprints = {unit.id: hashlib.sha256(b"generation 1" + unit.digest + mapping).digest() for unit in units}
    known = generations.found(environment, fingerprints)
    judged = {unit_id: each for unit_id, each in known.items() if each.state is not GenerationState.CANDIDATE}
    to_do = [unit for unit in units if unit.id not in judged]
    if not to_do:
        return judged

    def make(unit: Unit) -> Generation | _Candidate:
        return _kept(environment, source, unit, known.get(unit.id)) or _made(
            environment, source, unit, fingerprints[unit.id], mapping
        )

    for start in range(0, len(to_do), JUDGED_TOGETHER):
        together = to_do[start : start + JUDGED_TOGETHER]
        waiting: list[_Candidate] = []
        for unit, made in zip(together, _side_by_side(make, together), strict=True):
            if isinstance(made, Generation):
                judged[unit.id] = made
            else:
                waiting.append(made)
        judged |= _verdicts(environment, source, waiting)
    return judged


def _side_by_side(make: Callable[[Unit], _Made], units: Sequence[Unit]) -> list[_Made]:
    """What each unit becomes, in order. Reading, computing, sealing and writing let another thread go on."""
    if len(units) == 1:
        return [make(units[0])]
    with ThreadPoolExecutor(UNITS_AT_ONCE) as pool:
        begun = [pool.submit(make, unit) for unit in units]
        try:
            return [each.result() for each in begun]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after a failure no other unit is begun


def _verdicts(environment: TenantEnvironment, source: Source, waiting: Sequence[_Candidate]) -> dict[UUID, Generation]:
    """Judge what waits in one validation and keep the verdicts; unit id -> generation."""
    if not waiting:
        return {}
    verdicts = judge_units([each.to_judge(environment, source) for each in waiting], source)
    given = [
        generations.Given(each.generation, verdict.verdict, [check.as_mapping() for check in verdict.checks])
        for each, verdict in zip(waiting, verdicts, strict=True)
    ]
    after = generations.judge_all(environment, given, suite_digest=suite_digest(source))
    return {each.unit_id: each for each in after}


def _kept(environment: TenantEnvironment, source: Source, unit: Unit, known: Generation | None) -> _Candidate | None:
    """A candidate of an earlier run that got no verdict: a kill, or a check that could not run. It is not read again.

    None if there is none, or it was not measured.
    """
    profile = None if known is None else generations.profiles(environment, [known.id]).get(known.id)
    if known is None or profile is None:
        return None
    _destroy_card_numbers(environment, source, unit, known.counts)
    return _Candidate(known, Profile.from_bytes(profile))


def _made(
    environment: TenantEnvironment,
    source: Source,
    unit: Unit,
    fingerprint: bytes,
    mapping: bytes,
) -> Generation | _Candidate:
    """Read, normalise, measure and keep one unit. A generation, if no verdict is to be given on it any more."""
    look_in = _look_in(environment)
    read = UnitRead(environment, source, unit, look_in=look_in, chunk_rows=CHUNK_ROWS)
    try:
        try:
            candidate = _recorded(environment, unit, fingerprint, mapping, read)
        except EqualsApart:
            read = UnitRead(environment, source, unit, look_in=look_in, chunk_rows=None)
            candidate = _recorded(environment, unit, fingerprint, mapping, read)
    except (FileRefused, IterateRefused, MappedColumnMissing, MappingRefused, ExpressionRefused) as refusal:
        return _unreadable(environment, unit, fingerprint, mapping, refusal)
    if source.kind is SourceKind.INBOX:
        _tell_receipts(environment, candidate)
    _destroy_card_numbers(environment, source, unit, read.counts)
    if candidate.state is not GenerationState.CANDIDATE:
        return candidate
    return _Candidate(candidate, read.profile())


def _recorded(
    environment: TenantEnvironment, unit: Unit, fingerprint: bytes, mapping: bytes, read: UnitRead
) -> Generation:
    transactions = read.transactions()
    candidate = generations.record_candidate(
        environment,
        unit,
        fingerprint,
        transactions,
        mapping_digest=mapping,
        counts=read.counts,
        rejects=read.rejects(),
        profile=lambda: read.profile().to_bytes(),
    )
    if not read.is_complete:  # it was recorded before, and is read for its verdict alone
        transactions.read_all()
    return candidate


def _tell_receipts(environment: TenantEnvironment, candidate: Generation) -> None:
    """Let the receipts of an inbox unit tell why its events were rejected: the field and the reason's code."""
    rejects = generations.rejects(environment, candidate)
    reasons: dict[int, str] = {}
    for row in rejects.to_pylist() if rejects is not None else ():  # few, and an event's first fault serves
        reasons.setdefault(row["line"], f"{row['field']}: {row['reason']}" if row["field"] else row["reason"])
    mark_rejects(environment, candidate.unit_id, reasons)


def _destroy_card_numbers(
    environment: TenantEnvironment, source: Source, unit: Unit, counts: Mapping[str, int]
) -> None:
    """A card number is not kept, not even sealed: its raw goes as soon as every source that reads it has read it."""
    is_shared = source.derived_from is not None or _derived_from(environment, source)
    if not is_shared and not counts.get("card_numbers"):
        return
    family = units_sharing(environment, unit) if is_shared else [unit]
    made = generations.of_units(environment, [one.id for one in family])
    if any(one.counts.get("card_numbers") for one in made) and {one.unit_id for one in made} == {u.id for u in family}:
        destroy_raw(environment, unit)


def _derived_from(environment: TenantEnvironment, source: Source) -> list[Source]:
    return [each for each in environment.tenant.sources if each.derived_from == source.name]


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
        "source": asdict(replace(source, expected=None)),  # when it comes changes no result
        "reader": [source.format, open_reader(source.format).version],
        "ids": [asdict(scheme) for scheme in environment.tenant.ids],
        "look_in": _look_in(environment),
    }
    return hashlib.sha256(json.dumps(decides, default=str, sort_keys=True).encode()).digest()


def _look_in(environment: TenantEnvironment) -> list[tuple[str, str]]:
    packages = environment.tenant.packages
    return sorted({(one.by, field) for package in packages for one in package.passes for field in one.look_in})
