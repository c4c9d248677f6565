# ruff: noqa: S608 - SQL is put together from our own names and bound values
"""Why a row has its status, in sentences: who joined its group, what it adds up to, what was allowed, what is missing.

Sentences hold customers' values: they are for the person who asked, never for a log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa

from actuals_pipelines.domain.money import Money
from actuals_pipelines.domain.package import MatchingPackage, Pass, Side
from actuals_pipelines.report.candidates import CANDIDATES, candidates_of
from actuals_pipelines.report.engine import over, shaped
from actuals_pipelines.report.group_id import GROUP, GroupId
from actuals_pipelines.report.proposals import proposal_sentence, proposed_lines
from actuals_pipelines.report.wanted import Wanted, columns_of, condition
from actuals_pipelines.report.words import SIDES, plural, reason_in_words

MAX_GROUPS = 20
"""An id that is on the rows of more groups than this is explained for the first of them."""

MAX_ROWS_SHOWN = 50

BY_HAND = "decision"
"""What stands for the pass of a group that a person made (reconcile/MATCHING.md 5)."""

GROUP_ROWS = pa.schema(
    [
        pa.field("side", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("row_id", pa.string()),
        pa.field("transaction_id", pa.string()),
        pa.field("booked_on", pa.date32()),
        pa.field("amount", pa.int64(), nullable=False),  # minor units, as the source has it
        pa.field("currency", pa.string(), nullable=False),
        pa.field("taken_in", pa.date32()),  # the close that first saw it
        pa.field("row_uid", pa.uuid(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class CloseFacts:
    """What a close knew beside its rows."""

    package: MatchingPackage
    day: date
    due_day: Callable[[Side, date], date | None]  # the missing side, the first booking -> the last day in time
    coverage: Mapping[str, date] | None = None  # source -> last day it has delivered for; None: all have


@dataclass(frozen=True, slots=True)
class Explanation:
    """One group (or one row in no group), explained."""

    package: str
    group_id: str | None
    status: str
    reason: str | None
    category: str | None
    currency: str
    sentences: tuple[str, ...]
    rows: pa.Table  # schema GROUP_ROWS, the first of them
    row_count: int
    candidates: pa.Table  # schema candidates.CANDIDATES; empty unless it is open


@dataclass(frozen=True, slots=True)
class _Group:
    """A group's figures, as the state has them."""

    id: GroupId
    status: str
    reason: str | None
    joined_by: str | None  # the pass
    category: str | None
    difference: int
    expected: int
    soll_rows: int
    soll: int
    ist_rows: int
    ist: int
    first_day: date | None

    @property
    def only_side(self) -> Side | None:
        """The side all its rows are on; None if it has both."""
        if self.soll_rows and self.ist_rows:
            return None
        return Side.SOLL if self.soll_rows else Side.IST

    def money(self, minor_units: int) -> Money:
        """An amount in the group's currency."""
        return Money(minor_units, self.id.currency)


def explain(
    rows: pa.Table, wanted: Wanted, facts: CloseFacts, proposals: pa.Table | None = None
) -> tuple[Explanation, ...]:
    """Explain every group of this close that a wanted row is in; nothing if the close has no such row.

    Args:
        rows: the close's rows.
        proposals: what its keyless passes found; None: nothing.
    """
    proposed = proposed_lines(rows, proposals, facts.package.name)
    with over(rows=rows) as con:
        condition_sql, values = condition(wanted, facts.package.name, columns_of(con, "rows"))
        found = con.execute(f"SELECT DISTINCT {GROUP} FROM rows WHERE {condition_sql} ORDER BY ALL", values).fetchall()
        grouped = [GroupId(facts.package.name, *each) for each in found if each[0] is not None]
        explained = [_explain_group(con, group, facts, proposed) for group in grouped[:MAX_GROUPS]]
        if any(each[0] is None for each in found):
            explained.append(_explain_not_relevant(con, condition_sql, values, facts))
        return tuple(explained)


def not_processed(rows: pa.Table, package: str) -> Explanation:
    """Say of live rows (schema `tables.TRANSACTIONS`) that no close of the package has seen them yet."""
    with over(given=rows) as con:
        shown = shaped(
            con.sql(f"""
                SELECT '-', source, kind, row_id, transaction_id, booked_on, amount_minor_units, currency, NULL, row_uid
                FROM given ORDER BY booked_on, source, row_uid LIMIT {MAX_ROWS_SHOWN}"""),
            GROUP_ROWS,
        )
    return Explanation(
        package=package,
        group_id=None,
        status="not_processed",
        reason=None,
        category=None,
        currency=shown["currency"][0].as_py(),
        sentences=(f"Not processed in {package}: published, and in no close yet. The next close takes it in.",),
        rows=shown,
        row_count=rows.num_rows,
        candidates=CANDIDATES.empty_table(),
    )


