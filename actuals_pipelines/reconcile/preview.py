# ruff: noqa: S608 - SQL is put together from our own names and quoted columns
"""What looks wrong before anybody works on differences: signs, a factor of 100, money counted twice (MATCHING.md 1)."""

from __future__ import annotations

from itertools import combinations

import duckdb
import pyarrow as pa

from actuals_pipelines.domain.package import MatchingPackage
from actuals_pipelines.engine import engine
from actuals_pipelines.expressions import literal, quoted
from actuals_pipelines.reconcile.members import schemes
from actuals_pipelines.reconcile.schema import KEY_PREFIX

MANY = 20
"""Shared lines from which two members look like the same books."""


def preview_warnings(rows: pa.Table, package: MatchingPackage) -> tuple[str, ...]:
    """Sentences about a state's rows, for the person who wrote the package; none if nothing looks wrong."""
    with engine() as con:
        con.register("rows_given", rows)
        return (*_totals(con), *_shared(con, package))


def _totals(con: duckdb.DuckDBPyConnection) -> list[str]:
    totals = con.execute("""
        SELECT currency, coalesce(sum(contribution) FILTER (side = 'soll'), 0),
               coalesce(-sum(contribution) FILTER (side = 'ist'), 0)
        FROM rows_given WHERE status <> 'not_relevant' GROUP BY currency ORDER BY currency""").fetchall()
    words = []
    for currency, soll, ist in totals:
        if soll * ist < 0:
            words.append(
                f"In {currency} the two sides' totals have opposite signs. If one account is the mirror of the other, "
                "say `sign: reversed` at its member."
            )
        elif soll and ist and (80 <= abs(soll) / abs(ist) <= 125 or 80 <= abs(ist) / abs(soll) <= 125):
            words.append(
                f"In {currency} one side's total is about 100 times the other's. One of the files probably counts "
                "cents: map `amount_minor_units` instead of `amount` there."
            )
    return words


def _shared(con: duckdb.DuckDBPyConnection, package: MatchingPackage) -> list[str]:
    """Two members of one side that carry the same ids with the same amounts record the same money twice."""
    first = next(iter(schemes(package)), None)
    if first is None:
        return []
    key = quoted(KEY_PREFIX + first)
    words = []
    for side, members in (("soll", package.soll), ("ist", package.ist)):
        names = sorted({member.source for member in members})
        for one, other in combinations(names, 2):
            row = con.execute(f"""
                SELECT count(*), (SELECT count(*) FROM rows_given
                    WHERE side = '{side}' AND status <> 'not_relevant' AND source = {literal(one)})
                FROM (SELECT DISTINCT {key} AS k, currency, contribution FROM rows_given
                      WHERE side = '{side}' AND status <> 'not_relevant' AND source = {literal(one)}) a
                JOIN (SELECT DISTINCT {key} AS k, currency, contribution FROM rows_given
                      WHERE side = '{side}' AND status <> 'not_relevant' AND source = {literal(other)}) b
                USING (k, currency, contribution)""").fetchone()
            if row and (row[0] >= MANY or (row[0] > 1 and 2 * row[0] >= row[1])):
                words.append(
                    f"Sources {one!r} and {other!r} stand on the same side and share {row[0]} ids with equal amounts. "
                    "Members of a side add up: they must not record the same money twice."
                )
    return words
