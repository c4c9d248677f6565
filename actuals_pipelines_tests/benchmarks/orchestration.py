"""What Dagster itself costs: `python -m actuals_pipelines_tests.benchmarks.orchestration [--days 10] [--tenants 2]`.

M tenants with three sources each (inbox, upload, sFTP) that delivered nothing, on the home's embedded PostgreSQL, with
the very instance and environment that `actuals up` gives its code location (events in batches of 200). Measured are
the take-in job over N days as one range run for all tenants, and the same days as a run per tenant and day, both by
`execute_in_process`; and the same operations called without Dagster, which is what our own looking costs.

How to read it: a tenant-day is raw, validated and stored of three sources for one day: 9 materialisations and 30 check
evaluations. `Dagster's own` is CPU with Dagster less CPU without. CPU is that of this process and of PostgreSQL, which
keeps the events. `ratio` says how much dearer a run per day is than a range run. Starting the run's process (some
seconds of imports in real life, once a run) is not in it, so the true ratio is higher.
"""

from __future__ import annotations

import argparse
import os
from contextlib import redirect_stderr
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from actuals_pipelines.operations import take_in
from actuals_pipelines.operations.dagster_home import dagster_environment, prepare_dagster
from actuals_pipelines.operations.loaded import LoadedTenant, load_tenants
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.platform_credentials import read_platform_credentials
from actuals_pipelines.operations.provision import apply
from actuals_pipelines.settings import Home
from actuals_pipelines_tests.benchmarks.stopwatch import Step, measured, print_steps, tell
from actuals_pipelines_tests.benchmarks.temporary_home import in_a_process_of_its_own, temporary_home

if TYPE_CHECKING:
    import dagster as dg

START = date(2026, 1, 1)
JOB = "take_in_utc"
TENANT = """\
name: {name}
time_zone: UTC
start: {start}
sources:
- name: shop
  kind: inbox
  format: ndjson
  mapping: {{transaction_id: id, amount: total, currency: currency, timestamp: at}}
- name: psp
  kind: upload
  format: csv
  mapping: {{transaction_id: reference, amount: gross, currency: currency, booked_on: day}}
- name: bank
  kind: sftp
  format: camt053
"""


def main() -> None:
    """Make a home with tenants; measure in a fresh process that has the code location's environment."""
    parser = argparse.ArgumentParser(description="What Dagster itself costs.")
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--tenants", type=int, default=2)
    asked = parser.parse_args()
    with temporary_home() as platform:
        for number in range(asked.tenants):
            apply(platform, TENANT.format(name=f"tenant{number}", start=START), "tenant.yaml")
        _be_the_code_location(platform)
        days = [START + timedelta(days=number) for number in range(asked.days)]
        in_a_process_of_its_own(measure, platform.home, days)


def measure(home: Home, days: list[date]) -> None:
    """Run the days in the three ways and print. Dagster's console lines are made, as in real life, and let go."""
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        _measure(home, days)


def _measure(home: Home, days: list[date]) -> None:
    import dagster as dg  # noqa: PLC0415 - reads its settings from the environment of this process

    from actuals_pipelines.definitions import defs  # noqa: PLC0415

    tenants = load_tenants(home)
    job = defs.resolve_job_def(JOB)
    tenant_days = len(days) * len(tenants)
    with dg.DagsterInstance.get() as instance:
        _run(job, instance, tenants[:1], days[:1])  # what is loaded at first use
        with measured("without Dagster", home) as bare:
            _without_dagster(tenants, days)
        with measured(f"one range run of {len(days)} days", home) as ranged:
            _run(job, instance, tenants, days)
        with measured(f"{tenant_days} runs, one per tenant and day", home) as single:
            for loaded in tenants:
                for day in days:
                    _run(job, instance, [loaded], [day])
    for step in (bare, ranged, single):
        step.rows = tenant_days
    print_steps((bare, ranged, single), unit="days")
    own = {name: (_cpu(step) - _cpu(bare)) / tenant_days for name, step in (("range", ranged), ("single", single))}
    tell(f"Dagster's own CPU: {own['range']:.3f} s a tenant-day in a range run, {own['single']:.3f} s in runs of a day")
    if len(days) > 1:
        further = (_cpu(ranged) / len(tenants) - _cpu(single) / tenant_days) / (len(days) - 1)
        tell(f"a further day in a range run: {further:.3f} s CPU; the rest is paid once a run and tenant")
    per_hour = {name: 3600 * tenant_days / step.wall_seconds for name, step in (("range", ranged), ("single", single))}
    tell(f"tenant-days/hour: {per_hour['range']:,.0f} in a range run, {per_hour['single']:,.0f} in runs of a day")
    tell(
        f"ratio runs of a day / range run: CPU {_cpu(single) / _cpu(ranged):.1f}, "
        f"wall {single.wall_seconds / ranged.wall_seconds:.1f}, Dagster's own CPU {own['single'] / own['range']:.1f}"
    )


def _run(job: dg.JobDefinition, instance: dg.DagsterInstance, tenants: list[LoadedTenant], days: list[date]) -> None:
    """One run of the take-in job, as a sensor asks for it."""
    import dagster as dg  # noqa: PLC0415

    keys = [
        dg.AssetKey([loaded.asset_prefix, source.name, step])
        for loaded in tenants
        for source in loaded.tenant.sources
        for step in ("raw", "validated", "stored")
    ]
    span = {"dagster/asset_partition_range_start": str(days[0]), "dagster/asset_partition_range_end": str(days[-1])}
    done = job.execute_in_process(instance=instance, asset_selection=keys, tags=span, raise_on_error=True)
    materialised = len(done.get_asset_materialization_events())
    if materialised != len(keys) * len(days):
        raise SystemExit(f"{materialised} materialisations, but {len(keys)} assets and {len(days)} days")


def _without_dagster(tenants: list[LoadedTenant], days: list[date]) -> None:
    """The same operations in the same order."""
    for loaded in tenants:
        for source in loaded.tenant.sources:
            with loaded.opened("benchmark") as environment:
                take_in.land(environment, source, days, now=datetime.now(UTC))
                take_in.validate(environment, source, days)
                take_in.publish(environment, source, days)


def _cpu(step: Step) -> float:
    return step.cpu_seconds + step.server_cpu_seconds


def _be_the_code_location(platform: Platform) -> None:
    """Prepare Dagster's tables, and put what `actuals up` gives its code location into this process's environment."""
    passwords = read_platform_credentials(platform.home, platform.provider)
    prepare_dagster(platform, passwords)
    os.environ.update(dagster_environment(platform.home, platform.address, passwords))


if __name__ == "__main__":
    main()
