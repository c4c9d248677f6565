# ruff: noqa: S608 - SQL is put together from our own names
"""The first page: per package and source what there is, what does not match, and what that adds up to.

The sums themselves are the engine's (`reconcile.figures`); the caller hands them over as plain data. Here they become
the lines that people read, with the shares by groups beside those by rows. Source: reconcile/MATCHING.md 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_DOWN, Decimal
from typing import Any

import pyarrow as pa

from actuals_pipelines.report.engine import over
from actuals_pipelines.report.group_id import GROUP

NotInClose = Mapping[tuple[str, str], int]
"""(source, currency) -> rows that are published and in no close of the package yet."""


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One source on one side of a package, in one currency. Amounts in minor units; not relevant rows do not count."""

    side: str  # soll | ist
    source: str
    currency: str
    rows: int  # "Total"
    amount: int
    unmatched_rows: int  # of `rows`; with those that the close could not process
    not_processed_rows: int  # published and in no close yet: not among `rows`
    impact_net: int
    impact_gross: int
    matched_rows_percentage: Decimal | None  # matched or explained, of rows; rounded down; None for no rows
    matched_groups_percentage: Decimal | None  # the same of the groups that the source has a row in


@dataclass(frozen=True, slots=True)
class ImpactLine:
    """A package's unmatched differences in one currency, each group once: gross = positive - negative."""

    currency: str
    groups: int
    net: int
    gross: int
    positive: int
    negative: int


@dataclass(frozen=True, slots=True)
class StatusLine:
    """How many groups and rows have one status for one reason."""

    status: str
    detail: str | None  # the reason; the category of what is explained; the pass of what is matched
    currency: str
    groups: int
    rows: int
    difference: int


@dataclass(frozen=True, slots=True)
class BridgeStep:
    """One step from SOLL to IST."""

    kind: str  # unmatched | in_transit | explained | expected | within_tolerance
    detail: str | None
    groups: int
    amount: int


@dataclass(frozen=True, slots=True)
class CurrencyBridge:
    """sum SOLL - sum IST = the steps + residual; the residual is 0."""

    currency: str
    soll: int
    ist: int
    steps: tuple[BridgeStep, ...]

    @property
    def difference(self) -> int:
        """Sum SOLL minus sum IST."""
        return self.soll - self.ist

    @property
    def residual(self) -> int:
        """What the steps leave unexplained."""
        return self.difference - sum(step.amount for step in self.steps)


@dataclass(frozen=True, slots=True)
class PackageOverview:
    """All that the first page says of one package at one close."""

    package: str
    question: str | None
    day: date  # the close day
    is_provisional: bool  # a source-day was missing
    sources: tuple[SourceLine, ...]
    impact: tuple[ImpactLine, ...]
    statuses: tuple[StatusLine, ...]
    bridges: tuple[CurrencyBridge, ...]

    @property
    def open_groups(self) -> int:
        """Groups that are unmatched: what somebody must look at."""
        return sum(line.groups for line in self.statuses if line.status == "unmatched")


def overview(
    rows: pa.Table,
    figures: Mapping[str, Any],
    *,
    package: str,
    day: date,
    question: str | None = None,
    is_provisional: bool = False,
    not_in_close: NotInClose | None = None,
) -> PackageOverview:
    """Put one package's figures into lines.

    Args:
        rows: the close's rows; only the shares by groups are counted from them.
        figures: `dataclasses.asdict` of the `reconcile.figures.Figures` of these rows.
        not_in_close: what was published since; None: nothing was.
    """
    shares = _shares_of_groups(rows)
    waiting = dict(not_in_close or {})
    sources = [_source_line(line, shares, waiting) for line in figures["sources"]]
    return PackageOverview(
        package=package,
        question=question,
        day=day,
        is_provisional=is_provisional,
        sources=(*sources, *_sources_without_rows(waiting, sources)),
        impact=tuple(ImpactLine(currency, **impact) for currency, impact in figures["impact"]),
        statuses=tuple(_status_line(line) for line in figures["statuses"]),
        bridges=tuple(_bridge(each) for each in figures["bridges"]),
    )


def _source_line(
    line: Mapping[str, Any], shares: Mapping[tuple[str, str, str], Decimal], waiting: NotInClose
) -> SourceLine:
    side, source, currency = line["side"], line["source"], line["currency"]
    return SourceLine(
        side=side,
        source=source,
        currency=currency,
        rows=line["rows"],
        amount=line["amount"],
        unmatched_rows=line["unmatched_rows"],
        not_processed_rows=waiting.get((source, currency), 0),
        impact_net=line["impact"]["net"],
        impact_gross=line["impact"]["gross"],
        matched_rows_percentage=_percentage(line["rows"] - line["unmatched_rows"], line["rows"]),
        matched_groups_percentage=shares.get((side, source, currency)),
    )


def _sources_without_rows(waiting: NotInClose, known: Sequence[SourceLine]) -> list[SourceLine]:
    """What waits of a source that the close has no row of: shown, or nobody would look for it."""
    there = {(line.source, line.currency) for line in known}
    return [
        SourceLine("", source, currency, 0, 0, 0, rows, 0, 0, None, None)
        for (source, currency), rows in sorted(waiting.items())
        if rows and (source, currency) not in there
    ]


def _shares_of_groups(rows: pa.Table) -> dict[tuple[str, str, str], Decimal]:
    with over(rows=rows) as con:
        found = con.execute(f"""
            WITH groups AS (
                SELECT side, source, {GROUP}, any_value(status) AS status
                FROM rows WHERE group_key IS NOT NULL GROUP BY side, source, {GROUP})
            SELECT side, source, currency, count(*) FILTER (status IN ('matched', 'explained')), count(*)
            FROM groups GROUP BY side, source, currency""").fetchall()
    shares = {(side, source, currency): _percentage(good, all_) for side, source, currency, good, all_ in found}
    return {place: share for place, share in shares.items() if share is not None}


def _percentage(part: int, whole: int) -> Decimal | None:
    """One decimal, rounded down, so that 100.0 means all."""
    return (Decimal(100 * part) / Decimal(whole)).quantize(Decimal("0.1"), rounding=ROUND_DOWN) if whole else None


def _status_line(line: Mapping[str, Any]) -> StatusLine:
    detail = {"matched": line["pass_name"], "explained": line["category"]}.get(line["status"], line["reason"])
    return StatusLine(line["status"], detail, line["currency"], line["groups"], line["rows"], line["difference"])


def _bridge(bridge: Mapping[str, Any]) -> CurrencyBridge:
    steps = tuple(BridgeStep(**line) for line in bridge["lines"])
    return CurrencyBridge(bridge["currency"], bridge["soll"], bridge["ist"], steps)
