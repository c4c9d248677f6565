"""Assemble the `Definitions` of one code location from its loaded tenants."""

from collections import defaultdict
from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from actuals_pipelines.operations.loaded import LoadedTenant
from actuals_pipelines.orchestration.assets import tenant_assets
from actuals_pipelines.orchestration.home import HomeResource
from actuals_pipelines.orchestration.housekeeping import DAILY, housekeeping
from actuals_pipelines.orchestration.io_manager import refusing_io_manager
from actuals_pipelines.orchestration.jobs import days_of, reconcile_job, take_in_job, zone_name
from actuals_pipelines.orchestration.schedules import fetch_new, nightly_close, repull
from actuals_pipelines.orchestration.sensors import arrivals_sensor, published_sensor

LOOK_EVERY_SECONDS = 30


def build_definitions(
    tenants: Sequence[LoadedTenant], home: HomeResource | None = None, look_every_seconds: int = LOOK_EVERY_SECONDS
) -> dg.Definitions:
    """Everything this location serves. Without tenants (no home yet) it is empty, and loads all the same."""
    assets: list[dg.AssetsDefinition] = []
    jobs: list[UnresolvedAssetJobDefinition] = []
    sensors: list[dg.SensorDefinition] = []
    schedules: list[dg.ScheduleDefinition] = []
    by_zone: dict[str, list[LoadedTenant]] = defaultdict(list)
    for loaded in tenants:
        by_zone[loaded.tenant.time_zone].append(loaded)
    for zone, group in sorted(by_zone.items()):
        start = min(loaded.tenant.start for loaded in group)  # a job's assets share one set of days
        days = days_of(zone, start)
        assets += [asset for loaded in group for asset in tenant_assets(loaded, days)]
        take_in = take_in_job(zone, group, days)
        jobs.append(take_in)
        sensors.append(arrivals_sensor(take_in, f"arrivals_{zone_name(zone)}", group, look_every_seconds))
        again = repull(take_in, group, zone, start, f"repull_{zone_name(zone)}")
        schedules += [again] if again else []
        looking = fetch_new(take_in, group, zone, f"fetch_{zone_name(zone)}")
        schedules += [looking] if looking else []
        reconcile = reconcile_job(zone, group, days)
        if reconcile:
            jobs.append(reconcile)
            sensors.append(published_sensor(reconcile, f"published_{zone_name(zone)}", group, look_every_seconds))
            closes = (nightly_close(reconcile, loaded, zone, start) for loaded in group)
            schedules += [close for close in closes if close]
    if tenants:
        schedules.append(DAILY)
    return dg.Definitions(
        assets=assets,
        jobs=[*jobs, *([housekeeping] if tenants else [])],
        sensors=sensors,
        schedules=schedules,
        resources={"home": home or HomeResource(), "io_manager": refusing_io_manager},
        executor=dg.in_process_executor,
    )
