# ruff: noqa: S608 - SQL is put together from our own names, quoted columns and whole numbers
"""Keyless passes: what open units without a shared id have in amounts and days. They only propose (MATCHING.md 4).

A proposal changes no status and no figure: it is a reason, and lines in a table of its own. It looks at all open
groups of a close that are past due, so it knows the clock and is found anew at every close.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from actuals_pipelines.domain.package import MatchingPackage, Pass, Side
from actuals_pipelines.engine import table_of
from actuals_pipelines.expressions import quoted
from actuals_pipelines.reconcile.assignment import assign
from actuals_pipelines.reconcile.members import keyless
from actuals_pipelines.reconcile.sum_search import Answer, search

MAX_UNITS = 100
"""Units of one amount, close enough in time to be confused, that are assigned; more are judged by their counts."""

MAX_CANDIDATES = 256
"""Units that a search for a sum looks through; where more come into question it is not begun."""

STEPS = 200_000
"""What one search for a sum may cost where the pass does not say."""

PAST_DUE = ("missing_ist", "missing_soll", "amount_differs", "duplicate")
"""Why a group that a keyless pass looks at is open: nothing that is in time, or whose other side is known."""

VERDICTS = PROPOSED, AMBIGUOUS, UNFINISHED = "proposed", "ambiguous", "search_unfinished"
"""What a search says of its units, and what becomes their reason."""

_GROUP = "group_key, currency, continuation"
_FOUND = pa.schema(
    [
        pa.field("unit", pa.int64()),
        pa.field("proposal", pa.int64()),  # any of its units
        pa.field("verdict", pa.string()),
        pa.field("solutions", pa.int64()),  # 1; 2: two or more; null: not fully searched
        pa.field("days_apart", pa.int64()),
    ]
)


def propose(con: duckdb.DuckDBPyConnection, package: MatchingPackage) -> None:
    """Create table `proposals`, schema `schema.PROPOSALS`; an open group is in one of them at most.

    Reads `reasoned` (the open groups with their reasons) and `open_rows` (their rows). A group's amount is what is
    missing of it: its difference less the expected one. A group of both sides stands on the side that has more.
    """
    passes = keyless(package)
    there = {name for name, *_ in con.execute("DESCRIBE open_rows").fetchall()}
    within = dict.fromkeys(name for each in passes for name in each.within)
    same = "".join(f", {_shared(name) if name in there else 'NULL::VARCHAR'} AS {quoted(name)}" for name in within)
    reasons = ", ".join(f"'{reason}'" for reason in PAST_DUE)
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE open_units AS
        WITH g AS (
            SELECT {_GROUP}, balance_difference - expected_difference AS lacking,
                   coalesce(only_side, CASE WHEN lacking > 0 THEN 'soll' ELSE 'ist' END) AS side,
                   CASE WHEN side = 'soll' THEN lacking ELSE -lacking END AS amount
            FROM reasoned WHERE reason IN ({reasons}) AND lacking <> 0)
        SELECT row_number() OVER (ORDER BY {_GROUP}) AS unit, {_GROUP}, any_value(g.side) AS side,
               any_value(amount)::BIGINT AS amount,
               min(coalesce(booked_on, value_date)) FILTER (r.side = g.side) AS day{same}
        FROM open_rows r JOIN g USING ({_GROUP}) GROUP BY {_GROUP}""")
    con.execute("CREATE OR REPLACE TEMP TABLE found (unit BIGINT, proposal BIGINT, verdict VARCHAR, solutions BIGINT, "
                "days_apart BIGINT, \"pass\" VARCHAR)")  # fmt: skip
    for each in passes:
        _place(con, each)
        con.register("verdicts", _pairs(con, each) if each.by == "amount" else _sums(con, each))
        con.execute("INSERT INTO found SELECT *, ? FROM verdicts", [each.name])
        con.unregister("verdicts")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE proposals AS
        SELECT min(group_key) OVER p AS proposal, "pass", verdict, solutions, days_apart, {_GROUP}, side, amount,
               (sum(CASE WHEN side = 'soll' THEN amount ELSE -amount END) OVER p)::BIGINT AS difference
        FROM found JOIN open_units USING (unit) WINDOW p AS (PARTITION BY "pass", found.proposal)""")


def _shared(name: str) -> str:
    """SQL for what all rows of a group's own side have in this column; null where they differ, or one has nothing."""
    mine = f"CAST(r.{quoted(name)} AS VARCHAR)"
    return (
        f"CASE WHEN count({mine}) FILTER (r.side = g.side) = count(*) FILTER (r.side = g.side) "
        f"AND min({mine}) FILTER (r.side = g.side) = max({mine}) FILTER (r.side = g.side) "
        f"THEN min({mine}) FILTER (r.side = g.side) END"
    )


