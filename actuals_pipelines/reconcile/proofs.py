# ruff: noqa: S608 - SQL is put together from our own names
"""The proofs of a close: where one does not hold, the close is not taken (reconcile/MATCHING.md 6).

Each term of stock and flow comes from its own artefact: opening from what the close before kept, entered, removed and
restated from the rows handed over, moves from the change table, closing from the opening less the touched rows as they
were plus those rows as they are. At a checkpoint the sums are held against the rows of the whole state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from actuals_pipelines.reconcile.errors import ProofFailed
from actuals_pipelines.reconcile.figures import Bridge
from actuals_pipelines.reconcile.summary import Summary

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


def stock_and_flow(con: duckdb.DuckDBPyConnection, opening: Summary, closing: Summary) -> tuple[StockAndFlow, ...]:
    """Add up each flow from its own relation: to_solve, gone, was, changes; the stocks are given."""
    moves = "FROM changes WHERE change <> 'left' AND coalesce(was_status, 'not_processed') <> status"
    place = "source, currency"
    money = "amount_minor_units"
    fresh = "(FROM to_solve WHERE is_fresh)"
    flows = {
        "entered": f"SELECT {place}, 'not_processed', 1, {money} FROM {fresh} f ANTI JOIN was USING (row_uid)",
        "removed": f"SELECT {place}, status, 1, {money} FROM was SEMI JOIN removes USING (row_uid) "
        f"ANTI JOIN {fresh} f USING (row_uid)",
        # A row that changed leaves its bucket with its old amount and comes back with the new one.
        "restated": f"SELECT {place}, status, -1, -{money} FROM was SEMI JOIN {fresh} f USING (row_uid) UNION ALL "
        f"SELECT f.source, f.currency, w.status, 1, f.{money} FROM {fresh} f JOIN was w USING (row_uid)",
        "moved_in": f"SELECT {place}, status, 1, {money} {moves}",
        "moved_out": f"SELECT {place}, coalesce(was_status, 'not_processed'), 1, {money} {moves}",
    }
    terms: dict[tuple[str, str, str], dict[str, Term]] = {}
    for name, stock in (("opening", opening), ("closing", closing)):
        for (source, _, currency, status), (rows, amount, _) in stock.rows.items():
            found = terms.setdefault((str(source), str(currency), str(status)), {})
            before = found.get(name, Term(0, 0))  # a source may be on both sides
            found[name] = Term(before.rows + rows, before.amount + amount)
    parts = " UNION ALL ".join(
        f"SELECT '{name}' AS term, * FROM ({query}) AS t(source, currency, status, n, amount)"
        for name, query in flows.items()
    )
    sums = con.execute(f"""
        SELECT source, currency, status, term, sum(n), sum(amount) FROM ({parts})
        GROUP BY source, currency, status, term""").fetchall()
    for source, currency, status, name, rows, amount in sums:
        terms.setdefault((source, currency, status), {})[name] = Term(int(rows), int(amount))
    return tuple(
        StockAndFlow(*bucket, *(found.get(name, Term(0, 0)) for name in _TERMS))
        for bucket, found in sorted(terms.items())
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
