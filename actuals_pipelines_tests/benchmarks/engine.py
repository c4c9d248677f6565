# ruff: noqa: S608 - SQL is put together from our own names and numbers
"""The matching engine: `python -m actuals_pipelines_tests.benchmarks.engine --rows 100000 1000000`. No home, no server.

For each number of rows (`engine_rows`): orders against a PSP (by number, then by number in text, with explanations)
and orders against a ledger that has the numbers in its texts alone. Measured, each with the rows encrypted on the way
in and state and changes encrypted on the way out, in a process of its own:

- a full run of both packages, held against the truth: precision and recall of `matched`, over rows;
- a close of 50,000 new rows upon that history, a close without news, and a small tenant's close;
- skew: one amount, one key, one payout, each far too often.

How to read it: `limit` is DuckDB over the same rows in plain Parquet: group each side by key and currency, join the
groups, add up; nobody can avoid that work. `ratio` is ours over the limit, of the same run. Recall is over what ids can
tell: a payment without a number, or with a wrong one, belongs to no order. On a busy machine look at CPU.

`--peers` also runs pandas and polars over the same rows: the exact pass alone, which is all they give.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from actuals_pipelines.domain.package import Due, ExplanationRule, MatchingPackage, Member, Pass, Side
from actuals_pipelines.reconcile.close import Closed, Pins, close
from actuals_pipelines.reconcile.solve import columns_mentioned, solve
from actuals_pipelines.reconcile.state import State
from actuals_pipelines.store import files
from actuals_pipelines.store.files import DataFile, FileKind
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines_tests.benchmarks.engine_rows import BALANCES, ROWS_PER_ORDER, write_rows
from actuals_pipelines_tests.benchmarks.stopwatch import Step, interleaved, measured, print_steps, tell, total
from actuals_pipelines_tests.benchmarks.temporary_home import in_a_process_of_its_own
from actuals_pipelines_tests.store.environment import a_tenant_with_files

SOURCES = ("shop", "psp", "ledger")
BY_NUMBER = Pass(name="order number", by="order")
IN_TEXT = Pass(name="order number in text", by="order", look_in=("text",))
RULES = (
    ExplanationRule("charged back", "chargeback", "soll_rows > 0 and balance_difference = -ist_amount('chargeback')"),
    ExplanationRule("paid twice", "refund_due", "ist_count('payment') > soll_count('sale') and balance_difference < 0"),
    ExplanationRule("fee kept", "fee", "soll_rows > 0 and ist_rows > 0 and balance_difference between 1 and 40"),
)
PSP = MatchingPackage(
    name="orders_vs_psp",
    soll=(Member("shop", "kind in ('sale', 'refund')"),),
    ist=(Member("psp", "kind in ('payment', 'refund', 'chargeback')"),),
    due={Side.IST: Due(3, business=True)},
    passes=(BY_NUMBER, IN_TEXT),
    explanations=RULES[:2],
)
LEDGER = MatchingPackage(name="orders_vs_ledger", soll=(Member("shop"),), ist=(Member("ledger"),), passes=(IN_TEXT,))
PACKAGES = (PSP, LEDGER)
DAY = date(2026, 5, 1)
NEW_ROWS = 50_000
SMALL_ROWS = 1_000
ROUNDS = 5

Kept = dict[str, DataFile]
"""Source -> its encrypted rows."""


def main() -> None:
    """Measure each size in fresh processes."""
    parser = argparse.ArgumentParser(description="The matching engine against the truth and the limit.")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--peers", action="store_true", help="also pandas and polars, which the extra `benchmarks` has")
    asked = parser.parse_args()
    if asked.peers:
        _demand_peers()
    for rows in asked.rows:
        with tempfile.TemporaryDirectory(prefix="actuals-benchmark-") as folder:
            write_rows(round(rows / ROWS_PER_ORDER), Path(folder))
            tell(f"\n{rows:,} rows")
            in_a_process_of_its_own(whole, Path(folder), asked.peers)
            in_a_process_of_its_own(increments, Path(folder))
    in_a_process_of_its_own(skew)
    in_a_process_of_its_own(small)


def whole(folder: Path, peers: bool) -> None:
    """A full run of both packages, encrypted in and out, beside the limit and the peers."""
    env = _tenant(folder)
    kept = {source: _encrypt(env, pq.read_table(folder / f"{source}.parquet").drop_columns("i")) for source in SOURCES}
    steps: list[Step] = []
    closed: list[Closed] = []
    for package in PACKAGES:
        with measured(f"full run of {package.name}") as step:
            closed.append(_close(env, None, _rows(env, kept, package), package))
        step.rows = closed[-1].summary.count
        steps.append(step)
    ours = total("full run of both", steps, sum(step.rows for step in steps))
    limits = interleaved(3, **{package.name: _limit(folder, package) for package in PACKAGES})
    limit = total("limit: group and join, plain Parquet", list(limits.values()), 0)
    beside = list(interleaved(1, **_peers(folder)).values()) if peers else []
    print_steps([*steps, ours, limit, *beside])
    cpu, wall = ours.cpu_seconds / limit.cpu_seconds, ours.wall_seconds / limit.wall_seconds
    tell(f"ratio to the limit: CPU {cpu:.1f}, wall {wall:.1f}")
    for package, one in zip(PACKAGES, closed, strict=True):
        tell(_truth(folder, package, one))
    exact = MatchingPackage(name="exact", soll=(Member("shop"),), ist=(Member("psp"),), passes=(BY_NUMBER,))
    narrow = [*(name for name in pq.read_schema(folder / "psp.parquet").names if name not in ("i", "text"))]
    parts = [pq.read_table(folder / f"{source}.parquet", columns=narrow) for source in ("shop", "psp")]
    rows = pa.concat_tables(parts, promote_options="permissive")
    with measured("exact pass in memory: one result a row") as step:
        solve(rows, exact)
    step.rows = rows.num_rows
    print_steps([step])


def increments(folder: Path) -> None:
    """New rows and no news upon the history."""
    env = _tenant(folder)
    tables = {s: pq.read_table(folder / f"{s}.parquet").drop_columns("i") for s in ("shop", "psp")}
    new = {s: table.slice(table.num_rows - min(NEW_ROWS, table.num_rows // 5) // 2) for s, table in tables.items()}
    old = {s: _encrypt(env, table.slice(0, table.num_rows - new[s].num_rows)) for s, table in tables.items()}
    fresh = {s: _encrypt(env, table) for s, table in new.items()}
    with measured("first close: all but the new rows") as full:
        opening = _close(env, None, _rows(env, old, PSP), PSP).state
    nothing = {s: _encrypt(env, table.slice(0, 0)) for s, table in tables.items()}
    steps: list[Step] = []
    for name, rows in ((f"close of {sum(map(len, new.values())):,} new rows", fresh), ("close without news", nothing)):
        with measured(name) as step:
            opening = _close(env, opening, _rows(env, rows, PSP), PSP, day=DAY + timedelta(days=len(steps) + 1)).state
        steps.append(step)
    print_steps([full, *steps])
    shares = ", ".join(f"{step.name} {100 * step.cpu_seconds / full.cpu_seconds:.1f} %" for step in steps)
    tell(f"share of the first close's CPU: {shares}")


def small() -> None:
    """A small tenant: 1,000 rows of 3 sources upon a history of ten such days; median of some days."""
    with tempfile.TemporaryDirectory(prefix="actuals-benchmark-") as folder:
        env = _tenant(Path(folder))
        write_rows(round((10 + ROUNDS) * SMALL_ROWS / ROWS_PER_ORDER), Path(folder))
        tables = {s: pq.read_table(f"{folder}/{s}.parquet").drop_columns("i") for s in SOURCES}
        days = 10 + ROUNDS
        states: dict[str, State | None] = dict.fromkeys(package.name for package in PACKAGES)
        steps: list[Step] = []
        for number in range(days):
            kept = {s: _encrypt(env, t.slice(number * (len(t) // days), len(t) // days)) for s, t in tables.items()}
            for package in PACKAGES:
                with measured(f"close of {package.name}") as step:
                    day = DAY + timedelta(days=number)
                    states[package.name] = _close(
                        env, states[package.name], _rows(env, kept, package), package, day=day
                    ).state
                steps.append(step)
    for package in PACKAGES:
        cpu = [1000 * step.cpu_seconds for step in steps[20:] if step.name.endswith(package.name)]
        tell(f"a small tenant's {SMALL_ROWS:,} rows: close of {package.name}: {statistics.median(cpu):.0f} ms CPU")


def skew() -> None:
    """Cases in which a naive join is quadratic; the same number of rows, all different, beside each."""
    count = 100_000
    key = "CAST(lpad(to_hex(hash({})), 32, '0') AS UUID)"
    cases = {
        "one amount": (f"{key.format('i')}", f"{key.format('i')}", "100"),
        "one key": (f"{key.format('0')}", f"{key.format('0')}", "100"),
        "one payout": (f"{key.format('0')}", f"CASE i WHEN 0 THEN {key.format('0')} ELSE {key.format('i')} END", "100"),
        "all different": (f"{key.format('i')}", f"{key.format('i')}", "i"),
    }
    steps: list[Step] = []
    for by in (BY_NUMBER, IN_TEXT):
        package = MatchingPackage(name="skew", soll=(Member("shop"),), ist=(Member("psp"),), passes=(by,))
        for name, (soll, ist, amount) in cases.items():
            rows = _skewed(count, soll, ist, amount)
            with measured(f"skew: {name} {count:,} times, {by.name}") as step:
                close(None, rows, [], package, Pins(DAY))
            step.rows = rows.num_rows
            steps.append(step)
    print_steps(steps)


def _skewed(count: int, soll: str, ist: str, amount: str) -> pa.Table:
    row = """hash(i, '{0}') AS a, CAST(lpad(to_hex(hash('{0}', i)), 32, '0') AS UUID) AS row_uid, row_uid AS row_digest,
        i::VARCHAR AS row_id, '{0}' AS source, 'sale' AS kind, 'booked' AS status, NULL::VARCHAR AS transaction_id,
        DATE '2026-04-30' AS booked_on, NULL::DATE AS value_date, ({1})::BIGINT AS amount_minor_units,
        'EUR' AS currency, {2} AS key_order, [{2}] AS keys_order_in_text"""
    with duckdb.connect() as con:
        con.execute("SET arrow_lossless_conversion = true")
        sides = [f"SELECT {row.format(*side)} FROM range({count}) t(i)" for side in
                 (("shop", amount, soll), ("psp", amount, ist))]  # fmt: skip
        return con.sql(" UNION ALL ".join(sides)).to_arrow_table().drop_columns("a")


def _tenant(folder: Path) -> TenantEnvironment:
    place = folder / f"tenant-{len(list(folder.iterdir()))}"
    place.mkdir()
    return cast(TenantEnvironment, a_tenant_with_files(place))  # files need its keys and folder alone


def _encrypt(env: TenantEnvironment, table: pa.Table) -> DataFile:
    return files.write(env, FileKind.TRANSACTIONS, UUID(int=1), UUID(int=2), table)


def _rows(env: TenantEnvironment, kept: Kept, package: MatchingPackage) -> pa.RecordBatchReader:
    """What a close takes in, opened as the store opens it: decrypted while it is read."""
    rows = files.dataset(env, [kept[source] for source in sorted({member.source for _, member in package.members()})])
    return rows.scanner(columns=columns_mentioned(package, rows.schema.names), batch_size=122_880).to_reader()


def _close(
    env: TenantEnvironment, opening: State | None, rows: pa.RecordBatchReader, package: MatchingPackage, day: date = DAY
) -> Closed:
    """Close, then write what a close keeps; the state it gives is the kept one."""
    closed = close(opening, rows, [], package, Pins(day, coverage=None))
    kept = files.write(env, FileKind.CHANGES, UUID(int=1), UUID(int=2), closed.changes)
    parts = (*closed.state.parts[:-1], files.dataset(env, [kept]))
    return replace(closed, state=replace(closed.state, parts=parts))


def _truth(folder: Path, package: MatchingPackage, closed: Closed) -> str:
    """Precision and recall of `matched`, over the package's rows."""
    sources = [member.source for _, member in package.members()]
    numbered = " UNION ALL ".join(f"SELECT row_uid, i FROM '{folder / source}.parquet'" for source in sources)
    balances = ", ".join(f"'{outcome}'" for outcome in BALANCES)
    # A ledger's line knows nothing of how its order was paid: it balances unless the generator left out or changed it.
    right = (
        f"outcome IN ({balances})"
        if package is PSP
        else "outcome <> 'missing_soll' AND i % 500 <> 7 AND (i % 500 <> 5 OR outcome = 'refunded')"
    )
    with duckdb.connect() as con:
        con.register("state", closed.state.rows)
        con.execute(f"CREATE TEMP TABLE told AS SELECT status, i, group_key, {right} AS is_right FROM state "
                    f"JOIN ({numbered}) USING (row_uid) JOIN '{folder / 'truth'}.parquet' USING (i)")  # fmt: skip
        con.execute("CREATE TEMP TABLE mixed AS SELECT group_key FROM told GROUP BY ALL HAVING min(i) < max(i)")
        found = con.execute(
            "SELECT count(*) FILTER (status = 'matched'), "
            "count(*) FILTER (status = 'matched' AND is_right AND NOT m), count(*) FILTER (is_right) "
            "FROM (SELECT *, group_key IN (FROM mixed) AS m FROM told)"
        ).fetchall()
    [(matched, rightly, wanted)] = found
    return f"{package.name:18} precision {rightly / matched:.6f}  recall {rightly / wanted:.6f}  matched {matched:,}"