def _place(con: duckdb.DuckDBPyConnection, each: Pass) -> None:
    """Create `units` (unit, side, amount, day: whole number, since, island): what the pass looks at, in islands.

    `since` is the day, IST earlier by the window's first day: a SOLL unit fits an IST unit that is 0 to `_span` later.
    Units of two islands never fit: they differ in currency, in a `within` column, in the amount where that counts, or
    lie further apart than any two that fit. Only islands with both sides are kept.
    """
    columns = ["currency", *map(quoted, each.within)]
    known = " AND ".join(["TRUE", *(f"{name} IS NOT NULL" for name in columns)])
    block = ", ".join([*columns, *(["amount"] if each.by == "amount" else [])])
    first = each.days[0] if each.days else 0
    since = f"date_diff('day', DATE '1970-01-01', day) - CASE WHEN side = 'ist' THEN {first} ELSE 0 END"
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE units AS
        WITH placed AS (
            SELECT unit, side, amount, {", ".join(columns)}, {since if each.days else "0"} AS since,
                   coalesce(date_diff('day', DATE '1970-01-01', day), 0) AS day
            FROM open_units ANTI JOIN found USING (unit)
            WHERE {known} AND {"day IS NOT NULL" if each.days else "TRUE"}),
        apart AS (
            SELECT *, coalesce(since - lag(since) OVER mine > {_span(each)}, TRUE) AS is_new
            FROM placed WINDOW mine AS (PARTITION BY {block} ORDER BY since, unit))
        SELECT unit, side, amount, day, since,
               sum(is_new::BIGINT) OVER (ORDER BY {block}, since, unit ROWS UNBOUNDED PRECEDING)::BIGINT AS island
        FROM apart""")
    con.execute("""
        DELETE FROM units WHERE island IN (SELECT island FROM units GROUP BY island HAVING min(side) = max(side))""")


def _span(each: Pass) -> int:
    return each.days[1] - each.days[0] if each.days else 0


def _pairs(con: duckdb.DuckDBPyConnection, each: Pass) -> pa.Table:
    """Verdicts (schema _FOUND) of a pass by amount: every island is of one amount.

    An island of more than MAX_UNITS is not enumerated. If its sides are equally long and every unit fits every other,
    they match as a set; if they are not, and each side lies on one day, nobody can say which are left over.
    """
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE islands AS
        SELECT island, count(*) FILTER (side = 'soll') AS n, count(*) FILTER (side = 'ist') AS m,
               n + m > {MAX_UNITS} AS is_big,
               max(since) FILTER (side = 'ist') - min(since) FILTER (side = 'soll') <= {_span(each)}
                   AND min(since) FILTER (side = 'ist') >= max(since) FILTER (side = 'soll') AS all_fit,
               count(DISTINCT since) FILTER (side = 'soll') = 1
                   AND count(DISTINCT since) FILTER (side = 'ist') = 1 AS is_day
        FROM units GROUP BY island""")
    crowded = table_of(con, f"""
        SELECT unit, min(unit) OVER (PARTITION BY island) AS proposal,
               CASE WHEN all_fit AND n = m THEN '{PROPOSED}' WHEN all_fit AND is_day THEN '{AMBIGUOUS}'
                    ELSE '{UNFINISHED}' END AS verdict,
               CASE verdict WHEN '{PROPOSED}' THEN 1 WHEN '{AMBIGUOUS}' THEN 2 END::BIGINT AS solutions,
               NULL::BIGINT AS days_apart
        FROM units JOIN islands USING (island) WHERE is_big""")  # fmt: skip
    edges = table_of(con, f"""
        SELECT s.unit AS soll, i.unit AS ist, abs(i.day - s.day) AS cost
        FROM units s JOIN units i ON i.island = s.island AND i.since - s.since BETWEEN 0 AND {_span(each)}
        JOIN islands l ON l.island = s.island
        WHERE s.side = 'soll' AND i.side = 'ist' AND NOT is_big""")  # fmt: skip
    verdicts = _Verdicts()
    soll, ist, cost = (edges[name].to_numpy() for name in ("soll", "ist", "cost"))
    for one in assign(soll, ist, cost):
        units = [*one.soll.tolist(), *one.ist.tolist()]
        verdicts.add(units, AMBIGUOUS if one.is_ambiguous else PROPOSED, one.cost)
    return pa.concat_tables([crowded.cast(_FOUND), verdicts.table()])


