# ruff: noqa: S608 - SQL is put together from our own names
"""The demo's results held against the truth: defects found, proofs, sentences, and no plaintext in the home."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from actuals_pipelines.engine import engine
from actuals_pipelines.operations.demo.house import DemoFailed
from actuals_pipelines.operations.demo_data import compare
from actuals_pipelines.operations.figures import figures_from_bytes
from actuals_pipelines.operations.reports import explanations, opened_close, overview_of
from actuals_pipelines.reconcile.schema import group_id_sql
from actuals_pipelines.report.overview import PackageOverview
from actuals_pipelines.settings import Home
from actuals_pipelines.store import closes
from actuals_pipelines.tenants.environment import TenantEnvironment

EXPLAINED_KINDS = ("duplicate", "typo", "payout_short")
"""One defect of each is explained in a sentence."""


@dataclass(frozen=True, slots=True)
class PackageOutcome:
    """One package of one tenant at its last close: what people see, and what the truth and the proofs say of it."""

    tenant: str
    overview: PackageOverview
    scores: pa.Table  # demo_data.evaluate.SCORES
    closes: int  # how many stand
    terms_proved: int  # lines of stock and flow, and bridges, over all closes
    residual: int  # of all of them, rows and minor units, absolute; 0 or a proof is broken
    day: date

    @property
    def is_true(self) -> bool:
        """Every injected defect was found, nothing else was called one, and every proof holds."""
        rows = self.scores.to_pylist()  # none where the package has no defect and no alarm
        is_found = all(row["found"] == row["injected"] and not row["false_alarms"] for row in rows)
        return is_found and self.residual == 0 and self.terms_proved > 0

    @property
    def injected(self) -> int:
        """How many defects this package was to find."""
        return int(pc.sum(self.scores["injected"]).as_py() or 0)


@dataclass(frozen=True, slots=True)
class Explained:
    """One injected defect in the product's own sentences."""

    tenant: str
    kind: str
    transaction_id: str
    sentence: str


def outcomes(environment: TenantEnvironment, truth: pa.Table) -> list[PackageOutcome]:
    """Hold the last close of each of a tenant's packages against the truth, and add up the proofs of all closes."""
    found = []
    for package in environment.tenant.packages:
        opened = opened_close(environment, package)
        if opened is None:
            raise DemoFailed("hold results against the truth", f"{package.name} has no close")
        standing = [one for one in closes.history(environment, package.name) if one.state == "published"]
        proofs = [figures_from_bytes(closes.figures(environment, one))["proofs"] for one in standing]
        found.append(
            PackageOutcome(
                tenant=environment.tenant.name,
                overview=overview_of(environment, opened),
                scores=compare(truth, _results(opened.rows, package.name), package.name),
                closes=len(standing),
                terms_proved=sum(len(each["stock_and_flow"]) + len(each["bridges"]) for each in proofs),
                residual=sum(_residual(each) for each in proofs),
                day=opened.close.day,
            )
        )
    return found


def explained(environment: TenantEnvironment, truth: pa.Table) -> list[Explained]:
    """Three injected defects of different kinds, each in a sentence."""
    lines = []
    for kind in EXPLAINED_KINDS:
        of_kind = truth.filter(pc.and_(pc.equal(truth["kind"], kind), pc.is_valid(truth["transaction_id"])))
        if of_kind.num_rows:
            first = of_kind.slice(0, 1).to_pylist()[0]
            [told, *_] = explanations(environment, first["row_id"], first["package"])
            words = " ".join(told.sentences[:2])
            lines.append(Explained(environment.tenant.name, kind, first["transaction_id"], words))
    return lines


def _residual(proofs: dict[str, Any]) -> int:
    """What the kept terms leave unexplained, worked out again from them: 0."""
    left = 0
    for line in proofs["stock_and_flow"]:
        for what in ("rows", "amount"):
            into = sum(line[term][what] for term in ("opening", "entered", "restated", "moved_in"))
            out = sum(line[term][what] for term in ("removed", "moved_out", "closing"))
            left += abs(into - out)
    for bridge in proofs["bridges"]:
        left += abs(bridge["soll"] - bridge["ist"] - sum(step["amount"] for step in bridge["lines"]))
    return left


def _results(state: pa.Table, package: str) -> pa.Table:
    """A close's rows in the shape that the truth is compared with."""
    with engine() as connection:
        connection.register("state", state)
        return connection.sql(
            "SELECT side, source, row_id, status, reason, category, difference AS balance_difference, "
            f"{group_id_sql(package)} AS group_id FROM state"
        ).to_arrow_table()


def plaintext_hits(home: Home, needles: Sequence[bytes]) -> tuple[int, int]:
    """Search every file of the home for these bytes; return (hits, files searched)."""
    hits = searched = 0
    for path in home.root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            try:
                content = path.read_bytes()
            except FileNotFoundError:  # PostgreSQL recycles its files while we look
                continue
            searched += 1
            hits += sum(content.count(needle) for needle in needles)
    return hits, searched
