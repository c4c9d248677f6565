"""Sensors: look into the loaded tenants' catalogues, ask for one run each of take-in and reconciliation.

They have no cursor: what waits is "landed and not published", "published and not reconciled". A tenant that has a
run queued or started is left alone. A run key names the work and the run of it before, because Dagster never runs the
key of a failed run again.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import takewhile

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.loaded import LoadedTenant
from actuals_pipelines.operations.results import Waiting
from actuals_pipelines.orchestration.home import HomeResource

IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
TENANTS_TAG = "actuals/tenants"
"""Which tenants a run touches, for the sensors and for people; it carries no power."""
WORK_TAG = "actuals/work"
"""Digest of what a run was asked for, to count how often that very work failed."""

MAX_DAYS_A_RUN = 31
MAX_ATTEMPTS = 5
BACK_OFF_SECONDS = 30
"""After the first failure; doubled by each further one."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Assets with the days that wait for them."""

    assets: tuple[dg.AssetKey, ...]
    days: tuple[date, ...]
    prefix: str
    mark: str


def arrivals_sensor(
    job: UnresolvedAssetJobDefinition, name: str, tenants: Sequence[LoadedTenant], every_seconds: int
) -> dg.SensorDefinition:
    """Ask for one run that takes in all that has landed and is not published yet."""

    def landed(prefix: str, waiting: Waiting) -> Iterator[Wanted]:
        for source, days in waiting.sources.items():
            steps = ("raw", "validated", "stored")
            yield Wanted(tuple(dg.AssetKey([prefix, source, step]) for step in steps), days, prefix, waiting.mark)

    return _sensor(
        job, name, tenants, every_seconds, description="Landed and not published: asks for a take-in.", wanted_of=landed
    )


def published_sensor(
    job: UnresolvedAssetJobDefinition, name: str, tenants: Sequence[LoadedTenant], every_seconds: int
) -> dg.SensorDefinition:
    """Ask for one run that reconciles what was published and is in no close yet."""

    def published(prefix: str, waiting: Waiting) -> Iterator[Wanted]:
        if waiting.sources:
            return  # take-in first: a close of half a day would be provisional for no reason
        for package, days in waiting.packages.items():
            yield Wanted((dg.AssetKey([prefix, package, "reconciliation"]),), days, prefix, waiting.mark)

    return _sensor(
        job,
        name,
        tenants,
        every_seconds,
        description="Published and not reconciled: asks for a close.",
        wanted_of=published,
    )


def _sensor(
    job: UnresolvedAssetJobDefinition,
    name: str,
    tenants: Sequence[LoadedTenant],
    every_seconds: int,
    *,
    description: str,
    wanted_of: Callable[[str, Waiting], Iterator[Wanted]],
) -> dg.SensorDefinition:
    """A sensor that looks into each tenant's catalogue and asks for one run of all that is wanted."""
    prefixes = {loaded.asset_prefix for loaded in tenants}

    @dg.sensor(
        name=name,
        job=job,
        minimum_interval_seconds=every_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def look(context: dg.SensorEvaluationContext, home: HomeResource) -> dg.SensorResult | dg.SkipReason:
        wanted: list[Wanted] = []
        troubles = []
        busy = busy_tenants(context.instance)
        for loaded in home.tenants():
            if loaded.asset_prefix not in prefixes or loaded.asset_prefix in busy:
                continue
            try:
                wanted += wanted_of(loaded.asset_prefix, home.waiting(loaded))
            except ActualsError as error:  # one tenant's broken database must not hide another's file
                troubles.append(f"{loaded.asset_prefix}: {error}")
        return _answer(context, wanted, troubles)

    return look


def busy_tenants(instance: dg.DagsterInstance) -> set[str]:
    """Tenants that a queued or started run touches, whoever started it: sensor, schedule or a person in the UI."""
    busy: set[str] = set()
    for run in instance.get_runs(dg.RunsFilter(statuses=IN_FLIGHT)):
        busy |= {key.path[0] for key in run.asset_selection or ()}
        busy |= {prefix for prefix in run.tags.get(TENANTS_TAG, "").split(",") if prefix}
    return busy


def _answer(
    context: dg.SensorEvaluationContext, wanted: Sequence[Wanted], troubles: Sequence[str]
) -> dg.SensorResult | dg.SkipReason:
    if troubles:
        context.log.error("tenants not looked at: %s", "; ".join(troubles))
    if not wanted:
        words = "Nothing waits." if not troubles else f"Nothing waits; {len(troubles)} tenants could not be looked at."
        return dg.SkipReason(words)
    days = sorted({day for one in wanted for day in one.days})
    first, last = days[0], min(days[-1], date.fromordinal(days[0].toordinal() + MAX_DAYS_A_RUN - 1))
    selected = [one for one in wanted if any(first <= day <= last for day in one.days)]
    request = run_request(
        assets=[key for one in selected for key in one.assets],
        first=first,
        last=last,
        marks={one.prefix: one.mark for one in selected},
        instance=context.instance,
        now=time.time(),
    )
    if request is None:
        return dg.SkipReason(f"The same work failed: it is tried again later, {MAX_ATTEMPTS} times in all.")
    return dg.SensorResult(run_requests=[request])


def run_request(
    *,
    assets: Sequence[dg.AssetKey],
    first: date,
    last: date,
    marks: Mapping[str, str],
    instance: dg.DagsterInstance,
    now: float,
) -> dg.RunRequest | None:
    """One range run over these assets; None while this very work backs off after a failure, or has failed too often.

    The run key is a digest of the work and the run before: a tick that asks twice gets one run, a failed run another.
    With another mark it is other work: after a file that was held, the next one does not wait.

    Args:
        marks: tenant -> where its catalogue stands.
    """
    keys = sorted(key.to_user_string() for key in assets)
    work = json.dumps([keys, first.isoformat(), last.isoformat(), sorted(marks.items())])
    digest = hashlib.sha256(work.encode()).hexdigest()[:16]
    earlier = instance.get_run_records(dg.RunsFilter(tags={WORK_TAG: digest}), limit=MAX_ATTEMPTS + 1)
    failures = list(takewhile(lambda record: record.dagster_run.status is dg.DagsterRunStatus.FAILURE, earlier))
    if len(failures) >= MAX_ATTEMPTS:
        return None
    ended = failures[0].end_time or failures[0].create_timestamp.timestamp() if failures else 0.0
    if failures and now - ended < BACK_OFF_SECONDS * 2 ** (len(failures) - 1):
        return None
    return dg.RunRequest(
        run_key=f"{digest}:{earlier[0].dagster_run.run_id if earlier else 'first'}",
        asset_selection=list(assets),
        tags={
            ASSET_PARTITION_RANGE_START_TAG: first.isoformat(),
            ASSET_PARTITION_RANGE_END_TAG: last.isoformat(),
            TENANTS_TAG: ",".join(sorted(marks)),
            WORK_TAG: digest,
        },
    )
