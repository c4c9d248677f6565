"""The daily job of a location that no customer asks for."""

import dagster as dg

from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.housekeeping import keep_house
from actuals_pipelines.orchestration.home import HomeResource, now

KEEP_HOUSE_AT = "30 2 * * *"


@dg.op(description="Destroys raw that has expired and deletes files that nothing names, tenant by tenant.")
def keep_tenants_house(context: dg.OpExecutionContext, home: HomeResource) -> None:
    """One tenant's failure does not stop the others; it fails the run at the end."""
    failed = []
    for loaded in home.tenants():
        try:
            with loaded.opened("housekeeping") as environment:
                kept = keep_house(environment, now())
            counts = f"{kept.raw_units_destroyed} raw units destroyed, {kept.files_deleted} files deleted"
            context.log.info(f"{loaded.asset_prefix}: {counts}")
        except ActualsError as error:
            context.log.error(f"{loaded.asset_prefix}: {error}")
            failed.append(loaded.asset_prefix)
    if failed:
        raise dg.Failure(description=f"Housekeeping failed for {', '.join(failed)}.", allow_retries=False)


@dg.job(executor_def=dg.in_process_executor, description="Raw expiry and garbage, for every tenant of this location.")
def housekeeping() -> None:
    """One step; see `keep_tenants_house`."""
    keep_tenants_house()


DAILY = dg.ScheduleDefinition(
    name="daily_housekeeping",
    job=housekeeping,
    cron_schedule=KEEP_HOUSE_AT,
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
