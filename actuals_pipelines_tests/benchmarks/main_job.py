# ruff: noqa: S608 - SQL is put together from our own names
"""The main job from file to proof: `python -m actuals_pipelines_tests.benchmarks.main_job --orders 10000 100000`.

For each number of orders: demo data of five days and a temporary home with one tenant (neither counted), then, in one
process, the day's work as Dagster's steps call it: land the shop's NDJSON, the PSP's pages and the bank's CAMT.053;
validate and publish each source-day; close each package at each day. Doors, network and Dagster are left out
(`orchestration.py` measures Dagster). Settlement reports are left out at a million orders and above.

How to read it: wall seconds, CPU seconds of this process and of PostgreSQL, and peak memory, per step. `found` must
equal `injected`, with no false alarm and a residual of 0, or the times mean nothing. `ratio` is the whole job over a
limit of the same run: DuckDB alone reads the same shop and PSP rows from plain Parquet, with order numbers extracted
and amounts in minor units, joins them by order and adds up the differences (median of 3). Nobody can avoid that work;
reading, sealing, judging, publishing, proofs and history are what the rest buys. On a busy machine look at CPU.

`--profile` also prints the functions of our own code in which most time was spent, callees included.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import CodeType

import duckdb
import pyarrow.parquet as pq

from actuals_pipelines.landing import land
from actuals_pipelines.operations import reconcile, take_in
from actuals_pipelines.operations.demo.truth import PackageOutcome, outcomes
from actuals_pipelines.operations.demo_data import DemoData, Wanted, demo_tenant_yaml, write_demo_data
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.operations.provision import apply
from actuals_pipelines.operations.psp_emulator.books import Books, Question
from actuals_pipelines.operations.results import DayResult
from actuals_pipelines.settings import Home
from actuals_pipelines.sources.oauth_api import load_connector, page_container
from actuals_pipelines.sources.oauth_api.pull import Page
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines_tests.benchmarks.stopwatch import Step, interleaved, measured, print_steps, tell, total
from actuals_pipelines_tests.benchmarks.temporary_home import in_a_process_of_its_own, temporary_home

TENANT = "north"
NO_SETTLEMENT_FROM = 1_000_000  # orders
PAGE_ROWS = 250  # the connector's own limit
OWN_CODE = "/actuals_pipelines/"
PROFILED_FUNCTIONS = 20

Deliveries = dict[str, list[tuple[date, Path]]]
"""Source -> what it delivers for each day."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What lies ready before the clock starts."""

    data: DemoData
    deliveries: Deliveries
    days: list[date]


