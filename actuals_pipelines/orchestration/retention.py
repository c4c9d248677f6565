"""Old runs are forgotten: Dagster itself only purges ticks, and a run leaves some thousand rows behind.

A run stays as long as some partition's latest record is in it, a materialization or a check's evaluation: deleting it
would make that day look as if it had never been done.
"""

from datetime import datetime

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.event_log import SqlEventLogStorage

AT_MOST = 2_000
"""Runs forgotten in one night; the rest waits for the next."""

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

_LATEST = """
select run_id from (
  select distinct on (asset_key, partition) run_id from event_logs
  where dagster_event_type = 'ASSET_MATERIALIZATION' and asset_key is not null order by asset_key, partition, id desc
) materialized
union
select run_id from (
  select distinct on (asset_key, check_name, partition) run_id from asset_check_executions
  where execution_status in ('SUCCEEDED', 'FAILED') order by asset_key, check_name, partition, id desc
) judged
"""


def forget_runs(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete finished runs that were made before then and hold no partition's latest record; return how many."""
    events = instance.event_log_storage
    if not isinstance(events, SqlEventLogStorage):
        raise dg.DagsterInvariantViolationError("Runs are kept in another storage than ours; none is forgotten.")
    with events.index_connection() as connection:
        kept = set(connection.scalars(sa.text(_LATEST)))
    old = dg.RunsFilter(created_before=before, statuses=FINISHED)
    forgotten = 0
    for run_id in reversed(instance.get_run_ids(old)):  # oldest first
        if run_id not in kept and forgotten < AT_MOST:
            instance.delete_run(run_id)
            forgotten += 1
    return forgotten
