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
import pyarrow.parquet as pq
import pytest

from actuals_pipelines.domain.package import MatchingPackage
from actuals_pipelines.domain.tenant import Tenant
from actuals_pipelines.encryption.pseudonyms import Pseudonyms
from actuals_pipelines.normalise import normalise
from actuals_pipelines.operations.demo_data import DemoData, Wanted, compare, demo_tenant_yaml, missed, write_demo_data
from actuals_pipelines.readers import open_reader
from actuals_pipelines.reconcile.solve import solve
from actuals_pipelines.tables import RESULTS
from actuals_pipelines.tenants.parse import parse_tenant

WEEK = Wanted(orders=1000, seed=8)
MONTH_END = Wanted(orders=3000, seed=2, days=17, last_day=date(2026, 3, 7))  # ends on a Saturday
# DuckDB 2.0.0 sometimes stops in its cache of small chunks after a join ("dict-surviving cache", duckdb #23447), by the
# chance of the keys. Ends when reconcile's engine sets `enable_caching_operators = false`, or DuckDB is mended.
_STOPS_SOMETIMES = pytest.mark.xfail(raises=duckdb.InternalException, strict=False, reason="DuckDB #23447")
PACKAGES = ("orders_vs_psp", "payout_vs_bank", "settlement_vs_psp")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(WEEK, id="a week"),
        pytest.param(MONTH_END, id="over a month's end", marks=_STOPS_SOMETIMES),
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
    sources = [member.source for _, member in package.members()]
    last_day = date.fromisoformat(made.bank[-1].stem.removeprefix("statement-"))
    with duckdb.connect(config={"arrow_lossless_conversion": "true"}) as connection:
        connection.register("transactions", transactions)
        rows = connection.sql(
            "SELECT * FROM transactions WHERE list_contains($sources, source)", params={"sources": sources}
        ).to_arrow_table()
        connection.register("solved", solve(rows, package, as_of=last_day))
        return connection.sql(_AS_RESULTS).to_arrow_table().cast(RESULTS)


_AS_RESULTS = """
SELECT s.side, s.source, s.row_uid, t.row_id, t.transaction_id, s.currency, s.amount_minor_units, s.status, s.reason,
    s.difference AS balance_difference, s.group_key::VARCHAR || s.currency AS group_id, s."pass", s.category
FROM solved s JOIN transactions t USING (row_uid) WHERE s.status <> 'not_relevant'
"""
