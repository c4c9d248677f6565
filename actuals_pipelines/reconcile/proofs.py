# ruff: noqa: S608 - SQL is put together from our own names
"""The proofs of a close: where one does not hold, the close is not taken (reconcile/MATCHING.md 6).

Each term of stock and flow comes from its own artefact: opening from the state before, entered, removed and restated
from the rows handed over, moves from the change table, closing from the state as it will be stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from actuals_pipelines.reconcile.errors import ProofFailed
from actuals_pipelines.reconcile.figures import Bridge

Control = Mapping[tuple[str, str], tuple[int, int]]
"""(source, currency) -> (rows, minor units) that the catalogue says are live."""


@dataclass(frozen=True, slots=True)
class Term:
    """Rows and their amounts in minor units, as the source has them."""

    rows: int
    amount: int


@dataclass(frozen=True, slots=True)
class StockAndFlow:
    """closing = opening + entered - removed + restated + moved_in - moved_out, of one source, currency and status."""

    source: str
    currency: str
    status: str
    opening: Term
    entered: Term
    removed: Term
    restated: Term
    moved_in: Term
    moved_out: Term
    closing: Term

    @property
    def residual(self) -> Term:
        """What the flows do not explain: 0 and 0, or the close is wrong."""
        plus = (self.opening, self.entered, self.restated, self.moved_in)
        minus = (self.removed, self.moved_out, self.closing)
        return Term(
            sum(term.rows for term in plus) - sum(term.rows for term in minus),
            sum(term.amount for term in plus) - sum(term.amount for term in minus),
        )


@dataclass(frozen=True, slots=True)
class Proofs:
    """What was proved; every residual in it is 0."""

    stock_and_flow: tuple[StockAndFlow, ...]
    bridges: tuple[Bridge, ...]


_TERMS = ("opening", "entered", "removed", "restated", "moved_in", "moved_out", "closing")


def stock_and_flow(con: duckdb.DuckDBPyConnection) -> tuple[StockAndFlow, ...]:
    """Add up each term from its own relation: opening, fresh, removes, changes, closing."""
    moves = "FROM changes WHERE change <> 'left' AND coalesce(was_status, 'not_processed') <> status"
    bucket = "source, currency"
    money = "amount_minor_units"
    terms = {
        "opening": f"SELECT {bucket}, status, 1, {money} FROM opening",
        "entered": f"SELECT {bucket}, 'not_processed', 1, {money} FROM fresh ANTI JOIN opening USING (row_uid)",
        "removed": f"SELECT {bucket}, status, 1, {money} FROM opening "
        "SEMI JOIN removes USING (row_uid) ANTI JOIN fresh USING (row_uid)",
        # A row that changed leaves its bucket with its old amount and comes back with the new one.
        "restated": f"SELECT {bucket}, status, -1, -{money} FROM opening SEMI JOIN fresh USING (row_uid) UNION ALL "
        f"SELECT f.source, f.currency, o.status, 1, f.{money} FROM fresh f JOIN opening o USING (row_uid)",
        "moved_in": f"SELECT {bucket}, status, 1, {money} {moves}",
        "moved_out": f"SELECT {bucket}, coalesce(was_status, 'not_processed'), 1, {money} {moves}",
        "closing": f"SELECT {bucket}, status, 1, {money} FROM closing",
    }
    parts = " UNION ALL ".join(
        f"SELECT '{name}' AS term, * FROM ({query}) AS t(source, currency, status, n, amount)"
        for name, query in terms.items()
    )
    sums = ", ".join(
        f"coalesce(sum(n) FILTER (term = '{name}'), 0), coalesce(sum(amount) FILTER (term = '{name}'), 0)"
        for name in _TERMS
    )
    found = con.execute(f"""
        SELECT source, currency, status, {sums} FROM ({parts})
        GROUP BY source, currency, status ORDER BY source, currency, status""").fetchall()
    return tuple(
        StockAndFlow(*line[:3], *(Term(int(line[i]), int(line[i + 1])) for i in range(3, 3 + 2 * len(_TERMS), 2)))
        for line in found
    )


def prove(
    package: str, flows: tuple[StockAndFlow, ...], bridges: tuple[Bridge, ...], control: Control | None
) -> Proofs:
    """Raise ProofFailed, naming the proof and the place, unless every residual is 0 and the control totals agree."""
    for flow in flows:
        if flow.residual != Term(0, 0):
            raise ProofFailed("stock and flow", package, f"source {flow.source}, {flow.currency}, {flow.status}", flow)
    for bridge in bridges:
        if bridge.residual:
            raise ProofFailed("bridge", package, f"currency {bridge.currency}", bridge)
    if control is not None:
        _agree(package, flows, control)
    return Proofs(flows, bridges)


def _agree(package: str, flows: tuple[StockAndFlow, ...], control: Control) -> None:
    """Over all statuses, what the close holds is what the catalogue says is live."""
    held: dict[tuple[str, str], tuple[int, int]] = {}
    for flow in flows:
        rows, amount = held.get((flow.source, flow.currency), (0, 0))
        held[flow.source, flow.currency] = (rows + flow.closing.rows, amount + flow.closing.amount)
    for place in sorted({*held, *control}):
        if held.get(place, (0, 0)) != tuple(control.get(place, (0, 0))):
            terms = {"held": held.get(place), "catalogue": control.get(place)}
            raise ProofFailed("control total", package, f"source {place[0]}, {place[1]}", terms)