def main() -> None:
    """Measure each size in a fresh process."""
    parser = argparse.ArgumentParser(description="The main job from file to proof.")
    parser.add_argument("--orders", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--profile", action="store_true", help="print our slowest functions too; adds its own cost")
    asked = parser.parse_args()
    for orders in asked.orders:
        has_settlement = orders < NO_SETTLEMENT_FROM
        with tempfile.TemporaryDirectory(prefix="actuals-benchmark-") as folder, temporary_home() as platform:
            prepared = in_a_process_of_its_own(prepare, orders, Path(folder), has_settlement)
            first_day = prepared.days[0]
            text = demo_tenant_yaml(TENANT, "https://127.0.0.1:1", start=first_day, has_settlement=has_settlement)
            apply(platform, text, f"{TENANT}.yaml")
            in_a_process_of_its_own(measure, platform.home, prepared, orders, asked.profile)


def prepare(orders: int, folder: Path, has_settlement: bool) -> Prepared:
    """Make the demo data, the PSP's pages as pulls would land them, and the limit's Parquet."""
    wanted = Wanted(orders)
    data = write_demo_data(wanted, folder)
    pages = []
    for day in wanted.dates:
        pages.append(folder / f"pull-{day}.pages")
        with pages[-1].open("wb") as file:
            file.writelines(page_container(load_connector("psp"), _pages(Books(folder), day)))
    paths = {"shop": list(data.shop), "psp": pages, "bank": list(data.bank)}
    if has_settlement:
        paths["settlement"] = list(data.settlement)
    _write_limit(data, folder)
    deliveries = {source: list(zip(wanted.dates, files, strict=True)) for source, files in paths.items()}
    return Prepared(data, deliveries, wanted.dates)


def measure(home: Home, prepared: Prepared, orders: int, profiles: bool) -> None:
    """Do the job, hold it against the truth and the limit, and print."""
    profile = cProfile.Profile() if profiles else None
    loaded = load_tenant(home, TENANT)
    with loaded.opened("benchmark") as environment:
        with profile or nullcontext():
            steps = list(job(home, environment, prepared))
        found = outcomes(environment, pq.read_table(prepared.data.truth))
        environment.close()
    rows = sum(step.rows for step in steps if step.name.startswith("validate"))
    whole = total(f"from file to proof: {orders:,} orders", steps, rows)
    print_steps([*steps, whole])
    for package in found:
        tell(_truth(package))
    folder = str(prepared.data.folder)
    limit = interleaved(3, bare=lambda: _bare_join(folder))["bare"]
    wall, cpu = limit.wall_seconds, limit.cpu_seconds
    tell(f"limit: DuckDB joins and sums the same rows from plain Parquet: {wall:.3f} s, {cpu:.3f} s CPU")
    [close] = [step for step in steps if step.name == "close orders_vs_psp"]
    tell(
        f"ratio to the limit: whole job {whole.wall_seconds / wall:.0f} (CPU {whole.cpu_seconds / cpu:.0f}), "
        f"closes of orders_vs_psp alone {close.wall_seconds / wall:.0f} (CPU {close.cpu_seconds / cpu:.0f})"
    )
    if profile is not None:
        _print_profile(profile)


def job(home: Home, environment: TenantEnvironment, prepared: Prepared) -> Iterator[Step]:
    """Land, validate, publish, close: every step finished for all days before the next, as a range run does it."""
    tenant = environment.tenant
    for name, files in prepared.deliveries.items():
        with measured(f"land {name}", home) as step:
            for day, path in files:
                with path.open("rb") as stream:
                    land(environment, tenant.source(name), stream, door="upload", delivery=path.name, partition=day)
        yield step
    for verb, do, outcome in (("validate", take_in.validate, "passed"), ("publish", take_in.publish, "published")):
        for name in prepared.deliveries:
            with measured(f"{verb} {name}", home) as step:
                done = do(environment, tenant.source(name), prepared.days)
            step.rows = _rows(done, outcome, "transactions" if verb == "validate" else "added")
            yield step
    for package in tenant.packages:
        with measured(f"close {package.name}", home) as step:
            closed = [result for day in prepared.days for result in reconcile.close(environment, package, [day])]
        _rows(closed, "published", "rows")
        step.rows = closed[-1].counts["rows"]
        yield step


def _rows(results: list[DayResult], outcome: str, count: str) -> int:
    """How many rows; refuses a day that did not come out as it should, whose time would be no measurement."""
    wrong = {f"{result.day}: {result.outcome}" for result in results if result.outcome != outcome}
    if wrong:
        raise SystemExit(f"not {outcome}: {', '.join(sorted(wrong))}")
    return sum(result.counts.get(count, 0) for result in results)


def _truth(package: PackageOutcome) -> str:
    found = sum(row["found"] for row in package.scores.to_pylist())
    alarms = sum(row["false_alarms"] for row in package.scores.to_pylist())
    return (
        f"{package.overview.package:20} found {found} of {package.injected} injected, {alarms} false alarms, "
        f"{package.closes} closes, {package.terms_proved} terms proved, residual {package.residual}"
    )


def _pages(books: Books, day: date) -> Iterator[Page]:
    """Every page of the PSP's day, byte for byte as its API answers."""
    number = 0
    for endpoint in ("transactions", "payouts"):
        cursor = None
        while True:
            body = books.page(Question("psp_api", endpoint, day, day), PAGE_ROWS, cursor)
            number += 1
            answer = json.loads(body)
            yield Page(endpoint, number, len(answer["data"]), body)
            cursor = answer["next_cursor"]
            if cursor is None:
                break


def _write_limit(data: DemoData, folder: Path) -> None:
    """The shop's and the PSP's rows in plain Parquet, ready to be joined: order number, currency, minor units."""
    number = "regexp_extract({}, 'ORD[^0-9]{{0,3}}([0-9]{{10}})', 1)"
    minor = "({} * CASE currency WHEN 'JPY' THEN 1 WHEN 'KWD' THEN 1000 ELSE 100 END)::BIGINT"
    sides = {
        "shop": (data.shop, "data.reference", "(data.total)::DECIMAL(18, 3)", "data.currency"),
        "psp": (
            [path for path in data.psp_api if path.name.startswith("transactions")],
            "merchant_reference",
            "(amount)::DECIMAL(18, 3)",
            "currency",
        ),
    }
    with duckdb.connect() as connection:
        for side, (paths, reference, amount, currency) in sides.items():
            files = [str(path) for path in paths]
            query = (
                f"SELECT {number.format('reference')} AS order_number, currency, {minor.format('amount')} AS amount "
                f"FROM (SELECT {reference} AS reference, {amount} AS amount, {currency} AS currency "
                f"FROM read_json({files!r}, format = 'newline_delimited'))"
            )
            connection.execute(f"COPY ({query}) TO '{folder / side}.parquet'")


def _bare_join(folder: str) -> None:
    side = "SELECT order_number, currency, sum(amount) AS amount FROM '{}/{}.parquet' GROUP BY ALL"
    query = (
        "SELECT count(*), count(*) FILTER (difference <> 0), sum(abs(difference)) FROM ("
        "SELECT coalesce(soll.amount, 0) - coalesce(ist.amount, 0) AS difference "
        f"FROM ({side.format(folder, 'shop')}) soll FULL JOIN ({side.format(folder, 'psp')}) ist "
        "USING (order_number, currency))"
    )
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute(query).fetchall()


def _print_profile(profile: cProfile.Profile) -> None:
    """Our own functions by cumulative time: callers come before what they call."""
    own = [
        (entry.totaltime, entry.callcount, f"{_place(entry.code)}:{entry.code.co_qualname}")
        for entry in profile.getstats()
        if isinstance(entry.code, CodeType) and OWN_CODE in entry.code.co_filename
    ]
    tell("slowest functions of our own, cumulative seconds and calls:")
    for seconds, calls, name in sorted(own, reverse=True)[:PROFILED_FUNCTIONS]:
        tell(f"  {seconds:8.2f} {calls:>8} {name}")


def _place(code: CodeType) -> str:
    return "/".join(Path(code.co_filename).parts[-2:])


if __name__ == "__main__":
    main()
