# ruff: noqa: S608 - SQL is put together from our own names and quoted columns
"""A close: the state of a package carried from one close day to the next, with its changes, figures and proofs.

Only what a change can touch is solved again; the rest is carried. Reasons and explanations, which depend on the
clock, are judged anew over all open groups. The result is the same as solving everything (MATCHING.md 5 and 7).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

import duckdb
import pyarrow as pa

from actuals_pipelines.domain.package import MatchingPackage
from actuals_pipelines.engine import engine, number_of, table_of
from actuals_pipelines.expressions import quoted
from actuals_pipelines.reconcile.decisions import (
    NO_DECISIONS,
    adjustments_sql,
    effective,
    take_decisions,
    with_adjustments,
)
from actuals_pipelines.reconcile.digest import lanes_of
from actuals_pipelines.reconcile.due import Clock
from actuals_pipelines.reconcile.errors import RowRepeated
from actuals_pipelines.reconcile.figures import Figures, figures_from
from actuals_pipelines.reconcile.members import check_keys, keyless, keys_of_schemes, refuse_unbuilt
from actuals_pipelines.reconcile.proofs import Control, Proofs, prove, stock_and_flow
from actuals_pipelines.reconcile.reasons import judge_open_groups
from actuals_pipelines.reconcile.schema import OUTCOME, PROPOSALS, TUPLE
from actuals_pipelines.reconcile.solve import VERDICT, columns_kept, outcomes_sql, shaped, solve_rows
from actuals_pipelines.reconcile.state import (
    CHUNK,
    OPEN,
    PART,
    State,
    given_names,
    open_state,
    refuse_outdated,
    rows_near,
)
from actuals_pipelines.reconcile.summary import EMPTY, Summary, summary_of, sums_of
from actuals_pipelines.reconcile.touched import find_touched


@dataclass(frozen=True, slots=True)
class Pins:
    """All that decides a close beside its rows and its package. Same pins, same digest."""

    day: date  # the close day; new rows are taken in on it
    as_of: date | None = None  # the clock of `due`; None: the close day
    version: int = 1  # of the package
    coverage: Mapping[str, date] | None = None  # source -> last day it is complete through; None: all are
    holidays: frozenset[date] = frozenset()
    others: Mapping[str, str] = field(default_factory=dict)  # manifest, ids, mapping, decisions: kept, not read here

    @property
    def clock(self) -> Clock:
        """What reasons may know of time."""
        return Clock(self.as_of or self.day, self.coverage, self.holidays)


@dataclass(frozen=True, slots=True)
class Closed:
    """What a close gives: to be published together or not at all."""

    state: State
    changes: pa.Table  # the state's newest part: what this close changed
    figures: Figures
    proofs: Proofs
    proposals: pa.Table  # schema `schema.PROPOSALS`: what keyless passes found among all open groups
    summary: Summary  # what the state's rows add up to
    pins: Pins
    solved_rows: int  # rows that were solved again; the others were carried

    @property
    def digest(self) -> str:
        """Of the state, in hexadecimal; see `digest`."""
        return self.summary.digest


def close(
    opening: State | None,
    adds: pa.Table | pa.RecordBatchReader,
    removes: Iterable[bytes] | pa.Array | pa.ChunkedArray,
    package: MatchingPackage,
    pins: Pins,
    *,
    decisions: pa.Table = NO_DECISIONS,
    control: Control | None = None,
    is_full: bool = False,
    max_rows_per_key: int | None = None,
    threads: int = 2,
) -> Closed:
    """Take in what changed and close the package's day.

    Args:
        opening: the published close before; None for the first.
        adds: rows that are new or changed (same row_uid, new content), schema `tables.TRANSACTIONS` with extra and
            key columns; read once. A changed row needs no entry in `removes`.
        removes: row_uids (pa.uuid(), or 16 bytes each) that are no longer live; unknown ones are ignored.
        decisions: what people decided and what is in force at this close, schema `decisions.LINES`; what was in force
            at the opening is with its state.
        control: what the catalogue says is live, per source and currency; compared if given.
        is_full: solve every row again instead of carrying what nothing touched. The result is the same, unless the
            package changed: then a close must be full.

    Raises:
        ProofFailed: a proof does not hold; nothing may be published.
        StateOutdated: the state lacks a column that the package now reads: hand over all live rows as `adds`.
        RowRepeated: `adds` has a row_uid twice.
        NotBuiltYet, KeysMissing, RowTakenTwice, SourceNotInPackage, ExpressionRefused, AmountOverflow
    """
    refuse_unbuilt(package)
    with engine(threads) as con:
        take_decisions(con, decisions, opening.decisions if opening is not None else NO_DECISIONS)
        kept = columns_kept(package, [*adds.schema.names, *(given_names(opening) if opening else ())])
        _take_in(con, adds, removes, package=package, kept=kept, day=pins.day)
        before = _recall(con, package, opening, kept, is_full=is_full)
        solved_rows = _solve_touched(con, package, kept, pins, max_rows_per_key)
        changes, summary = _changes(con, kept, before)
        figures = figures_from(summary)
        proofs = prove(package.name, stock_and_flow(con, before, summary), figures.bridges, control)
        proposals = shaped(table_of(con, "FROM proposals"), PROPOSALS) if keyless(package) else PROPOSALS.empty_table()
    parts = (*(opening.parts if opening is not None else ()), changes)
    state = State(package.name, pins.day, parts, summary, decisions)
    return Closed(state, changes, figures, proofs, proposals, summary, pins, solved_rows)


def _take_in(
    con: duckdb.DuckDBPyConnection,
    adds: pa.Table | pa.RecordBatchReader,
    removes: Iterable[bytes] | pa.Array | pa.ChunkedArray,
    *,
    package: MatchingPackage,
    kept: list[str],
    day: date,
) -> None:
    """Create `to_solve` (the kept columns, taken_in, is_fresh), `removes` and `gone`: what is no longer as it was."""
    ids = removes if isinstance(removes, pa.Array | pa.ChunkedArray) else pa.array(list(removes), pa.binary(16))
    con.register("removes_given", pa.table({"row_uid": ids.cast(pa.uuid()) if ids.type != pa.uuid() else ids}))
    con.execute("CREATE TEMP TABLE removes AS FROM removes_given")
    con.register("adds", adds)
    present = set(adds.schema.names)
    check_keys(package, present)
    selected = ", ".join(quoted(name) if name in present else f"NULL AS {quoted(name)}" for name in kept)
    con.execute(
        f"CREATE TEMP TABLE to_solve AS SELECT {selected}, DATE '{day}' AS taken_in, TRUE AS is_fresh FROM adds"
    )
    _take_adjustments(con, kept, day)
    con.execute("CREATE TEMP TABLE gone AS SELECT DISTINCT row_uid FROM to_solve")
    if number_of(con, "SELECT (SELECT count(*) FROM to_solve) - (SELECT count(*) FROM gone)"):
        twice = "SELECT row_uid FROM to_solve GROUP BY row_uid HAVING count(*) > 1"
        raise RowRepeated(package.name, number_of(con, f"SELECT count(*) FROM ({twice})"))
    con.execute("INSERT INTO gone SELECT DISTINCT row_uid FROM removes ANTI JOIN gone USING (row_uid)")


def _take_adjustments(con: duckdb.DuckDBPyConnection, kept: list[str], day: date) -> None:
    """An adjustment is a row like any other: it enters when it is in force, and leaves when it was withdrawn."""
    new, old = (
        f"({one} ANTI JOIN ({other}) USING (row_uid))"
        for one, other in (
            (f"FROM ({adjustments_sql('decided', kept)})", adjustments_sql("decided_once", kept)),
            (f"FROM ({adjustments_sql('decided_once', kept)})", adjustments_sql("decided", kept)),
        )
    )
    con.execute(f"INSERT INTO to_solve SELECT *, DATE '{day}', TRUE FROM {new}")
    con.execute(f"INSERT INTO removes SELECT row_uid FROM {old}")


def _recall(
    con: duckdb.DuckDBPyConnection, package: MatchingPackage, opening: State | None, kept: list[str], *, is_full: bool
) -> Summary:
    """Create `was`, the opening's rows that may change: touched, gone or open; whole groups. `reached`: less the open.

    Returns what the whole opening adds up to.
    """
    types = {name: kind for name, kind, *_ in con.execute("DESCRIBE to_solve").fetchall()}
    named = [("row_status" if name == "status" else name, types[name]) for name in kept]
    if opening is None:
        mine = ", ".join(f"NULL::{_SQL_TYPES[f.type]} AS {quoted(f.name)}" for f in OUTCOME)
        con.execute(f"CREATE TEMP VIEW opening AS SELECT {_as_state(kept)}, {mine}, taken_in FROM to_solve LIMIT 0")
        con.execute("CREATE TEMP TABLE was AS FROM opening")
        con.execute("CREATE TEMP TABLE reached AS SELECT row_uid FROM opening")
        return EMPTY
    lacking = open_state(con, opening, named)
    refuse_outdated(con, package.name, lacking)
    if is_full:
        con.execute("CREATE TEMP TABLE was AS FROM opening")
        con.execute("CREATE TEMP TABLE reached AS SELECT row_uid FROM was")
    else:
        find_touched(con, package)
        # Two readings: of open rows, which lie together, and of the chunks that hold the others.
        con.execute(f"CREATE TEMP TABLE was AS FROM opening WHERE status IN ({OPEN})")
        closed = f"FROM reached WHERE status NOT IN ({OPEN})"
        places = dict(con.execute(f"SELECT {PART}, list(DISTINCT {CHUNK}) {closed} GROUP BY {PART}").fetchall())
        if places:
            con.execute(f"""
                INSERT INTO was BY NAME FROM ({rows_near(con, opening, places)})
                SEMI JOIN (SELECT row_uid {closed}) USING (row_uid)""")
    return opening.summary or summary_of(con, "opening")


_SQL_TYPES = {
    pa.string(): "VARCHAR", pa.int64(): "BIGINT", pa.int32(): "INTEGER", pa.int16(): "SMALLINT", pa.uuid(): "UUID",
}  # fmt: skip


def _as_state(kept: list[str]) -> str:
    """The kept columns as a state names them."""
    return ", ".join('"status" AS row_status' if name == "status" else quoted(name) for name in kept)


def _as_given(kept: list[str]) -> str:
    """A state's columns under the names that rows are given with."""
    return ", ".join('row_status AS "status"' if name == "status" else quoted(name) for name in kept)