def _limit(folder: Path, package: MatchingPackage) -> Callable[[], None]:
    """Group each side by key and currency, join the groups, add up."""
    keys = "coalesce(key_order, keys_order_in_text[1])" if package is LEDGER else "key_order"

    def run() -> None:
        sides = [
            f"SELECT {keys} AS k, currency, sum(amount_minor_units) AS amount, count(*) AS n "
            f"FROM '{folder / member.source}.parquet' GROUP BY ALL"
            for _, member in package.members()
        ]
        with duckdb.connect(config={"threads": 2}) as con:
            con.execute(
                "SELECT count(*), count(*) FILTER (soll.amount <> ist.amount), sum(abs(soll.amount - ist.amount)) "
                f"FROM ({sides[0]}) soll FULL JOIN ({sides[1]}) ist USING (k, currency)"
            ).fetchall()

    return run


def _demand_peers() -> None:
    for name in ("pandas", "polars"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise SystemExit(
                f"{name} is not installed. Install the peers: pip install --require-hashes --no-deps "
                "-r requirements-benchmarks.lock, or leave out --peers."
            ) from None


def _peers(folder: Path) -> dict[str, Callable[[], None]]:
    """The exact pass alone, as a person would write it: group each side, join, compare."""
    columns = ["key_order", "currency", "amount_minor_units"]
    by = columns[:2]

    def with_pandas() -> None:
        def side(source: str) -> Any:
            table = pq.read_table(folder / f"{source}.parquet", columns=columns)
            key = table["key_order"].combine_chunks().cast(pa.binary(16))
            frame = table.set_column(0, "key_order", key).to_pandas().dropna(subset=["key_order"])
            return frame.groupby(by)["amount_minor_units"].sum().reset_index()

        joined = side("shop").merge(side("psp"), on=by, how="outer", suffixes=("_soll", "_ist"))
        (joined["amount_minor_units_soll"] == joined["amount_minor_units_ist"]).sum()

    def with_polars() -> None:
        polars = importlib.import_module("polars")

        def side(source: str) -> Any:
            table = pq.read_table(folder / f"{source}.parquet", columns=columns)
            key = table["key_order"].combine_chunks().cast(pa.binary(16)).cast(pa.binary())
            frame = polars.from_arrow(table.set_column(0, "key_order", key)).drop_nulls("key_order")
            return frame.group_by(by).agg(polars.col("amount_minor_units").sum())

        joined = side("shop").join(side("psp"), on=by, how="full")
        (joined["amount_minor_units"] == joined["amount_minor_units_right"]).sum()

    return {"pandas, the exact pass alone": with_pandas, "polars, the exact pass alone": with_polars}


if __name__ == "__main__":
    main()
