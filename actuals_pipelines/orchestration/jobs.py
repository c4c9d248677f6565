"""Two jobs for each time zone of a location: take in, reconcile. Both run in one process a run."""

from collections.abc import Sequence
from datetime import date

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from actuals_pipelines.operations.loaded import LoadedTenant


def days_of(time_zone: str, start: date) -> dg.DailyPartitionsDefinition:
    """Daily partitions up to and with today: without end_offset a range run on today records nothing."""
    return dg.DailyPartitionsDefinition(start_date=start.isoformat(), timezone=time_zone, end_offset=1)


def zone_name(time_zone: str) -> str:
    """A time zone as part of a name: "Europe/Amsterdam" is "europe_amsterdam"."""
    return "".join(c if c.isalnum() else "_" for c in time_zone.lower())


def take_in_job(
    time_zone: str, tenants: Sequence[LoadedTenant], days: dg.DailyPartitionsDefinition
) -> UnresolvedAssetJobDefinition:
    """raw, validated and stored of every tenant in this time zone; a run selects what waits."""
    steps = ("raw", "validated", "stored")
    keys = [
        dg.AssetKey([loaded.asset_prefix, source.name, step])
        for loaded in tenants
        for source in loaded.tenant.sources
        for step in steps
    ]
    return dg.define_asset_job(
        f"take_in_{zone_name(time_zone)}",
        selection=dg.AssetSelection.assets(*keys),
        partitions_def=days,
        executor_def=dg.in_process_executor,
        description="Land, validate and publish what the sources delivered.",
    )


def reconcile_job(
    time_zone: str, tenants: Sequence[LoadedTenant], days: dg.DailyPartitionsDefinition
) -> UnresolvedAssetJobDefinition | None:
    """The reconciliation of every package in this time zone; None where no tenant has a package."""
    keys = [
        dg.AssetKey([loaded.asset_prefix, package.name, "reconciliation"])
        for loaded in tenants
        for package in loaded.tenant.packages
    ]
    if not keys:
        return None
    return dg.define_asset_job(
        f"reconcile_{zone_name(time_zone)}",
        selection=dg.AssetSelection.assets(*keys),
        partitions_def=days,
        executor_def=dg.in_process_executor,
        description="Close every package that has published days it has not seen.",
    )