def _explain_group(
    con: duckdb.DuckDBPyConnection, group_id: GroupId, facts: CloseFacts, proposed: pa.Table
) -> Explanation:
    where, values = condition(Wanted(str(group_id)), group_id.package, ())
    group = _figures(con, group_id, where, values)
    is_open = group.status in ("unmatched", "explained")
    candidates = candidates_of(con, where, values, group.difference) if is_open else CANDIDATES.empty_table()
    sentences = [_status_sentence(group, facts), _sums_sentence(group), *_tolerance_sentences(group, facts)]
    if is_open:
        sentences.append(proposal_sentence(proposed, str(group_id)) or _reason_sentence(group, facts))
    if group.reason == "contested":
        sentences.append("A row outside is on the other side and carries an id of these rows: it contests the match.")
    if group.status == "explained":
        sentences.append(_category_sentence(group, facts))
    return Explanation(
        package=group_id.package,
        group_id=str(group_id),
        status=group.status,
        reason=group.reason,
        category=group.category,
        currency=group_id.currency,
        sentences=tuple(sentences),
        rows=_rows(con, where, values),
        row_count=group.soll_rows + group.ist_rows,
        candidates=candidates,
    )


def _explain_not_relevant(
    con: duckdb.DuckDBPyConnection, where: str, values: list[object], facts: CloseFacts
) -> Explanation:
    outside = f"group_key IS NULL AND {where}"
    query = f"SELECT any_value(currency), count(*) FROM rows WHERE {outside}"
    [(currency, count)] = con.execute(query, values).fetchall()
    start = facts.package.start
    older = f", or it was booked before the package's start ({start})" if start else ""
    members = "; ".join(f"{member.source}: {member.take or 'all rows'}" for _, member in facts.package.members())
    return Explanation(
        package=facts.package.name,
        group_id=None,
        status="not_relevant",
        reason=None,
        category=None,
        currency=currency,
        sentences=(
            f"Not relevant in {facts.package.name}: no member of the package takes the row{older}.",
            f"The members take: {members}.",
        ),
        rows=_rows(con, outside, values),
        row_count=int(count),
        candidates=CANDIDATES.empty_table(),
    )


def _figures(con: duckdb.DuckDBPyConnection, group_id: GroupId, where: str, values: list[object]) -> _Group:
    [found] = con.execute(
        f"""
        SELECT any_value(status), any_value(reason), any_value("pass"), any_value(category), any_value(difference),
               coalesce(any_value(expected), 0), count(*) FILTER (side = 'soll'),
               coalesce(sum(contribution) FILTER (side = 'soll'), 0), count(*) FILTER (side = 'ist'),
               coalesce(-sum(contribution) FILTER (side = 'ist'), 0), min(coalesce(booked_on, value_date))
        FROM rows WHERE {where}""",
        values,
    ).fetchall()
    status, reason, joined_by, category, *numbers, first_day = found
    difference, expected, soll_rows, soll, ist_rows, ist = map(int, numbers)
    return _Group(
        id=group_id,
        status=status,
        reason=reason,
        joined_by=joined_by,
        category=category,
        difference=difference,
        expected=expected,
        soll_rows=soll_rows,
        soll=soll,
        ist_rows=ist_rows,
        ist=ist,
        first_day=first_day,
    )


def _rows(con: duckdb.DuckDBPyConnection, where: str, values: list[object]) -> pa.Table:
    """SOLL first, then by booking day; bounded."""
    return shaped(
        con.sql(
            f"""
            SELECT side, source, kind, row_id, transaction_id, booked_on, amount_minor_units, currency, taken_in,
                   row_uid
            FROM rows WHERE {where} ORDER BY side DESC, booked_on, source, row_uid LIMIT {MAX_ROWS_SHOWN}""",
            params=values,
        ),
        GROUP_ROWS,
    )


def _status_sentence(group: _Group, facts: CloseFacts) -> str:
    where = f"in {facts.package.name}, at the close of {facts.day}"
    if group.status != "matched":
        if group.joined_by and group.only_side is None:
            return (
                f"{group.status.capitalize()} {where}: {_joined_by(group.joined_by, facts)}, but it does not balance."
            )
        return f"{group.status.capitalize()} {where}."
    if group.joined_by == "offset":
        return f"Matched {where}: all its rows are on {SIDES[str(group.only_side)]} and cancel out to exactly 0."
    if group.joined_by == BY_HAND:
        return f"Matched {where}: put together by hand, decision {group.id.key}."
    return f"Matched {where}: {_joined_by(group.joined_by, facts)}."


