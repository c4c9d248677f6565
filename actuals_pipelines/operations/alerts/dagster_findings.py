"""What Dagster's tables say is wrong: dead daemons, failed ticks, failed runs, days with warnings.

Dagster has no sensor for a failed check or a failed tick, and no sensor runs when the daemon is dead; so its tables are
read from outside. Held days are not told from here: the tenant's catalogue knows whether they still are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from actuals_pipelines.operations.alerts.finding import Finding

DEAD_AFTER = timedelta(minutes=3)  # a heartbeat is written every 30 seconds
FORGOTTEN_AFTER = timedelta(days=7)  # a daemon that is not configured any more leaves its last heartbeat
TICKS_SINCE, RUNS_SINCE, VERDICTS_SINCE = timedelta(days=1), timedelta(days=3), timedelta(days=14)

_HEARTBEATS = "select daemon_type, timestamp from daemon_heartbeats where timestamp between :forgotten and :dead"
_TICKS = """
select * from (
  select distinct on (selector_id, type) tick_body, status from job_ticks
  where timestamp > :since and status <> 'STARTED' order by selector_id, type, id desc
) last where status = 'FAILURE'
"""
# A run that failed because days are held says so itself (dg.Failure); a person is told of the held days instead.
_RUNS = """
select run_id, job, tenants from (
  select distinct on (r.pipeline_name, t.value) r.run_id, r.pipeline_name as job, t.value as tenants, r.status
  from runs r left join run_tags t on t.run_id = r.run_id and t.key = 'actuals/tenants'
  where r.create_timestamp > :since and r.status in ('SUCCESS', 'FAILURE')
  order by r.pipeline_name, t.value, r.id desc
) last
where status = 'FAILURE' and not (
  exists (select from event_logs e where e.run_id = last.run_id and e.dagster_event_type = 'STEP_FAILURE')
  and not exists (
    select from event_logs e where e.run_id = last.run_id and e.dagster_event_type = 'STEP_FAILURE'
    and e.event::jsonb #> '{dagster_event,event_specific_data,user_failure_data,label}' is distinct from
      '"intentional-failure"'::jsonb
  )
)
"""
_VERDICTS = """
select asset_key, partition, evaluation_event from (
  select distinct on (asset_key, partition) asset_key, partition, execution_status, evaluation_event
  from asset_check_executions
  where check_name = 'verdict' and partition is not null and execution_status in ('SUCCEEDED', 'FAILED')
    and evaluation_event_timestamp > :since
  order by asset_key, partition, id desc
) last where execution_status = 'FAILED'
"""


def dagster_findings(dagster: sa.Engine, now: datetime) -> Iterator[Finding]:
    """All that is wrong by Dagster's own records.

    Args:
        dagster: its database; times in it are UTC without a zone.
    """
    at = now.astimezone(UTC).replace(tzinfo=None)
    with dagster.connect() as connection:
        span = {"forgotten": at - FORGOTTEN_AFTER, "dead": at - DEAD_AFTER}
        for row in connection.execute(sa.text(_HEARTBEATS), span):
            what = f"Dagster's daemon {row.daemon_type} has been silent since {row.timestamp:%Y-%m-%d %H:%M} UTC"
            yield Finding(f"daemon {row.daemon_type}", "error", what, "See run/logs/daemon.log of the home.")
        for row in connection.execute(sa.text(_TICKS), {"since": at - TICKS_SINCE}):
            name = json.loads(row.tick_body).get("job_name", "a sensor")
            advice = f"See its ticks in Dagster under Automation, {name}."
            yield Finding(f"tick {name}", "error", f"the last tick of {name} failed", advice)
        for row in connection.execute(sa.text(_RUNS), {"since": at - RUNS_SINCE}):
            whose = f" for {row.tenants}" if row.tenants else ""
            advice = f"See run {row.run_id} in Dagster; `actuals error TENANT REFERENCE` shows what a library said."
            yield Finding(f"run {row.job}{whose}", "error", f"{row.job} failed{whose}", advice, row.tenants)
        yield from _warnings(connection.execute(sa.text(_VERDICTS), {"since": at - VERDICTS_SINCE}))


def _warnings(rows: Iterable[sa.Row[Any]]) -> Iterator[Finding]:
    """A source that warns of the same day after day is one alert, from the first day on."""
    days: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        asset, evaluation = json.loads(row.asset_key), json.loads(row.evaluation_event)
        told = evaluation["dagster_event"]["event_specific_data"]
        if len(asset) > 1 and not _is_error(told.get("severity")):
            words = told.get("description") or "a check warned"
            days.setdefault((asset[0], asset[1], words), []).append(row.partition)
    for (tenant, source, words), its_days in sorted(days.items()):
        what = f"{source} of {tenant}: {words}, since {min(its_days)}"
        advice = f"See `actuals day {tenant} {source} {max(its_days)}`."
        yield Finding(f"{tenant} warned {source}: {words}", "warning", what, advice, tenant)


def _is_error(severity: object) -> bool:
    """Dagster writes an enumeration as {"__enum__": "AssetCheckSeverity.ERROR"}, or as its bare value."""
    value = severity.get("__enum__", "") if isinstance(severity, dict) else str(severity)
    return value.endswith("ERROR")
