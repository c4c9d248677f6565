"""Close a package day by day: what was published and is in no earlier close, from the state of the close before.

A close that stands is not touched again once a later one exists; what comes late enters the next. The last close may
be taken again when more was published for it: the new version opens from the same state, and the old one is kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from functools import partial
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from actuals_pipelines.domain.package import ADJUSTMENTS, MatchingPackage
from actuals_pipelines.operations.decision_lines import decision_lines
from actuals_pipelines.operations.figures import figures_from_bytes, figures_to_bytes
from actuals_pipelines.operations.results import DayResult
from actuals_pipelines.reconcile.close import Closed, Pins
from actuals_pipelines.reconcile.close import close as solve_close
from actuals_pipelines.reconcile.decisions import NO_DECISIONS
from actuals_pipelines.reconcile.due import holidays_of
from actuals_pipelines.reconcile.errors import StateOutdated
from actuals_pipelines.reconcile.solve import columns_mentioned
from actuals_pipelines.reconcile.state import State
from actuals_pipelines.reconcile.summary import Summary, from_document
from actuals_pipelines.store import catalogue, closes, decisions, live
from actuals_pipelines.tenants.environment import TenantEnvironment

log = logging.getLogger(__name__)

BATCH_ROWS = 122_880


def close(environment: TenantEnvironment, package: MatchingPackage, days: Sequence[date]) -> list[DayResult]:
    """Close the package at each of these days, in order; under the package's lock, one transaction a day."""
    return [_close_day(environment, package, day) for day in sorted(days)]


def packages_waiting(environment: TenantEnvironment, *, today: date) -> dict[str, tuple[date, ...]]:
    """Package -> close days that have publications no close took in, and may be closed now."""
    waiting: dict[str, tuple[date, ...]] = {}
    for package in environment.tenant.packages:
        last = closes.last_close(environment, package.name)
        found = catalogue.not_reconciled(environment, package.name, _sources(package))
        days = set()
        for day in found:
            # What came late for a day that is closed enters the last close, or the one after it.
            target = max(day, last.day) if last else day
            if target <= today and not (package.missing == "hold" and _missing(environment, package, target)):
                days.add(target)
        if days:
            waiting[package.name] = tuple(sorted(days))
    return waiting


def _close_day(environment: TenantEnvironment, package: MatchingPackage, day: date) -> DayResult:
    with closes.locked(environment, package.name):
        return close_again(environment, package, day)


def close_again(environment: TenantEnvironment, package: MatchingPackage, day: date) -> DayResult:
    """Close a day, or take its close again if what decides it is another now. Call within `closes.locked`."""
    last = closes.last_close(environment, package.name)
    if last is not None and last.day > day:
        return DayResult(day, "nothing", {})  # earlier closes are never rewritten
    missing = _missing(environment, package, day)
    if missing and package.missing == "hold":
        log.info("close held: tenant=%s package=%s missing=%s", environment.ref.uuid, package.name, len(missing))
        return DayResult(day, "held", {"sources_missing": len(missing)})
    opening = closes.last_close(environment, package.name, before=day)
    taken = closes.taken_in(environment, package.name, before=day)
    changed = changed_until(environment, package, until=day, taken=taken)
    if opening is None and not changed.publications:
        return DayResult(day, "nothing", {})  # there is nothing to close yet
    pins = _pins(environment, package, day, opening, changed)
    standing = last if last is not None and last.day == day else None
    if standing is not None and standing.pins == _document(pins):
        return DayResult(day, "as before", standing.counts)
    closed = _solved(environment, package, opening, changed, pins)
    with _checkpoint(closed.state) as checkpoint:
        saved = closes.save_close(
            environment,
            package.name,
            day,
            changes=closed.changes,
            stands_on=opening,
            checkpoint=checkpoint,
            proposals=closed.proposals,
            figures=figures_to_bytes(closed),
            pins=_document(pins),
            digest=bytes.fromhex(closed.digest),
            counts=_counts(closed),
            publications=[one.id for one in changed.publications],
            is_provisional=bool(missing),
        )
    log.info("closed: tenant=%s package=%s close=%s", environment.ref.uuid, package.name, saved.id)
    return DayResult(day, "provisional" if missing else "published", saved.counts)


def changed_until(
    environment: TenantEnvironment, package: MatchingPackage, *, until: date, taken: Collection[UUID]
) -> live.Changes:
    """What a close takes in, with the columns that matching the package reads."""
    sources = _sources(package)
    columns = partial(columns_mentioned, package)
    return live.changes(environment, sources, until=until, taken=taken, columns=columns)


def state_of(environment: TenantEnvironment, package: str, close: closes.Close) -> State:
    """The state that a close left, from its files; what it adds up to is as the close kept it."""
    kept = figures_from_bytes(closes.figures(environment, close))
    decided = decision_lines(environment, package, int(close.pins["others"]["decisions"]))
    parts = tuple(closes.parts(environment, close))
    return State(package, close.day, parts, from_document(kept["summary"]), decided)