def _solve_touched(
    con: duckdb.DuckDBPyConnection, package: MatchingPackage, kept: list[str], pins: Pins, max_rows_per_key: int | None
) -> int:
    """Solve the fresh and the touched rows and judge all open groups.

    Creates view `now`: each row of `was` that stays, and each that was solved. Returns the number of rows solved.
    """
    con.execute("UPDATE to_solve SET taken_in = w.taken_in FROM was w WHERE w.row_uid = to_solve.row_uid")
    con.execute(f"""
        INSERT INTO to_solve
        SELECT {_as_given(kept)}, taken_in, FALSE FROM was SEMI JOIN reached USING (row_uid)
        ANTI JOIN gone USING (row_uid)""")
    solve_rows(con, with_adjustments(package), version=pins.version, max_rows_per_key=max_rows_per_key)
    carried = f"was ANTI JOIN reached USING (row_uid) WHERE status IN ({OPEN})"
    before_verdict = [quoted(name) for name in OUTCOME.names if name not in VERDICT]
    given = ", ".join([_as_given(kept), *before_verdict, "taken_in"])
    new, old = (effective(con, keys_of_schemes(package), each) for each in ("left_open", f"(FROM {carried})"))
    con.execute(f"CREATE TEMP TABLE open_rows AS SELECT {given} FROM {new} UNION ALL SELECT {given} FROM {old}")
    judge_open_groups(con, package, pins.clock)
    columns = [*_state_columns(kept), "is_fresh"]
    judged = ", ".join(f"{'j' if name in VERDICT else 'c'}.{quoted(name)}" for name in columns[:-1])
    con.execute(f"""
        CREATE TEMP VIEW now AS
        {outcomes_sql(columns)}
        UNION ALL
        SELECT {judged}, FALSE FROM (FROM {carried}) c JOIN judged j USING (group_key, currency, continuation)""")
    return number_of(con, "SELECT count(*) FROM to_solve")