def _joined_by(name: str | None, facts: CloseFacts) -> str:
    by = next((each for each in facts.package.passes if each.name == name), None)
    if by is None:
        return f"joined by {name!r}" if name else "no pass had to join it"
    return f"pass {by.name!r} joined its rows, because {_key_of(by)}"


def _key_of(by: Pass) -> str:
    scheme = by.by.replace("_", " ")
    scheme = scheme if scheme.endswith("id") else f"{scheme} id"
    if not by.look_in:
        return f"they carry the same {scheme}"
    return f"one side's {scheme} stands in the other's {' or '.join(by.look_in)}"


def _sums_sentence(group: _Group) -> str:
    soll, ist = SIDES["soll"], SIDES["ist"]
    sums = (
        f"{soll} adds up to {group.money(group.soll)} in {plural(group.soll_rows, 'row')}, "
        f"{ist} to {group.money(group.ist)} in {plural(group.ist_rows, 'row')}"
    )
    if group.difference == 0:
        return f"{sums}: no difference."
    more = "IST falls short" if group.difference > 0 else "IST has more"
    return f"{sums}: the difference is {group.money(group.difference)} ({more})."


def _tolerance_sentences(group: _Group, facts: CloseFacts) -> list[str]:
    if group.only_side is not None or group.difference == group.expected:
        return []
    tolerance = facts.package.tolerance
    absolute = tolerance.minor_units.get(group.id.currency, 0)
    allowed = max(absolute, abs(group.soll) * tolerance.basis_points // 10_000)
    expected = f" around the expected {group.money(group.expected)}" if group.expected else ""
    off = abs(group.difference - group.expected)
    judged = "which is within" if off <= allowed else "which is more than"
    return [f"It is off by {group.money(off)}{expected}, {judged} the tolerance of {group.money(allowed)}."]


def _reason_sentence(group: _Group, facts: CloseFacts) -> str:
    special = {
        "missing_ist": lambda: _missing(group, facts, Side.IST),
        "missing_soll": lambda: _missing(group, facts, Side.SOLL),
        "not_due": lambda: _not_due(group, facts),
        "source_late": lambda: _source_late(group, facts),
    }.get(group.reason or "")
    if special is not None:
        return special()
    return f"It {reason_in_words(group.reason) or 'is open for no recorded reason'}."


def _missing(group: _Group, facts: CloseFacts, side: Side) -> str:
    start = f"No row of {_sources_of(facts, side)} on {SIDES[str(side)]} has this id in {group.id.currency}"
    due, last = facts.package.due.get(side), _last_day(group, facts, side)
    if due is None or last is None:
        return f"{start}; the package gives it no time to arrive (`due`)." if due is None else f"{start}."
    kind = "business day" if due.business else "day"
    return f"{start}; due {plural(due.days, kind)} after booking were over on {last}."


def _not_due(group: _Group, facts: CloseFacts) -> str:
    side = _other(group)
    start = f"No row of {_sources_of(facts, side)} on {SIDES[str(side)]} has this id yet"
    return f"{start}; it is in time until {_last_day(group, facts, side)}."


def _source_late(group: _Group, facts: CloseFacts) -> str:
    side = _other(group)
    members = facts.package.soll if side is Side.SOLL else facts.package.ist
    known = facts.coverage or {}
    through = "; ".join(
        f"{name} has delivered through {known[name]}" if name in known else f"{name} has delivered nothing yet"
        for name in dict.fromkeys(member.source for member in members)
    )
    return f"It is not known yet whether a row on {SIDES[str(side)]} is missing: {through}."


def _category_sentence(group: _Group, facts: CloseFacts) -> str:
    rules = [rule for rule in facts.package.explanations if rule.category == group.category]
    by = " or ".join(f"rule {rule.name!r} ({' '.join(rule.when.split())})" for rule in rules)
    return f"Explained as {group.category!r} by {by}." if by else f"Explained as {group.category!r} by hand."


def _other(group: _Group) -> Side:
    return Side.IST if group.only_side is Side.SOLL else Side.SOLL


def _last_day(group: _Group, facts: CloseFacts, side: Side) -> date | None:
    return facts.due_day(side, group.first_day) if group.first_day else None


def _sources_of(facts: CloseFacts, side: Side) -> str:
    members = facts.package.soll if side is Side.SOLL else facts.package.ist
    return " or ".join(dict.fromkeys(member.source for member in members))


def as_document(explanation: Explanation) -> dict[str, Any]:
    """The explanation as plain data; amounts in minor units."""
    return {
        "package": explanation.package,
        "group_id": explanation.group_id,
        "status": explanation.status,
        "reason": explanation.reason,
        "category": explanation.category,
        "sentences": list(explanation.sentences),
        "row_count": explanation.row_count,
        "rows": explanation.rows.to_pylist(),
        "candidates": explanation.candidates.to_pylist(),
    }
