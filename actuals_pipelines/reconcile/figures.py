"""What a reconciliation says in figures: the overview per source, the impact, the statuses, the bridge per currency.

Everything here is small and in minor units of its currency; nothing is a float. Source:
reconcile/MATCHING.md 3 and 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

import pyarrow as pa

from actuals_pipelines.engine import engine
from actuals_pipelines.reconcile.summary import GROUP_SUMS, Key, Summary, sums_of

NOT_RELEVANT = "not_relevant"
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
        return figures_from(sums_of(con, "rows_given"))


def figures_from(summary: Summary) -> Figures:
    """The same from what the rows add up to."""
    return Figures(_sources(summary), _package_impact(summary), _statuses(summary), _bridges(summary))


def _impact(groups: int, positive: int, negative: int) -> Impact:
    return Impact(groups, positive + negative, positive - negative, positive, negative)


def _sources(summary: Summary) -> tuple[SourceFigures, ...]:
    places: dict[tuple[str, str, str], dict[str, tuple[int, ...]]] = {}
    for (source, side, currency, status), sums in summary.rows.items():
        if status != NOT_RELEVANT:
            places.setdefault((str(source), str(side), str(currency)), {})[str(status)] = sums
    return tuple(
        SourceFigures(
            *place,
            rows=sum(rows for rows, *_ in found.values()),
            amount=sum(amount for _, amount, _ in found.values()),
            matched_rows=found.get("matched", (0,))[0],
            explained_rows=found.get("explained", (0,))[0],
            unmatched_rows=found.get("unmatched", (0,))[0] + found.get("not_processed", (0,))[0],
            impact=_impact(*summary.impacts.get(place, (0, 0, 0))),
        )
        for place, found in sorted(places.items(), key=lambda item: (item[0][1] == "ist", item[0]))
    )


def _package_impact(summary: Summary) -> tuple[tuple[str, Impact], ...]:
    totals: dict[str, list[int]] = {}
    for (currency, status, *_), sums in summary.groups.items():
        if status == "unmatched":
            total = totals.setdefault(str(currency), [0, 0, 0])
            total[:] = [a + b for a, b in zip(total, (sums[0], *sums[-2:]), strict=True)]
    return tuple((currency, _impact(*total)) for currency, total in sorted(totals.items()))


def _statuses(summary: Summary) -> tuple[StatusFigures, ...]:
    totals: dict[Key, list[int]] = {}
    for (currency, status, reason, pass_, category), (groups, rows, difference, *_) in summary.groups.items():
        _add(totals, (status, reason, pass_ if status == "matched" else None, category, currency),
             (groups, rows, difference))  # fmt: skip
    for (_, _, currency, status), (rows, *_) in summary.rows.items():
        if status == NOT_RELEVANT:  # rows in no group
            _add(totals, (status, None, None, None, currency), (0, rows, 0))
    lines = sorted(totals.items(), key=lambda item: _nulls_first(item[0]))
    return tuple(StatusFigures(*key, *numbers) for key, numbers in lines)  # type: ignore[arg-type] # as the key says


def _bridges(summary: Summary) -> tuple[Bridge, ...]:
    lines: dict[Key, list[int]] = {}
    for (currency, status, reason, _, category), numbers in summary.groups.items():
        sums = dict(zip(GROUP_SUMS, numbers, strict=True))
        groups, amount = sums["groups"], sums["difference"] - sums["expected"]
        if status == "matched":
            if sums["unexpected"]:
                _add(lines, (currency, "within_tolerance", None), (sums["unexpected"], amount))
        elif status == "explained":
            _add(lines, (currency, "explained", category), (groups, amount))
        else:
            _add(lines, (currency, "in_transit" if reason in IN_TRANSIT else "unmatched", reason), (groups, amount))
        if sums["expecting"]:
            _add(lines, (currency, "expected", None), (sums["expecting"], sums["expected"]))
    # Independent of the groups: added up from the rows themselves.
    totals: dict[str, dict[str, int]] = {}
    for (_, side, currency, status), (_, _, contribution) in summary.rows.items():
        if status != NOT_RELEVANT:
            total = totals.setdefault(str(currency), {"soll": 0, "ist": 0})
            total[str(side)] += contribution if side == "soll" else -contribution
    ordered = sorted(
        sorted(lines.items(), key=lambda i: _nulls_first(i[0][2:])), key=lambda i: str(i[0][1]), reverse=True
    )
    return tuple(
        Bridge(currency, total["soll"], total["ist"],
               tuple(BridgeLine(str(kind), detail, *map(int, numbers))
                     for (code, kind, detail), numbers in ordered if code == currency))
        for currency, total in sorted(totals.items())
    )  # fmt: skip


def _add(totals: dict[Key, list[int]], key: Key, numbers: tuple[int, ...]) -> None:
    total = totals.setdefault(key, [0] * len(numbers))
    total[:] = [a + b for a, b in zip(total, numbers, strict=True)]


def _nulls_first(key: Key) -> tuple[tuple[bool, str], ...]:
    return tuple((part is not None, part or "") for part in key)