@contextmanager
def _checkpoint(state: State) -> Iterator[pa.RecordBatchReader | None]:
    """The whole state where a checkpoint is due, proved to add up to what was carried from close to close."""
    if not state.is_checkpoint_due:
        yield None
        return
    with state.opened() as con:
        state.prove(con)
        yield con.sql("FROM opening").to_arrow_reader(BATCH_ROWS)


def _solved(
    environment: TenantEnvironment,
    package: MatchingPackage,
    opening: closes.Close | None,
    changed: live.Changes,
    pins: Pins,
) -> Closed:
    """Solve the close; wholly where the package is another than at the opening, because any row may have moved."""
    removes = changed.removes.read_all()["row_uid"]
    decided = decision_lines(environment, package.name, int(pins.others["decisions"]))
    if opening is None:
        control = _control(None, changed, decided)
        return solve_close(None, changed.adds, removes, package, pins, decisions=decided, control=control)
    state = state_of(environment, package.name, opening)
    control = _control(state.summary, changed, decided, state.decisions)
    is_full = opening.pins["others"]["package"] != pins.others["package"]
    try:
        return solve_close(
            state, changed.adds, removes, package, pins, decisions=decided, control=control, is_full=is_full
        )
    except StateOutdated:  # the package reads a column now that the state did not keep: hand over every live row
        everything = changed_until(environment, package, until=pins.day, taken=frozenset())
        return solve_close(
            state, everything.adds, removes, package, pins, decisions=decided, control=control, is_full=True
        )


def _pins(
    environment: TenantEnvironment,
    package: MatchingPackage,
    day: date,
    opening: closes.Close | None,
    changed: live.Changes,
) -> Pins:
    """All that decides the close, in ids, versions and digests."""
    digest = _digest(asdict(package))
    version = 1
    if opening is not None:
        before = opening.pins
        version = int(before["version"]) + (before["others"]["package"] != digest)
    return Pins(
        day=day,
        as_of=day,
        version=version,
        coverage=coverage_at(environment, package, day),
        holidays=holidays_of(package.calendar, day),
        others={
            "package": digest,
            "publications": _digest([str(one.id) for one in changed.publications]),
            "opening": opening.digest.hex() if opening else "",
            "decisions": str(decisions.position(environment, package.name)),
        },
    )


def _document(pins: Pins) -> dict[str, Any]:
    """Pins as JSON holds them."""
    return {
        "day": pins.day.isoformat(),
        "as_of": (pins.as_of or pins.day).isoformat(),
        "version": pins.version,
        "coverage": {source: day.isoformat() for source, day in sorted((pins.coverage or {}).items())},
        "holidays": sorted(day.isoformat() for day in pins.holidays),
        "others": dict(pins.others),
    }


def _control(
    opening: Summary | None, changed: live.Changes, now: pa.Table, before: pa.Table = NO_DECISIONS
) -> dict[tuple[str, str], tuple[int, int]]:
    """What is live after this close: what the opening held, the publications' own totals, and the log's adjustments."""
    control: dict[tuple[str, str], tuple[int, int]] = {}
    for sign, lines in ((1, now), (-1, before)):
        for line in lines.filter(pc.is_valid(lines["amount_minor_units"])).to_pylist():
            held = control.get((ADJUSTMENTS, line["currency"]), (0, 0))
            control[ADJUSTMENTS, line["currency"]] = (held[0] + sign, held[1] + sign * line["amount_minor_units"])
    for (source, _, currency, _), (rows, amount, _) in opening.rows.items() if opening is not None else ():
        held = control.get((str(source), str(currency)), (0, 0))
        control[str(source), str(currency)] = (held[0] + rows, held[1] + amount)
    for source, totals in changed.totals.items():
        for currency, (rows, minor_units) in totals.items():
            held = control.get((source, currency), (0, 0))
            control[source, currency] = (held[0] + rows, held[1] + minor_units)
    return control


def coverage_at(environment: TenantEnvironment, package: MatchingPackage, day: date) -> dict[str, date]:
    """Source -> the last day up to `day` that it has delivered for; one that never did is complete through none."""
    covered = {}
    for source in _sources(package):
        days = [one for one in catalogue.published_days(environment, source) if one <= day]
        covered[source] = days[-1] if days else date.min
    return covered


def _missing(environment: TenantEnvironment, package: MatchingPackage, day: date) -> list[str]:
    """Sources from which nothing has come for `day` or later: what they have for that day may still come."""
    behind = []
    for source in _sources(package):
        days = catalogue.published_days(environment, source)
        if not days or days[-1] < day:
            behind.append(source)
    return behind


def _sources(package: MatchingPackage) -> list[str]:
    return sorted({member.source for _, member in package.members()})


def _counts(closed: Closed) -> dict[str, int]:
    """Counts for Dagster and for the catalogue: groups and rows by status, rows solved again. No amount."""
    counts = {"rows": closed.summary.count, "rows_solved": closed.solved_rows, "changes": closed.changes.num_rows}
    for line in closed.figures.statuses:
        for what, count in (("groups", line.groups), ("rows", line.rows)):
            name = f"{what}_{line.status}"
            counts[name] = counts.get(name, 0) + count
    return counts


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, default=str, sort_keys=True).encode()).hexdigest()
