# ruff: noqa: S608 - SQL is put together from our own names
"""What a state's rows add up to: all that its figures, its proofs and its digest need, in a few numbers.

Everything here is a sum over rows or over whole groups. So a close takes away what it touched as it was, adds it as it
is, and has the sums of the whole state without reading it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from actuals_pipelines.reconcile.digest import NOTHING, Lanes, added, from_hexadecimal, in_hexadecimal, lanes_of

GROUP = "group_key, currency, continuation"

Key = tuple[str | None, ...]
Sums = Mapping[Key, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Summary:
    """Sums of one state, or of some of its rows that are whole groups. Amounts in minor units; no sum is all zeros."""

    rows: Sums  # source, side, currency, status -> rows, amount as the source has it, contribution
    groups: Sums  # currency, status, reason, pass, category -> `GROUP_SUMS`
    impacts: Sums  # source, side, currency -> groups that are unmatched, their positive and their negative differences
    lanes: Lanes  # of the digest

    @property
    def digest(self) -> str:
        """In hexadecimal; see `digest`."""
        return in_hexadecimal(self.lanes)

    @property
    def count(self) -> int:
        """How many rows."""
        return sum(rows for rows, *_ in self.rows.values())

    def plus(self, more: Summary, sign: int = 1) -> Summary:
        """With rows added (+1) or taken away (-1)."""
        return Summary(
            _plus(self.rows, more.rows, sign),
            _plus(self.groups, more.groups, sign),
            _plus(self.impacts, more.impacts, sign),
            added(self.lanes, more.lanes, sign),
        )


GROUP_SUMS = ("groups", "rows", "difference", "expected", "unexpected", "expecting", "positive", "negative")
"""Groups and their rows; differences and expected differences; groups whose difference is not the expected one, and
groups that expect one; the positive and the negative differences."""

EMPTY = Summary({}, {}, {}, NOTHING)


def sums_of(con: duckdb.DuckDBPyConnection, rows: str, *, lanes: Lanes = NOTHING) -> Summary:
    """Add up a relation of whole groups (schema `schema.SOLVED`, or a state's rows); the digest is given."""
    by_row = con.execute(f"""
        SELECT source, side, currency, status, count(*), sum(amount_minor_units), sum(contribution)
        FROM {rows} GROUP BY source, side, currency, status""").fetchall()
    by_group = con.execute(f"""
        SELECT currency, status, reason, "pass", category, count(*), sum(n), sum(difference), sum(expected),
               count(*) FILTER (difference <> expected), count(*) FILTER (expected <> 0),
               coalesce(sum(difference) FILTER (difference > 0), 0),
               coalesce(sum(difference) FILTER (difference < 0), 0)
        FROM (
            SELECT {GROUP}, any_value(status) AS status, any_value(reason) AS reason, any_value("pass") AS "pass",
                   any_value(category) AS category, any_value(difference) AS difference,
                   coalesce(any_value(expected), 0) AS expected, count(*) AS n
            FROM {rows} WHERE group_key IS NOT NULL GROUP BY {GROUP})
        GROUP BY currency, status, reason, "pass", category""").fetchall()
    by_impact = con.execute(f"""
        SELECT source, side, currency, count(*), coalesce(sum(difference) FILTER (difference > 0), 0),
               coalesce(sum(difference) FILTER (difference < 0), 0)
        FROM (SELECT DISTINCT source, side, {GROUP}, difference FROM {rows} WHERE status = 'unmatched')
        GROUP BY source, side, currency""").fetchall()
    return Summary(_sums(by_row, 4), _sums(by_group, 5), _sums(by_impact, 3), lanes)


def summary_of(con: duckdb.DuckDBPyConnection, rows: str) -> Summary:
    """Add up a relation of whole groups, its digest too."""
    return sums_of(con, rows, lanes=lanes_of(con, rows))


def to_document(summary: Summary) -> dict[str, Any]:
    """As JSON holds it."""
    sums = {"rows": summary.rows, "groups": summary.groups, "impacts": summary.impacts}
    return {name: [[*key, *numbers] for key, numbers in each.items()] for name, each in sums.items()} | {
        "digest": summary.digest
    }


def from_document(document: Mapping[str, Any]) -> Summary:
    """The reverse of `to_document`."""
    rows, groups, impacts = (
        {tuple(line[:n]): tuple(line[n:]) for line in document[name]}
        for name, n in (("rows", 4), ("groups", 5), ("impacts", 3))
    )
    return Summary(rows, groups, impacts, from_hexadecimal(document["digest"]))


def _sums(lines: list[tuple[Any, ...]], keys: int) -> Sums:
    return {line[:keys]: tuple(map(int, line[keys:])) for line in lines}


def _plus(sums: Sums, more: Sums, sign: int) -> Sums:
    result = dict(sums)
    for key, numbers in more.items():
        before = result.get(key, (0,) * len(numbers))
        result[key] = tuple(a + sign * b for a, b in zip(before, numbers, strict=True))
        if not any(result[key]):
            del result[key]
    return result
