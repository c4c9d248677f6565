"""Old runs are forgotten, but for those that hold a day's latest record."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from actuals_pipelines.orchestration.retention import forget_runs

DAYS = dg.DailyPartitionsDefinition("2026-11-01")
KEY = dg.AssetKey("forgotten")


@dg.asset(key=KEY, partitions_def=DAYS)
def forgotten() -> None:
    """Whatever it is, it was done."""


def done(instance: dg.DagsterInstance, day: str) -> str:
    """A run that did the day."""
    return dg.materialize([forgotten], instance=instance, partition_key=day).run_id


def test_a_run_goes_when_every_day_in_it_was_done_again(instance: dg.DagsterInstance) -> None:
    first, other = done(instance, "2026-11-02"), done(instance, "2026-11-03")
    again = done(instance, "2026-11-02")

    forget_runs(instance, datetime.now(UTC) + timedelta(hours=1))

    assert [instance.get_run_by_id(run_id) is not None for run_id in (first, other, again)] == [False, True, True]
    assert instance.event_log_storage.get_materialized_partitions(KEY) == {"2026-11-02", "2026-11-03"}


def test_a_young_run_stays(instance: dg.DagsterInstance) -> None:
    first = done(instance, "2026-11-04")
    done(instance, "2026-11-04")

    forget_runs(instance, datetime.now(UTC) - timedelta(days=1))

    assert instance.get_run_by_id(first) is not None
