"""Schedules: each tenant's nightly close, the pull of the last days again, and the look for files to fetch."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from actuals_pipelines.domain.source import FETCHED, SourceKind
from actuals_pipelines.operations.loaded import LoadedTenant
from actuals_pipelines.orchestration.sensors import TENANTS_TAG, busy_tenants

CLOSE_AT = "30 5 * * *"
REPULL_AT = "0 4 * * *"
FETCH_AT = "*/15 * * * *"


def nightly_close(
    job: UnresolvedAssetJobDefinition, loaded: LoadedTenant, time_zone: str, start: date
) -> dg.ScheduleDefinition | None:
    """Close yesterday for every package of one tenant, also where nothing came in: items age and fall due."""
    prefix = loaded.asset_prefix
    keys = [dg.AssetKey([prefix, package.name, "reconciliation"]) for package in loaded.tenant.packages]
    if not keys:
        return None

    @dg.schedule(
        name=f"nightly_close_{prefix}",
        job=job,
        cron_schedule=CLOSE_AT,
        execution_timezone=time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Closes yesterday for {prefix}.",
    )
    def close(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        tick = context.scheduled_execution_time
        day = _local_day(tick, time_zone) - timedelta(days=1)
        if day < start:
            return dg.SkipReason(f"{day} lies before the first partition, {start}.")
        return dg.RunRequest(
            run_key=f"close:{prefix}:{day}",
            partition_key=day.isoformat(),
            asset_selection=keys,
            tags={TENANTS_TAG: prefix},
        )

    return close


def repull(
    job: UnresolvedAssetJobDefinition, tenants: Sequence[LoadedTenant], time_zone: str, start: date, name: str
) -> dg.ScheduleDefinition | None:
    """Pull the last days of every API source again: what was booked late replaces the day as it was."""
    pulled = [
        (loaded, source)
        for loaded in tenants
        for source in loaded.tenant.sources
        if source.kind is SourceKind.OAUTH_API
    ]
    if not pulled:
        return None

    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=REPULL_AT,
        execution_timezone=time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Pulls the last days of every API source again, in one run.",
    )
    def pull_again(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        today = _local_day(context.scheduled_execution_time, time_zone)
        last = today - timedelta(days=1)
        first = max(start, today - timedelta(days=max(source.repull_days for _, source in pulled)))
        if last < first:
            return dg.SkipReason(f"There is no whole day since {start} yet.")
        keys = [
            dg.AssetKey([loaded.asset_prefix, source.name, step])
            for loaded, source in pulled
            for step in ("raw", "validated", "stored")
        ]
        return dg.RunRequest(
            run_key=f"{name}:{today}",
            asset_selection=keys,
            tags={
                ASSET_PARTITION_RANGE_START_TAG: first.isoformat(),
                ASSET_PARTITION_RANGE_END_TAG: last.isoformat(),
                TENANTS_TAG: ",".join(sorted({loaded.asset_prefix for loaded, _ in pulled})),
            },
        )

    return pull_again


def fetch_new(
    job: UnresolvedAssetJobDefinition, tenants: Sequence[LoadedTenant], time_zone: str, name: str
) -> dg.ScheduleDefinition | None:
    """Look into every remote folder for new files, and take them in; a tenant in a run is left for the next time."""
    fetched = [
        (loaded.asset_prefix, source.name)
        for loaded in tenants
        for source in loaded.tenant.sources
        if source.kind in FETCHED
    ]
    if not fetched:
        return None

    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=FETCH_AT,
        execution_timezone=time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Looks into every remote folder for new files and takes them in, in one run.",
    )
    def look(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        busy = busy_tenants(context.instance)
        free = [(prefix, source) for prefix, source in fetched if prefix not in busy]
        if not free:
            return dg.SkipReason("Every tenant with a remote folder is in a run.")
        tick = context.scheduled_execution_time
        today = _local_day(tick, time_zone).isoformat()
        keys = [
            dg.AssetKey([prefix, source, step]) for prefix, source in free for step in ("raw", "validated", "stored")
        ]
        return dg.RunRequest(
            run_key=f"{name}:{tick.isoformat()}",
            asset_selection=keys,
            # As a range of one day, which the multi-day assets of a run are always asked for.
            tags={
                ASSET_PARTITION_RANGE_START_TAG: today,
                ASSET_PARTITION_RANGE_END_TAG: today,
                TENANTS_TAG: ",".join(sorted({prefix for prefix, _ in free})),
            },
        )

    return look


def _local_day(tick: datetime, time_zone: str) -> date:
    return tick.astimezone(ZoneInfo(time_zone)).date()
