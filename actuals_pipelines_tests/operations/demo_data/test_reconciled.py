"""From the files to the scores: the demo tenant's own configuration finds every injected defect and nothing else."""

from __future__ import annotations

import io
import json
import secrets
from datetime import date
from pathlib import Path
from uuid import uuid4

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from actuals_pipelines.domain.package import MatchingPackage
from actuals_pipelines.domain.tenant import Tenant
from actuals_pipelines.encryption.pseudonyms import Pseudonyms
from actuals_pipelines.normalise import normalise
from actuals_pipelines.operations.demo_data import DemoData, Wanted, compare, demo_tenant_yaml, missed, write_demo_data
from actuals_pipelines.readers import open_reader
from actuals_pipelines.reconcile.close import Pins, close
from actuals_pipelines.reconcile.solve import solve
from actuals_pipelines.tables import RESULTS
from actuals_pipelines.tenants.parse import parse_tenant

WEEK = Wanted(orders=1000, seed=8)
MONTH_END = Wanted(orders=3000, seed=2, days=9, last_day=date(2026, 3, 7))  # ends on a Saturday
PACKAGES = ("orders_vs_psp", "payout_vs_bank", "settlement_vs_psp")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(WEEK, id="a week"),
        pytest.param(MONTH_END, id="over a month's end"),
    ],
)
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[DemoData, Tenant, pa.Table]:
    wanted: Wanted = request.param
    made = write_demo_data(wanted, tmp_path_factory.mktemp("demo"))
    text = demo_tenant_yaml("north", "https://127.0.0.1:8447", start=wanted.first_day)
    tenant = parse_tenant(text, "north.yaml")
    return made, tenant, _transactions(made, tenant)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_defect_is_found_and_there_is_no_false_alarm(
    demo: tuple[DemoData, Tenant, pa.Table], package: str
) -> None:
    made, tenant, transactions = demo
    truth = pq.read_table(made.truth)
    results = _results(transactions, tenant.package(package), made)

    scores = compare(truth, results, package).to_pylist()

    assert missed(truth, results, package).to_pylist() == []
    assert [(row["kind"], row["false_alarms"]) for row in scores if row["false_alarms"]] == []
    assert all(row["found"] == row["injected"] for row in scores)
    assert sum(row["injected"] for row in scores) == sum(
        count for kind, count in made.defects.items() if _package(kind) == package
    )


@pytest.mark.parametrize("package", PACKAGES[:2])
def test_day_by_day_the_closes_come_to_the_same(demo: tuple[DemoData, Tenant, pa.Table], package: str) -> None:
    """As the demo's main job does it: each close takes in what was booked on its day."""
    made, tenant, transactions = demo
    truth = pq.read_table(made.truth)
    sources = pa.array([member.source for _, member in tenant.package(package).members()])
    state = None
    for path in made.bank:
        day = _day(path)
        booked = pc.and_(pc.equal(transactions["booked_on"], day), pc.is_in(transactions["source"], sources))
        state = close(state, transactions.filter(booked), [], tenant.package(package), Pins(day=day)).state

    assert state is not None
    results = _shaped("FROM solved", solved=state.rows)
    assert missed(truth, results, package).to_pylist() == []
    assert [row for row in compare(truth, results, package).to_pylist() if row["false_alarms"]] == []


def _package(kind: str) -> str:
    return "payout_vs_bank" if kind.startswith("payout_") else "orders_vs_psp"


def _transactions(made: DemoData, tenant: Tenant) -> pa.Table:
    """Every file read and normalised as its source says; nothing may be rejected."""
    look_in = [(each.by, field) for package in tenant.packages for each in package.passes for field in each.look_in]
    keys = Pseudonyms(secrets.token_bytes(32))
    delivered = {
        "shop": [path.read_bytes() for path in made.shop],
        "psp": [_landed(made.psp_api)],
        "bank": [path.read_bytes() for path in made.bank],
        "settlement": [path.read_bytes() for path in made.settlement],
    }
    tables = []
    for name, contents in delivered.items():
        source = tenant.source(name)
        for content in contents:
            reading = open_reader(source.format).read(io.BytesIO(content), source.reader)
            raw = reading.table()
            done = normalise(raw, source, ids=tenant.ids, look_in=look_in, secrets=keys, unit_id=uuid4())
            assert done.rejects.to_pylist() == []
            tables.append(done.transactions)
    return pa.concat_tables(tables, promote_options="default")


def _landed(paths: tuple[Path, ...]) -> bytes:
    """The PSP's rows as pulls would have landed them, without the network: a page per file."""
    head = {"actuals_api_pages": 1, "connector": "psp", "records": {"transactions": "data", "payouts": "data"}}
    pieces = [json.dumps(head).encode() + b"\n"]
    for path in paths:
        body = b'{"data":[' + b",".join(path.read_bytes().splitlines()) + b"]}"
        facts = {"endpoint": path.name.partition("-")[0], "page": 1, "size": len(body)}
        pieces += [json.dumps(facts).encode() + b"\n", body, b"\n"]
    return b"".join([*pieces, json.dumps({"end": True, "pages": len(paths)}).encode() + b"\n"])


def _results(transactions: pa.Table, package: MatchingPackage, made: DemoData) -> pa.Table:
    """Solve at the last day, in the shape of `tables.RESULTS`."""
    sources = pa.array([member.source for _, member in package.members()])
    rows = transactions.filter(pc.is_in(transactions["source"], sources))
    solved = solve(rows, package, as_of=_day(made.bank[-1]))
    together = "SELECT s.*, t.row_id, t.transaction_id FROM solved s JOIN transactions t USING (row_uid)"
    return _shaped(together, solved=solved, transactions=transactions)


def _shaped(query: str, **tables: pa.Table) -> pa.Table:
    with duckdb.connect(config={"arrow_lossless_conversion": "true"}) as connection:
        for name, table in tables.items():
            connection.register(name, table)
        return connection.sql(_AS_RESULTS.format(query=query)).to_arrow_table().cast(RESULTS)


def _day(path: Path) -> date:
    return date.fromisoformat(path.stem.removeprefix("statement-"))


_AS_RESULTS = """
SELECT side, source, row_uid, row_id, transaction_id, currency, amount_minor_units, status, reason,
    difference AS balance_difference, group_key::VARCHAR || currency AS group_id, "pass", category
FROM ({query}) WHERE status <> 'not_relevant'
"""