def _state_columns(kept: list[str]) -> list[str]:
    return ["row_status" if name == "status" else name for name in kept] + [*OUTCOME.names, "taken_in"]


def _changes(con: duckdb.DuckDBPyConnection, kept: list[str], before: Summary) -> tuple[pa.Table, Summary]:
    """Return the changes, registered as `changes`, and what the state adds up to with them."""
    has_past = number_of(con, "SELECT count(*) FROM was") > 0
    if has_past:  # it is read several times
        con.execute("CREATE TEMP TABLE now_kept AS FROM now")
    now = "now_kept" if has_past else "now"
    columns = _state_columns(kept)
    differs = " OR ".join(f"n.{quoted(name)} IS DISTINCT FROM w.{quoted(name)}" for name in TUPLE)
    past = "w.status AS was_status, w.reason AS was_reason, w.group_key AS was_group_key, w.category AS was_category"
    outcome = {*OUTCOME.names} - {"side", "contribution"}
    nulls = {f.name: f"NULL::{_SQL_TYPES[f.type]}" for f in OUTCOME if f.name in outcome}
    changes = table_of(
        con,
        f"""
        SELECT {", ".join(f"n.{quoted(name)}" for name in columns)},
               CASE WHEN w.row_uid IS NULL THEN 'entered' WHEN n.is_fresh THEN 'restated' ELSE 'moved' END AS change,
               {past}
        FROM {now} n LEFT JOIN was w ON w.row_uid = n.row_uid WHERE w.row_uid IS NULL OR n.is_fresh OR {differs}
        UNION ALL
        SELECT {", ".join(nulls.get(name, f"w.{quoted(name)}") for name in columns)}, 'left', {past}
        FROM was w SEMI JOIN gone USING (row_uid) ANTI JOIN (FROM to_solve WHERE is_fresh) f USING (row_uid)""",
    )
    con.register("changes", changes)
    lanes = lanes_of(con, "(FROM changes WHERE change <> 'left')")
    if not has_past:
        return changes, before.plus(sums_of(con, "changes", lanes=lanes))
    undone = lanes_of(con, "(FROM was SEMI JOIN changes USING (row_uid))")
    without = before.plus(sums_of(con, "was", lanes=undone), -1)
    return changes, without.plus(sums_of(con, now, lanes=lanes))
