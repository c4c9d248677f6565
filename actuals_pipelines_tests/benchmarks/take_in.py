# ruff: noqa: S608 - SQL is put together from our own names
"""Taking in without Dagster: `python -m actuals_pipelines_tests.benchmarks.take_in --orders 10000 100000`.

For each number of orders: demo data of five days and a temporary home with one tenant (neither counted), then, in one
process, what a range run does with each source: land, validate and publish all days of it. Then two days of the shop
arrive as units of one order each, a few and many: what a further unit costs whatever is in it.

How to read it: CPU seconds of this process and of PostgreSQL and the peak of memory, per step; `judge` is the first
judgement of the process, which loads Great Expectations. `per 1M rows` leaves that out. `ratio` is validating and
publishing shop and settlement over a limit of the same run: DuckDB alone reads the same NDJSON and CSV into plain
Parquet with typed days and minor units (median of 3). On a busy machine look at CPU.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import duckdb

from actuals_pipelines.domain.source import Source
from actuals_pipelines.landing import land
from actuals_pipelines.operations import take_in
from actuals_pipelines.operations.demo_data import DemoData, demo_tenant_yaml
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.operations.provision import apply
from actuals_pipelines.settings import Home
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines.validate import Profile, UnitToJudge, judge_units
from actuals_pipelines_tests.benchmarks.main_job import TENANT, Prepared, prepare
from actuals_pipelines_tests.benchmarks.stopwatch import Step, interleaved, measured, print_steps, tell
from actuals_pipelines_tests.benchmarks.temporary_home import in_a_process_of_its_own, temporary_home

SINGLES = "shop"
"""The source whose last delivery arrives order by order."""


def main() -> None:
    """Measure each size in a fresh process."""
    parser = argparse.ArgumentParser(description="Taking in, without Dagster.")
    parser.add_argument("--orders", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--units", type=int, default=50, help="units of one order each, beyond the first five")
    asked = parser.parse_args()
    for orders in asked.orders:
        with tempfile.TemporaryDirectory(prefix="actuals-benchmark-") as folder, temporary_home() as platform:
            prepared = in_a_process_of_its_own(prepare, orders, Path(folder), True)
            text = demo_tenant_yaml(TENANT, "https://127.0.0.1:1", start=prepared.days[0])
            apply(platform, text, f"{TENANT}.yaml")
            in_a_process_of_its_own(measure, platform.home, prepared, orders, asked.units)


def measure(home: Home, prepared: Prepared, orders: int, units: int) -> None:
    """Take everything in, hold it against the limit, and print."""
    loaded = load_tenant(home, TENANT)
    with loaded.opened("benchmark") as environment:
        tell(f"\ntaking in {orders:,} orders of five days")
        steps = list(_whole_days(home, environment, prepared))
        print_steps(steps)
        few, many = _single_orders(home, environment, prepared, units)
        environment.close()
    work = [step for step in steps if step.name.startswith(("validate", "publish"))]
    millions = sum(step.rows for step in work if step.name.startswith("validate")) / 1e6
    tell(f"per 1M rows: {_cpu(work) / millions:.1f} CPU s, PostgreSQL {_server(work) / millions:.1f}")
    cpu, server = (many.cpu_seconds - few.cpu_seconds) / units, (many.server_cpu_seconds - few.server_cpu_seconds)
    tell(f"per further unit: {1000 * cpu:.1f} ms CPU, PostgreSQL {1000 * server / units:.1f} ms")
    data = prepared.data
    limit = interleaved(3, plain=lambda: _plain_parquet(data))["plain"]
    held = [step for step in work if step.name.split()[1] in ("shop", "settlement")]
    tell(f"limit: DuckDB reads shop and settlement into typed plain Parquet: {limit.cpu_seconds:.3f} s CPU")
    tell(f"ratio to the limit (CPU): {_cpu(held) / limit.cpu_seconds:.1f}")


def _whole_days(home: Home, environment: TenantEnvironment, prepared: Prepared) -> Iterator[Step]:
    """Every source, all days in one go, but the last day of the shop."""
    tenant = environment.tenant
    with measured("judge nothing yet", home) as step:
        judge_units([UnitToJudge(Profile(), ())], tenant.source(SINGLES))
    yield step
    for name, files in prepared.deliveries.items():
        source = tenant.source(name)
        delivered = files[:-1] if name == SINGLES else files
        days = [day for day, _ in delivered]
        with measured(f"land {name}", home) as step:
            for day, path in delivered:
                with path.open("rb") as stream:
                    land(environment, source, stream, door="upload", delivery=path.name, partition=day)
        yield step
        for verb, do, count in (
            ("validate", take_in.validate, "transactions"),
            ("publish", take_in.publish, "added"),
        ):
            with measured(f"{verb} {name}", home) as step:
                done = do(environment, source, days)
            if any(result.is_held for result in done):
                raise SystemExit(f"{verb} {name}: a day is held, so its time would be no measurement")
            step.rows = sum(result.counts.get(count, 0) for result in done)
            yield step


def _single_orders(home: Home, environment: TenantEnvironment, prepared: Prepared, units: int) -> tuple[Step, Step]:
    """Take in a day of five units of one order each, then a day of as many more as were asked for."""
    last_day, last_file = prepared.deliveries[SINGLES][-1]
    with last_file.open("rb") as file:
        orders = iter(file.readlines())
    source = environment.tenant.source(SINGLES)
    first = _one_by_one(home, environment, source, last_day, [next(orders) for _ in range(5)])
    others: list[bytes] = []
    with suppress(StopIteration):  # the smallest data has fewer orders in a day
        others += [next(orders) for _ in range(5 + units)]
    second = _one_by_one(home, environment, source, last_day + timedelta(days=1), others)
    print_steps([first, second], unit="units")
    return first, second


def _one_by_one(home: Home, environment: TenantEnvironment, source: Source, day: date, orders: list[bytes]) -> Step:
    for number, order in enumerate(orders):
        land(environment, source, io.BytesIO(order), door="upload", delivery=f"{day} {number}", partition=day)
    with measured(f"take in {len(orders)} units of one order", home) as step:
        take_in.validate(environment, source, [day])
        take_in.publish(environment, source, [day])
    step.rows = len(orders)
    return step


def _plain_parquet(data: DemoData) -> None:
    """What nobody can avoid: parse every field of the same bytes once, and write the rows in a typed form."""
    minor = "(({}) * 1000)::DECIMAL(18, 3)::BIGINT"
    shop = (
        f"SELECT data.*, timestamp::TIMESTAMPTZ AS moment, {minor.format('(data.total)::DECIMAL(18, 3)')} AS minor "
        f"FROM read_json({[str(path) for path in data.shop]!r}, format = 'newline_delimited')"
    )
    gross = 'coalesce("Gross Credit (GC)", "Gross Debit (GC)", 0)::DECIMAL(18, 3)'
    settlement = (
        f'SELECT *, "Creation Date"::TIMESTAMP AS moment, {minor.format(gross)} AS minor '
        f"FROM read_csv({[str(path) for path in data.settlement]!r})"
    )
    with duckdb.connect(config={"threads": 2}) as connection, tempfile.TemporaryDirectory() as folder:
        for name, query in (("shop", shop), ("settlement", settlement)):
            connection.execute(f"COPY ({query}) TO '{folder}/{name}.parquet' (COMPRESSION zstd)")


def _cpu(steps: list[Step]) -> float:
    return sum(step.cpu_seconds for step in steps)


def _server(steps: list[Step]) -> float:
    return sum(step.server_cpu_seconds for step in steps)


if __name__ == "__main__":
    main()
