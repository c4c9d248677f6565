"""The schedule that looks for files to fetch: one run for all sources that fetch, none for the others."""

from __future__ import annotations

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg

from actuals_pipelines.domain.source import FieldMapping, Source, SourceKind
from actuals_pipelines.domain.tenant import Tenant
from actuals_pipelines.operations.loaded import LoadedTenant
from actuals_pipelines.orchestration.jobs import days_of, take_in_job
from actuals_pipelines.orchestration.schedules import fetch_new


def a_tenant(*kinds: SourceKind) -> LoadedTenant:
    sources = tuple(Source(kind.value, kind, "csv", FieldMapping({})) for kind in kinds)
    tenant = Tenant("acme", sources, ())
    return cast(LoadedTenant, SimpleNamespace(tenant=tenant, asset_prefix="acme"))


def schedule_of(loaded: LoadedTenant) -> dg.ScheduleDefinition | None:
    job = take_in_job("UTC", [loaded], days_of("UTC", date(2026, 1, 1)))
    return fetch_new(job, [loaded], "UTC", "fetch_utc")


def test_one_run_takes_today_in_for_every_source_that_fetches() -> None:
    schedule = schedule_of(a_tenant(SourceKind.SFTP_REMOTE, SourceKind.FILES, SourceKind.UPLOAD))
    assert schedule is not None
    with dg.instance_for_test() as instance:
        tick = datetime(2026, 3, 5, 12, 15, tzinfo=UTC)
        context: Any = dg.build_schedule_context(instance=instance, scheduled_execution_time=tick)
        [request] = schedule.evaluate_tick(context).run_requests or []

    assert {key.path[1] for key in request.asset_selection or ()} == {"sftp_remote", "files"}
    assert request.tags["dagster/asset_partition_range_start"] == "2026-03-05"
    assert request.tags["dagster/asset_partition_range_end"] == "2026-03-05"


def test_without_such_a_source_there_is_no_schedule() -> None:
    assert schedule_of(a_tenant(SourceKind.UPLOAD)) is None
