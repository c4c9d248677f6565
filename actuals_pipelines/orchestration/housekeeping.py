"""The daily job of a location that no customer asks for."""

from datetime import timedelta

import dagster as dg

from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.housekeeping import keep_house
from actuals_pipelines.orchestration.home import HomeResource, now
from actuals_pipelines.orchestration.retention import forget_runs
from actuals_pipelines.settings import keep_runs_days, serves_the_common_location

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


@dg.op(description="Forgets old runs that hold no partition's latest record (ACTUALS_KEEP_RUNS_DAYS).")
def forget_old_runs(context: dg.OpExecutionContext) -> None:
    """Of all locations: runs are the home's. Done by the common one, which every home has."""
    if serves_the_common_location():
        days = keep_runs_days()
        count = forget_runs(context.instance, now() - timedelta(days=days))
        context.log.info(f"{count} runs of more than {days} days ago forgotten")


@dg.job(executor_def=dg.in_process_executor, description="Raw expiry and garbage by tenant; old runs of the home.")
def housekeeping() -> None:
    """Two steps; one that fails stops no other."""
    keep_tenants_house()
    forget_old_runs()


DAILY = dg.ScheduleDefinition(
    name="daily_housekeeping",
    job=housekeeping,
    cron_schedule=KEEP_HOUSE_AT,
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
