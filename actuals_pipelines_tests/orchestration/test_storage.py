"""Dagster's storage on a real server: what a range run writes, and with how many connections."""

import dagster as dg
import pytest
import sqlalchemy as sa
from sqlalchemy import event

from actuals_pipelines.orchestration.storage import log_evaluations

KEY = dg.AssetKey("book")
DAYS = dg.DailyPartitionsDefinition("2026-11-01")
WEEK = [f"2026-11-{day:02}" for day in range(2, 9)]
RANGE = {"dagster/asset_partition_range_start": WEEK[0], "dagster/asset_partition_range_end": WEEK[-1]}


@dg.asset(
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[dg.AssetCheckSpec("verdict", asset="book", partitions_def=DAYS)],
)
def book(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster reads it
    """A week in one run, each day with its verdict; one is bad."""
    evaluations = [
        dg.AssetCheckEvaluation(asset_key=KEY, check_name="verdict", passed=day != WEEK[3], partition=day)
        for day in context.partition_keys
    ]
    log_evaluations(context, evaluations)
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(check_name="verdict", passed=False)])


def test_a_range_run_keeps_its_connections_and_records_each_day(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stock storage made two connections for each of these events, and three statements for each evaluation."""
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "200")  # as in a home
    opened: list[object] = []
    updates: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith("UPDATE asset_check_executions"):
            updates.append(statement)

    def count(connection: object, _record: object) -> None:
        opened.append(connection)

    event.listen(sa.Engine, "connect", count)
    event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        done = dg.materialize([book], instance=instance, tags=RANGE)
    finally:
        event.remove(sa.Engine, "connect", count)
        event.remove(sa.Engine, "before_cursor_execute", note)

    assert done.success
    assert len(opened) <= 3
    assert len(updates) == 2  # the days', and the one that Dagster asks of the step
    events = instance.event_log_storage
    assert events.get_materialized_partitions(KEY) == set(WEEK)
    verdicts = events.get_asset_check_execution_history(dg.AssetCheckKey(KEY, "verdict"), limit=20)
    assert {one.partition: one.status.value for one in verdicts if one.partition} == {
        day: "FAILED" if day == WEEK[3] else "SUCCEEDED" for day in WEEK
    }
    planned = [events.get_latest_planned_materialization_info(KEY, partition=day) for day in WEEK]
    assert {info.run_id for info in planned if info} == {done.run_id}
    [entry] = events.get_asset_records([KEY])
    assert entry.asset_entry.last_run_id == done.run_id


def test_every_instance_of_a_process_shares_the_connections(instance: dg.DagsterInstance) -> None:
    """A sensor's tick makes an instance of its own."""
    with dg.DagsterInstance.from_ref(instance.get_ref()) as another:
        assert another.event_log_storage._engine is instance.run_storage._engine  # type: ignore[attr-defined]
        assert another.event_log_storage.has_asset_key(KEY)
