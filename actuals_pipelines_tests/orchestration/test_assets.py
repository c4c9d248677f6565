"""What a day's verdict tells in Dagster: names and counts, and whether the day is held or only warned about."""

from __future__ import annotations

from datetime import date

import dagster as dg
import pytest

from actuals_pipelines.operations.results import CheckResult, DayResult
from actuals_pipelines.orchestration.assets import CHECKS, VERDICT, check_results, judgements

DAY = date(2026, 11, 20)
TOTALS = CheckResult("totals_agree", "failed", holds=True)
VOLUME = CheckResult("volume", "failed", holds=False)
GOOD = CheckResult("rejects", "passed", holds=True)


@pytest.mark.parametrize(
    ("outcome", "checks", "passed", "severity", "words"),
    [
        ("passed", (GOOD,), True, "WARN", "All passed."),
        ("nothing", (), True, "WARN", "Nothing was delivered."),
        ("passed", (GOOD, VOLUME), False, "WARN", "warned by: volume"),
        ("held", (GOOD, TOTALS, VOLUME), False, "ERROR", "held by: totals_agree; warned by: volume"),
        ("could_not_run", (CheckResult("ids", "could_not_run", holds=True),), False, "ERROR", "held by: ids"),
    ],
    ids=["good", "nothing came", "warned", "held", "could not run"],
)
def test_a_days_verdict_says_what_did_not_pass(
    outcome: str, checks: tuple[CheckResult, ...], passed: bool, severity: str, words: str
) -> None:
    told = judgements(DayResult(DAY, outcome, {"raw": 3}, checks))[VERDICT]

    assert (told["passed"], told["severity"], told["description"]) == (
        passed,
        dg.AssetCheckSeverity[severity],
        words,
    )
    failed = {check.name: check.outcome for check in checks if check.outcome != "passed"}
    assert told["metadata"] == {"outcome": outcome, "raw": 3, **failed}


def test_a_check_that_could_not_run_on_one_unit_is_told_before_a_failure_on_another() -> None:
    """A machine must be mended before a person can judge the data."""
    checks = (TOTALS, CheckResult("totals_agree", "could_not_run", holds=True))

    told = judgements(DayResult(DAY, "could_not_run", {}, checks))

    assert told[VERDICT]["metadata"]["totals_agree"] == "could_not_run"
    assert told["totals_agree"]["metadata"] == {"outcome": "could_not_run"}


def test_each_check_has_a_history_of_its_own() -> None:
    told = judgements(DayResult(DAY, "held", {}, (GOOD, TOTALS, VOLUME)))

    assert {name: one["passed"] for name, one in told.items() if not one["passed"]} == {
        VERDICT: False,
        "totals_agree": False,
        "volume": False,
    }
    assert told["totals_agree"]["severity"] is dg.AssetCheckSeverity.ERROR
    assert told["volume"]["severity"] is dg.AssetCheckSeverity.WARN
    assert set(told) == set(CHECKS)


@pytest.mark.parametrize(
    "tags",
    [
        {"dagster/partition": str(DAY)},
        {"dagster/asset_partition_range_start": str(DAY), "dagster/asset_partition_range_end": str(DAY)},
    ],
    ids=["a run of a day", "a range of one day"],
)
def test_one_day_has_its_verdict_however_it_was_asked_for(tags: dict[str, str]) -> None:
    """A range of one day is a range to Dagster: without a verdict of its own the day would stay "planned"."""
    days = dg.DailyPartitionsDefinition("2026-11-01")
    key = dg.AssetKey(["acme", "bank", "validated"])

    specs = [dg.AssetCheckSpec(name, asset=key, partitions_def=days) for name in CHECKS]

    @dg.asset(key=key, partitions_def=days, check_specs=specs)
    def validated(context) -> dg.MaterializeResult:  # type: ignore[no-untyped-def, type-arg]  # Dagster reads it
        return dg.MaterializeResult(check_results=check_results(context, key, [DayResult(DAY, "passed", {}, (GOOD,))]))

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([validated], instance=instance, tags=tags)
        events = instance.event_log_storage
        made = [events.get_asset_check_execution_history(dg.AssetCheckKey(key, name), limit=9) for name in CHECKS]

    for history in made:
        assert {(one.partition, one.status.value) for one in history if one.partition} == {(str(DAY), "SUCCEEDED")}