def _sums(con: duckdb.DuckDBPyConnection, each: Pass) -> pa.Table:
    """Verdicts (schema _FOUND) of a pass by sum: one unit against several of the other side, or many against many."""
    searches = _one_to_many(con, each) if each.one or each.many else _many_to_many(con, each)
    return _settle(searches)


@dataclass(frozen=True, slots=True)
class _Search:
    """One search: who asked (none where many meet many), what it looked through, and what it found there."""

    askers: tuple[int, ...]
    candidates: npt.NDArray[np.int64]
    days: npt.NDArray[np.int64]  # of the candidates, after those of the askers
    answer: Answer

    def units(self) -> list[int]:
        """The asker and the units of what was found; if nothing can be said, whoever asked."""
        if not self.answer.is_finished:
            return list(self.askers) or self.candidates.tolist()
        chosen = sorted({place for solution in self.answer.solutions for place in solution})
        return [*self.askers, *self.candidates[chosen].tolist()]


def _one_to_many(con: duckdb.DuckDBPyConnection, each: Pass) -> list[_Search]:
    one = each.one or (Side.IST if each.many is Side.SOLL else Side.SOLL)
    later, earlier = ("o", "m") if one is Side.IST else ("m", "o")
    fits = f"m.island = o.island AND {later}.since - {earlier}.since BETWEEN 0 AND {_span(each)}"
    # Counted by days, so that what is too much is never joined.
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE asking AS
        WITH many AS (SELECT island, since, count(*) AS n FROM units WHERE side <> '{one}' GROUP BY island, since),
        days AS (SELECT DISTINCT island, since FROM units WHERE side = '{one}'),
        counts AS (SELECT o.island, o.since, sum(n) AS n FROM days o JOIN many m ON {fits} GROUP BY o.island, o.since)
        SELECT unit, amount, day, island, since, n FROM units JOIN counts USING (island, since) WHERE side = '{one}'""")
    crowded = con.execute(f"SELECT unit, day FROM asking WHERE n > {MAX_CANDIDATES} ORDER BY unit").fetchall()
    nothing = np.empty(0, np.int64)
    too_much = Answer((), is_finished=False, steps=0)
    searches = [_Search((unit,), nothing, np.array([day]), too_much) for unit, day in crowded]
    near = table_of(con, f"""
        SELECT o.unit AS asker, o.amount AS target, o.day AS asked, m.unit, m.amount, m.day
        FROM asking o JOIN units m ON {fits} WHERE m.side <> '{one}' AND o.n <= {MAX_CANDIDATES}
        ORDER BY o.unit, m.unit""")  # fmt: skip
    asker, target, asked, unit, amount, day = (column.to_numpy() for column in near.itercolumns())
    firsts = np.flatnonzero(np.diff(asker, prepend=-1))
    for first, last in pairwise([*firsts.tolist(), len(asker)]):
        answer = search(amount[first:last], int(target[first]), each.steps or STEPS)
        days = np.concatenate([asked[first : first + 1], day[first:last]])
        searches.append(_Search((int(asker[first]),), unit[first:last], days, answer))
    return searches


def _many_to_many(con: duckdb.DuckDBPyConnection, each: Pass) -> list[_Search]:
    """In each island: which units of both sides, all of them within the window of one another, add up to nothing."""
    islands = table_of(con, """
        SELECT island, unit, side = 'soll' AS is_soll, CASE WHEN side = 'soll' THEN amount ELSE -amount END AS amount,
               day, since FROM units ORDER BY island, unit""")  # fmt: skip
    island, unit, is_soll, amount, day, since = (c.to_numpy(zero_copy_only=False) for c in islands.itercolumns())
    firsts = np.flatnonzero(np.diff(island, prepend=-1))
    searches = []
    for first, last in pairwise([*firsts.tolist(), len(island)]):
        fits = partial(_all_fit, is_soll[first:last].astype(np.bool_), since[first:last], _span(each))
        if last - first > MAX_CANDIDATES:
            answer = Answer((), is_finished=False, steps=0)
        else:
            answer = search(amount[first:last], 0, each.steps or STEPS, is_wanted=fits)
        searches.append(_Search((), unit[first:last], day[first:last], answer))
    return searches


def _all_fit(is_soll: npt.NDArray[np.bool_], since: npt.NDArray[np.int64], span: int, chosen: tuple[int, ...]) -> bool:
    """Whether these units are of both sides, and each SOLL unit fits each IST unit."""
    on_soll, when = is_soll[list(chosen)], since[list(chosen)]
    if on_soll.all() or not on_soll.any():
        return False
    apart = when[~on_soll][:, None] - when[on_soll]
    return bool(apart.min() >= 0 and apart.max() <= span)


def _settle(searches: list[_Search]) -> pa.Table:
    """Verdicts over all searches of a pass: a solution stands if it is the only one and nobody else wants its units."""
    verdicts = _Verdicts()
    for one in searches:
        if not one.answer.is_finished:
            verdicts.add(one.units(), UNFINISHED, None)
    decided = [one for one in searches if one.answer.is_finished and one.answer.solutions]
    if not decided:
        return verdicts.table()
    wanted = [one.units() for one in decided]
    number = np.repeat(np.arange(len(decided)), [len(units) for units in wanted])
    everyone, place = np.unique(np.concatenate(wanted), return_inverse=True)
    size = len(decided) + len(everyone)
    ends = coo_array((np.ones(len(number), np.int8), (number, place + len(decided))), shape=(size, size))
    _, labels = connected_components(ends, directed=False)
    rivals: dict[int, list[int]] = {}
    for index in range(len(decided)):
        rivals.setdefault(int(labels[index]), []).append(index)
    for those in rivals.values():
        units = sorted({unit for index in those for unit in wanted[index]})
        [first, *others] = (decided[index] for index in those)
        if others or len(first.answer.solutions) > 1:
            verdicts.add(units, AMBIGUOUS, None)
        else:
            chosen = [*range(len(first.askers)), *(len(first.askers) + p for p in first.answer.solutions[0])]
            days = first.days[chosen]
            verdicts.add(units, PROPOSED, int(days.max() - days.min()))
    return verdicts.table()


@dataclass(slots=True)
class _Verdicts:
    """What was found, unit by unit."""

    lines: list[tuple[int, int, str, int | None, int | None]] = field(default_factory=list)

    def add(self, units: list[int], verdict: str, days_apart: int | None) -> None:
        """One proposal of these units."""
        solutions = {PROPOSED: 1, AMBIGUOUS: 2}.get(verdict)
        self.lines += [(unit, min(units), verdict, solutions, days_apart) for unit in units]

    def table(self) -> pa.Table:
        """Schema _FOUND."""
        columns = zip(*self.lines, strict=True) if self.lines else [[]] * len(_FOUND)
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, _FOUND, strict=True)], schema=_FOUND)
