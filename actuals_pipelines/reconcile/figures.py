# ruff: noqa: S608 - SQL is put together from our own names
"""What a reconciliation says in figures: the overview per source, the impact, the statuses, the bridge per currency.

Everything here is small and in minor units of its currency; nothing is a float. Source:
reconcile/MATCHING.md 3 and 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Any

import duckdb
import pyarrow as pa

from actuals_pipelines.engine import engine

GROUP = "group_key, currency, continuation"
IN_TRANSIT = ("not_due", "source_late")
"""Reasons of groups whose other side is not missing yet."""


@dataclass(frozen=True, slots=True)
class Impact:
    """Differences of unmatched groups, each group once, in minor units. gross = positive - negative."""

    groups: int
    net: int
    gross: int
    positive: int
    negative: int


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """One line of the overview. Rows that are not relevant do not count."""

    source: str
    side: str
    currency: str
    rows: int
    amount: int  # minor units, as the source has them
    matched_rows: int
    explained_rows: int
    unmatched_rows: int  # not processed + unmatched
    impact: Impact

    @property
    def matching_percentage(self) -> Decimal | None:
        """Rows that are not unmatched, of all: one decimal, rounded down, so that 100.0 means all; None for no rows."""
        if not self.rows:
            return None
        share = Decimal(100 * (self.rows - self.unmatched_rows)) / Decimal(self.rows)
        return share.quantize(Decimal("0.1"), rounding=ROUND_DOWN)


@dataclass(frozen=True, slots=True)
class StatusFigures:
    """How many groups and rows have one status for one reason, and what their differences add up to."""

    status: str
    reason: str | None  # why an open group is open
    pass_name: str | None  # which pass matched a group
    category: str | None
    currency: str
    groups: int
    rows: int
    difference: int


@dataclass(frozen=True, slots=True)
class BridgeLine:
    """One step from SOLL to IST: kind is unmatched, in_transit, explained, expected or within_tolerance."""

    kind: str
    detail: str | None  # the reason, or the category
    groups: int
    amount: int


@dataclass(frozen=True, slots=True)
class Bridge:
    """sum SOLL - sum IST = sum of the lines + residual, in one currency; the residual must be 0."""

    currency: str
    soll: int
    ist: int
    lines: tuple[BridgeLine, ...]

    @property
    def difference(self) -> int:
        """Sum SOLL minus sum IST, after the members' signs."""
        return self.soll - self.ist

    @property
    def residual(self) -> int:
        """What the lines do not explain."""
        return self.difference - sum(line.amount for line in self.lines)


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures of one reconciliation."""

    sources: tuple[SourceFigures, ...]
    impact: tuple[tuple[str, Impact], ...]  # of the package, per currency
    statuses: tuple[StatusFigures, ...]
    bridges: tuple[Bridge, ...]


def figures(rows: pa.Table) -> Figures:
    """Sum up solved rows (schema `schema.SOLVED`, or a state's rows)."""
    with engine() as con:
        con.register("rows_given", rows)
        return figures_of(con, "rows_given")


def figures_of(con: duckdb.DuckDBPyConnection, rows: str) -> Figures:
    """The same over a relation of an open connection."""
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE group_figures AS
        SELECT {GROUP}, any_value(status) AS status, any_value(reason) AS reason, any_value("pass") AS "pass",
               any_value(category) AS category, any_value(difference) AS difference,
               coalesce(any_value(expected), 0) AS expected, count(*) AS n,
               sum(contribution) FILTER (side = 'soll') AS soll, -sum(contribution) FILTER (side = 'ist') AS ist
        FROM {rows} WHERE group_key IS NOT NULL GROUP BY {GROUP}""")
    return Figures(
        sources=_sources(con, rows),
        impact=_package_impact(con),
        statuses=_statuses(con, rows),
        bridges=_bridges(con, rows),
    )


_IMPACT = """count(difference), coalesce(sum(difference), 0), coalesce(sum(abs(difference)), 0),
    coalesce(sum(difference) FILTER (difference > 0), 0), coalesce(sum(difference) FILTER (difference < 0), 0)"""


def _sources(con: duckdb.DuckDBPyConnection, rows: str) -> tuple[SourceFigures, ...]:
    found = con.execute(f"""
        WITH counted AS (
            SELECT source, side, currency, count(*) AS n, sum(amount_minor_units) AS amount,
                   count(*) FILTER (status = 'matched') AS matched, count(*) FILTER (status = 'explained') AS explained,
                   count(*) FILTER (status IN ('unmatched', 'not_processed')) AS unmatched
            FROM {rows} WHERE status <> 'not_relevant' GROUP BY source, side, currency),
        open AS (SELECT DISTINCT source, side, {GROUP}, difference FROM {rows} WHERE status = 'unmatched'),
        impacts AS (SELECT source, side, currency, [{_IMPACT}] AS impact FROM open GROUP BY source, side, currency)
        SELECT c.*, impact FROM counted c LEFT JOIN impacts USING (source, side, currency)
        ORDER BY side DESC, source, currency""").fetchall()
    return tuple(_source_figures(line) for line in found)


def _source_figures(line: Sequence[Any]) -> SourceFigures:
    source, side, currency, rows, amount, matched, explained, unmatched, impact = line
    total = Impact(*map(int, impact or [0] * 5))
    return SourceFigures(source, side, currency, rows, int(amount), matched, explained, unmatched, total)


def _package_impact(con: duckdb.DuckDBPyConnection) -> tuple[tuple[str, Impact], ...]:
    found = con.execute(f"""
        SELECT currency, {_IMPACT} FROM group_figures WHERE status = 'unmatched' GROUP BY currency ORDER BY currency""")
    return tuple((currency, Impact(*map(int, numbers))) for currency, *numbers in found.fetchall())


def _statuses(con: duckdb.DuckDBPyConnection, rows: str) -> tuple[StatusFigures, ...]:
    found = con.execute(f"""
        SELECT status, reason, CASE WHEN status = 'matched' THEN "pass" END AS by_pass, category, currency,
               count(*), sum(n), sum(difference)
        FROM group_figures GROUP BY ALL
        UNION ALL
        SELECT status, reason, NULL, NULL, currency, 0, count(*), 0
        FROM {rows} WHERE group_key IS NULL GROUP BY ALL
        ORDER BY 1, 2 NULLS FIRST, 3 NULLS FIRST, 4 NULLS FIRST, 5""").fetchall()
    return tuple(StatusFigures(*line[:5], *map(int, line[5:])) for line in found)


def _bridges(con: duckdb.DuckDBPyConnection, rows: str) -> tuple[Bridge, ...]:
    late = ", ".join(f"'{reason}'" for reason in IN_TRANSIT)
    lines = con.execute(f"""
        SELECT currency, CASE status WHEN 'matched' THEN 'within_tolerance' WHEN 'explained' THEN 'explained'
                    ELSE CASE WHEN reason IN ({late}) THEN 'in_transit' ELSE 'unmatched' END END AS kind,
               CASE status WHEN 'matched' THEN NULL WHEN 'explained' THEN category ELSE reason END AS detail,
               count(*) AS groups, sum(difference - expected) AS amount
        FROM group_figures WHERE status <> 'matched' OR difference <> expected GROUP BY ALL
        UNION ALL
        SELECT currency, 'expected', NULL, count(*), sum(expected) FROM group_figures WHERE expected <> 0 GROUP BY ALL
        ORDER BY 1, 2 DESC, 3 NULLS FIRST""").fetchall()
    # Independent of the groups: added up from the rows themselves.
    totals = con.execute(f"""
        SELECT currency, coalesce(sum(contribution) FILTER (side = 'soll'), 0),
               coalesce(-sum(contribution) FILTER (side = 'ist'), 0)
        FROM {rows} WHERE status <> 'not_relevant' GROUP BY currency ORDER BY currency""").fetchall()
    return tuple(
        Bridge(
            currency,
            int(soll),
            int(ist),
            tuple(
                BridgeLine(kind, detail, n, int(amount)) for code, kind, detail, n, amount in lines if code == currency
            ),
        )
        for currency, soll, ist in totals
    )
