"""What is told after a run."""

from typing import Any

import dagster as dg

from actuals_pipelines.operations.results import ARRIVALS_REFUSED
from actuals_pipelines.orchestration.alerts import alerts_of

DAY = "2026-03-05"


def told(counts: dict[str, int]) -> list[str]:
    """The alerts of a run in which bank's raw described a day by these counts."""

    @dg.asset(key=["acme", "bank", "raw"], partitions_def=dg.DailyPartitionsDefinition("2026-03-01"))
    def raw(context: dg.AssetExecutionContext) -> None:
        context.add_asset_metadata(dict[str, Any](counts), partition_key=DAY)

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([raw], partition_key=DAY, instance=instance)
        return alerts_of(instance, result.dagster_run)


def test_a_refused_delivery_is_told_with_the_command_that_shows_it() -> None:
    assert told({"units": 1, ARRIVALS_REFUSED: 2}) == [
        f"acme/bank/raw on {DAY}: 2 refused, see `actuals source arrivals TENANT`"
    ]


def test_a_day_without_one_is_not_worth_a_word() -> None:
    assert told({"units": 1}) == []
