"""What the watchdog reads in Dagster's tables, from what Dagster itself wrote there."""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.scheduler.instigation import InstigatorType, TickData, TickStatus
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo

from actuals_pipelines.database.server import engine
from actuals_pipelines.operations.alerts.dagster_findings import dagster_findings
from actuals_pipelines.operations.results import CheckResult, DayResult
from actuals_pipelines.orchestration.assets import CHECKS, check_results
from actuals_pipelines_tests.conftest import RunningPostgres

DAYS = dg.DailyPartitionsDefinition((datetime.now(UTC) - timedelta(days=9)).date().isoformat())
DAY = datetime.now(UTC).date() - timedelta(days=2)
KEY = dg.AssetKey(["acme", "bank", "validated"])


@pytest.fixture
def keys(instance: dg.DagsterInstance, postgres: RunningPostgres, platform: dict[str, str]) -> Iterator[sa.Engine]:
    """Dagster's database, as the watchdog reads it."""
    database = engine(postgres.address, "dagster", "dagster", platform["dagster"])
    yield database
    database.dispose()


def found(database: sa.Engine) -> dict[str, str]:
    """Key -> severity of all that is wrong now."""
    return {finding.key: finding.severity for finding in dagster_findings(database, datetime.now(UTC))}


def judged(
    instance: dg.DagsterInstance, *checks: CheckResult, outcome: str = "passed", days: tuple[date, ...] = (DAY,)
) -> None:
    """Runs that judged the days so."""

    specs = [dg.AssetCheckSpec(name, asset=KEY, partitions_def=DAYS) for name in CHECKS]

    @dg.asset(key=KEY, partitions_def=DAYS, check_specs=specs)
    def validated(context) -> dg.MaterializeResult:  # type: ignore[no-untyped-def, type-arg]  # Dagster reads it
        return dg.MaterializeResult(check_results=check_results(context, KEY, [DayResult(DAY, outcome, {}, checks)]))

    for day in days:
        assert dg.materialize([validated], instance=instance, partition_key=day.isoformat()).success


def ran(instance: dg.DagsterInstance, error: Exception | None) -> None:
    """A run of acme's take-in that ended so."""

    @dg.op
    def step() -> None:
        if error:
            raise error

    @dg.job(name="take_in_utc")
    def job() -> None:
        step()

    job.execute_in_process(instance=instance, tags={"actuals/tenants": "acme"}, raise_on_error=False)


def test_a_daemon_that_fell_silent_is_told(instance: dg.DagsterInstance, keys: sa.Engine) -> None:
    instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SENSOR", "1", []))
    instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - 600, "BACKFILL", "1", []))

    assert found(keys) == {"daemon BACKFILL": "error"}

    instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "BACKFILL", "1", []))
    assert found(keys) == {}


def test_a_failed_tick_is_told_until_one_succeeds(instance: dg.DagsterInstance, keys: sa.Engine) -> None:
    def ticked(status: TickStatus) -> None:
        error = SerializableErrorInfo("a library's text", [], "ValueError") if status is TickStatus.FAILURE else None
        sensor = InstigatorType.SENSOR
        instance.create_tick(
            TickData("origin", "arrivals_utc", sensor, status, time.time(), error=error, selector_id="s")
        )

    ticked(TickStatus.FAILURE)
    assert found(keys) == {"tick arrivals_utc": "error"}

    ticked(TickStatus.SKIPPED)
    assert found(keys) == {}


def test_days_with_the_same_warning_are_told_as_one_until_all_pass(
    instance: dg.DagsterInstance, keys: sa.Engine
) -> None:
    """A warning each day must not be a mail each day."""
    both = (DAY - timedelta(days=1), DAY)
    judged(instance, CheckResult("volume", "failed", holds=False), days=both)
    [finding] = dagster_findings(keys, datetime.now(UTC))
    assert (finding.severity, finding.what) == ("warning", f"bank of acme: warned by: volume, since {both[0]}")

    judged(instance, days=both[:1])
    assert found(keys) == {"acme warned bank: warned by: volume": "warning"}

    judged(instance)
    assert found(keys) == {}


def test_a_held_day_is_left_to_the_catalogue(instance: dg.DagsterInstance, keys: sa.Engine) -> None:
    """A release changes the catalogue, not the verdict that Dagster remembers."""
    judged(instance, CheckResult("totals_agree", "failed", holds=True), outcome="held")

    assert found(keys) == {}


def test_a_failed_run_is_told_until_the_next_succeeds(instance: dg.DagsterInstance, keys: sa.Engine) -> None:
    ran(instance, ValueError("a library's text"))
    assert found(keys) == {"run take_in_utc for acme": "error"}
    [finding] = dagster_findings(keys, datetime.now(UTC))
    assert "library's" not in finding.what + finding.advice

    ran(instance, None)
    assert found(keys) == {}


def test_a_run_that_only_says_which_days_are_held_is_no_failure_of_its_own(
    instance: dg.DagsterInstance, keys: sa.Engine
) -> None:
    ran(instance, dg.Failure("1 of 5 days are held", allow_retries=False))

    assert found(keys) == {}
