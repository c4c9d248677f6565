"""Sensors: look into the loaded tenants' catalogues, ask for one run each of take-in and reconciliation.

They have no cursor: what waits is "landed and not published", "published and not reconciled". A tenant that has a
run queued or started is left alone, and a run key carries an attempt number, because Dagster never runs the key of a
failed run again.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import takewhile

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.loaded import LoadedTenant
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


def arrivals_sensor(
    job: UnresolvedAssetJobDefinition, name: str, tenants: Sequence[LoadedTenant], every_seconds: int
) -> dg.SensorDefinition:
    """Ask for one run that takes in all that has landed and is not published yet."""
    prefixes = {loaded.asset_prefix for loaded in tenants}

    @dg.sensor(
        name=name,
        job=job,
        minimum_interval_seconds=every_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Landed and not published: asks for a take-in.",
    )
    def arrivals(context: dg.SensorEvaluationContext, home: HomeResource) -> dg.SensorResult | dg.SkipReason:
        wanted, troubles = [], []
        busy = _busy_tenants(context.instance)
        for loaded in home.tenants():
            if loaded.asset_prefix not in prefixes or loaded.asset_prefix in busy:
                continue
            try:
                waiting = home.waiting(loaded)
            except ActualsError as error:  # one tenant's broken database must not hide another's file
                troubles.append(f"{loaded.asset_prefix}: {error}")
                continue
            for source, days in waiting.sources.items():
                keys = tuple(
                    dg.AssetKey([loaded.asset_prefix, source, step]) for step in ("raw", "validated", "stored")
                )
                wanted.append(Wanted(keys, days, loaded.asset_prefix))
        return _answer(context, wanted, troubles)

    return arrivals


def published_sensor(
    job: UnresolvedAssetJobDefinition, name: str, tenants: Sequence[LoadedTenant], every_seconds: int
) -> dg.SensorDefinition:
    """Ask for one run that reconciles what was published and is in no close yet."""
    prefixes = {loaded.asset_prefix for loaded in tenants}

    @dg.sensor(
        name=name,
        job=job,
        minimum_interval_seconds=every_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Published and not reconciled: asks for a close.",
    )
    def published(context: dg.SensorEvaluationContext, home: HomeResource) -> dg.SensorResult | dg.SkipReason:
        wanted, troubles = [], []
        busy = _busy_tenants(context.instance)
        for loaded in home.tenants():
            if loaded.asset_prefix not in prefixes or loaded.asset_prefix in busy:
                continue
            try:
                waiting = home.waiting(loaded)
            except ActualsError as error:
                troubles.append(f"{loaded.asset_prefix}: {error}")
                continue
            if waiting.sources:
                continue  # take-in first: a close of half a day would be provisional for no reason
            for package, days in waiting.packages.items():
                key = dg.AssetKey([loaded.asset_prefix, package, "reconciliation"])
                wanted.append(Wanted((key,), days, loaded.asset_prefix))
        return _answer(context, wanted, troubles)

    return published


def _busy_tenants(instance: dg.DagsterInstance) -> set[str]:
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
        prefixes={one.prefix for one in selected},
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
    prefixes: Iterable[str],
    instance: dg.DagsterInstance,
    now: float,
) -> dg.RunRequest | None:
    """One range run over these assets; None while this very work backs off after a failure, or has failed too often.

    The run key is a digest of the work and the run before: a tick that asks twice gets one run, a failed run another.
    """
    work = json.dumps([sorted(key.to_user_string() for key in assets), first.isoformat(), last.isoformat()])
    digest = hashlib.sha256(work.encode()).hexdigest()[:16]
    earlier = instance.get_run_records(dg.RunsFilter(tags={WORK_TAG: digest}), limit=MAX_ATTEMPTS + 1)
    failures = list(takewhile(lambda record: record.dagster_run.status is dg.DagsterRunStatus.FAILURE, earlier))
    if len(failures) >= MAX_ATTEMPTS:
        return None
    if failures and now - (failures[0].end_time or now) < BACK_OFF_SECONDS * 2 ** (len(failures) - 1):
        return None
    return dg.RunRequest(
        run_key=f"{digest}:{earlier[0].dagster_run.run_id if earlier else 'first'}",
        asset_selection=list(assets),
        tags={
            ASSET_PARTITION_RANGE_START_TAG: first.isoformat(),
            ASSET_PARTITION_RANGE_END_TAG: last.isoformat(),
            TENANTS_TAG: ",".join(sorted(prefixes)),
            WORK_TAG: digest,
        },
    )
