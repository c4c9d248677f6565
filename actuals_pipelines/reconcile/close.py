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
from actuals_pipelines.reconcile.digest import digest_of
from actuals_pipelines.reconcile.due import Clock
from actuals_pipelines.reconcile.errors import RowRepeated, StateOutdated
from actuals_pipelines.reconcile.figures import Figures, figures_of
from actuals_pipelines.reconcile.members import check_keys, columns_read, key_columns, refuse_unbuilt
from actuals_pipelines.reconcile.passes import MAX_ROWS_PER_KEY
from actuals_pipelines.reconcile.proofs import Control, Proofs, prove, stock_and_flow
from actuals_pipelines.reconcile.reasons import judge_open_groups
from actuals_pipelines.reconcile.rules import compile_rules
from actuals_pipelines.reconcile.schema import CHANGES, CORE, OUTCOME, TUPLE
from actuals_pipelines.reconcile.solve import shaped, solve_relation
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
class State:
    """A package after a close.

    `rows` has one row per live row: the transaction's columns that matching reads (`schema.CORE`, its own `status`
    as `row_status`, extra fields of `take` and `when`, key columns), then `schema.OUTCOME`, then `taken_in` (date32,
    the close day that first saw it). In no particular order.
    """

    package: str
    day: date
    rows: pa.Table


@dataclass(frozen=True, slots=True)
class Closed:
    """What a close gives: to be published together or not at all."""

    state: State
    changes: pa.Table  # schema.CHANGES
    figures: Figures
    proofs: Proofs
    digest: str
    pins: Pins
    solved_rows: int  # rows that were solved again; the others were carried


def close(
    opening: State | None,
    adds: pa.Table,
    removes: Iterable[bytes] | pa.Array | pa.ChunkedArray,
    package: MatchingPackage,
    pins: Pins,
    *,
    control: Control | None = None,
    is_full: bool = False,
    max_rows_per_key: int = MAX_ROWS_PER_KEY,
    threads: int = 2,
) -> Closed:
    """Take in what changed and close the package's day.

    Args:
        opening: the published close before; None for the first.
        adds: rows that are new or changed (same row_uid, new content), schema `tables.TRANSACTIONS` with extra and
            key columns. A changed row needs no entry in `removes`.
        removes: row_uids (pa.uuid(), or 16 bytes each) that are no longer live; unknown ones are ignored.
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
        kept = _columns_kept(package, [*adds.schema.names, *(_given_names(opening) if opening else ())])
        _register(con, opening, adds, removes, package=package, kept=kept)
        if is_full:
            con.execute(
                "CREATE OR REPLACE TEMP TABLE touched AS SELECT row_uid FROM opening ANTI JOIN gone USING (row_uid)"
            )
        else:
            find_touched(con, package)
        solved_rows = _solve_touched(con, package, kept, pins, max_rows_per_key)
        rows = _judge(con, package, kept, pins)
        changes = _changes(con)
        figures = figures_of(con, "closing")
        proofs = prove(package.name, stock_and_flow(con), figures.bridges, control)
        state = State(package.name, pins.day, rows)
        digest = digest_of(con, "closing", package.name)
    return Closed(state, changes, figures, proofs, digest, pins, solved_rows)


def _given_names(state: State) -> list[str]:
    outcome = {*OUTCOME.names, "taken_in"}
    return ["status" if n == "row_status" else n for n in state.rows.column_names if n not in outcome]


def _columns_kept(package: MatchingPackage, available: list[str]) -> list[str]:
    """The rows' columns that matching this package needs, in a fixed order."""
    extra = columns_read(package, available) | compile_rules(package, available, lambda *_: None).row_columns
    wanted = [*CORE, *sorted((extra & set(available)) - set(CORE)), *key_columns(package)]
    return [name for name in dict.fromkeys(wanted) if name in available or name in key_columns(package)]


def _register(
    con: duckdb.DuckDBPyConnection,
    opening: State | None,
    adds: pa.Table,
    removes: Iterable[bytes] | pa.Array | pa.ChunkedArray,
    *,
    package: MatchingPackage,
    kept: list[str],
) -> None:
    """Create fresh, removes, gone and opening. `fresh` has the kept columns under their own names."""
    ids = removes if isinstance(removes, pa.Array | pa.ChunkedArray) else pa.array(list(removes), pa.binary(16))
    con.register("removes", pa.table({"row_uid": ids.cast(pa.uuid()) if ids.type != pa.uuid() else ids}))
    con.register("adds", adds)
    present = set(adds.schema.names)
    check_keys(package, present)
    selected = ", ".join(quoted(name) if name in present else f"NULL AS {quoted(name)}" for name in kept)
    con.execute(f"CREATE OR REPLACE TEMP TABLE fresh AS SELECT {selected} FROM adds")
    repeated = number_of(con, "SELECT count(*) FROM (SELECT row_uid FROM fresh GROUP BY row_uid HAVING count(*) > 1)")
    if repeated:
        raise RowRepeated(package.name, repeated)
    con.execute("""
        CREATE OR REPLACE TEMP TABLE gone AS SELECT row_uid FROM fresh UNION SELECT row_uid FROM removes""")
    if opening is None:
        mine = ", ".join(f"NULL::{_sql_type(f.type)} AS {quoted(f.name)}" for f in OUTCOME)
        con.execute(f"""
            CREATE OR REPLACE TEMP TABLE opening AS
            SELECT {_as_state(kept)}, {mine}, NULL::DATE AS taken_in FROM fresh LIMIT 0""")
        return
    lacking = [name for name in kept if ("row_status" if name == "status" else name) not in opening.rows.column_names]
    types = {name: kind for name, kind, *_ in con.execute("DESCRIBE fresh").fetchall()}
    nulls = "".join(f", NULL::{types[name]} AS {quoted(name)}" for name in lacking)
    con.register("opening_given", opening.rows)
    con.execute(f"CREATE OR REPLACE TEMP VIEW opening AS SELECT *{nulls} FROM opening_given")
    if lacking and number_of(con, "SELECT count(*) FROM opening ANTI JOIN gone USING (row_uid)"):
        raise StateOutdated(package.name, lacking)


_SQL_TYPES = {
    pa.string(): "VARCHAR", pa.int64(): "BIGINT", pa.int32(): "INTEGER", pa.int16(): "SMALLINT", pa.uuid(): "UUID",
}  # fmt: skip


def _sql_type(kind: pa.DataType) -> str:
    return _SQL_TYPES[kind]


def _as_state(kept: list[str], alias: str = "") -> str:
    """The kept columns as a state names them."""
    dot = f"{alias}." if alias else ""
    return ", ".join(f"{dot}status AS row_status" if name == "status" else dot + quoted(name) for name in kept)


def _as_given(kept: list[str]) -> str:
    """A state's columns under the names that rows are given with."""
    return ", ".join('row_status AS "status"' if name == "status" else quoted(name) for name in kept)


def _solve_touched(
    con: duckdb.DuckDBPyConnection, package: MatchingPackage, kept: list[str], pins: Pins, max_rows_per_key: int
) -> int:
    """Solve the fresh and the touched rows; create `open_rows`: every row of every open group, carried or solved.

    Returns the number of rows solved.
    """
    names = ", ".join(quoted(name) for name in kept)
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE to_solve AS
        SELECT {names}, NULL::DATE AS taken_in FROM fresh ANTI JOIN opening USING (row_uid)
        UNION ALL
        SELECT {names}, o.taken_in FROM fresh JOIN (SELECT row_uid, taken_in FROM opening) o USING (row_uid)
        UNION ALL
        SELECT {_as_given(kept)}, taken_in FROM opening SEMI JOIN touched USING (row_uid)""")
    con.execute(f"UPDATE to_solve SET taken_in = DATE '{pins.day}' WHERE taken_in IS NULL")
    solve_relation(con, package, "to_solve", kept, version=pins.version, max_rows_per_key=max_rows_per_key)
    judged_later = ("status", "reason", "category")
    outcome = ", ".join(quoted(name) for name in OUTCOME.names if name not in judged_later)
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE open_rows AS
        SELECT {_as_given(kept)}, {outcome}, taken_in FROM ({_CARRIED}) WHERE status IN ({_OPEN})
        UNION ALL
        SELECT {_columns("r", kept)}, {_columns("s", outcome_names(judged_later))}, r.taken_in
        FROM to_solve r JOIN left_open s USING (row_uid)""")
    return number_of(con, "SELECT count(*) FROM to_solve")


_OPEN = "'unmatched', 'explained'"
_CARRIED = "SELECT * FROM opening ANTI JOIN gone USING (row_uid) ANTI JOIN touched USING (row_uid)"


def outcome_names(without: tuple[str, ...] = ()) -> list[str]:
    """The outcome's columns."""
    return [name for name in OUTCOME.names if name not in without]


def _columns(alias: str, names: list[str]) -> str:
    return ", ".join(f"{alias}.{quoted(name)}" for name in names)


def _judge(con: duckdb.DuckDBPyConnection, package: MatchingPackage, kept: list[str], pins: Pins) -> pa.Table:
    """Judge all open groups, and register `closing`: the state's rows as they will be stored. Returns them.

    It is written once, as Arrow: carried rows are most of it, and a copy in the engine would double the memory.
    """
    judge_open_groups(con, package, pins.clock)
    verdict = ("status", "reason", "category")
    outcome = ", ".join(f"{'j' if name in verdict else 'o'}.{quoted(name)}" for name in OUTCOME.names)
    mine = ", ".join("row_status" if name == "status" else quoted(name) for name in kept)
    rows = table_of(
        con,
        f"""
        SELECT {mine}, {", ".join(map(quoted, OUTCOME.names))}, taken_in
        FROM ({_CARRIED}) WHERE status NOT IN ({_OPEN})
        UNION ALL
        SELECT {_as_state(kept, "r")}, {_columns("s", outcome_names())}, r.taken_in
        FROM to_solve r JOIN solved s USING (row_uid) WHERE s.status <> 'open'
        UNION ALL
        SELECT {_as_state(kept, "o")}, {outcome}, o.taken_in
        FROM open_rows o JOIN judged j USING (group_key, currency, continuation)""",
    )
    con.register("closing", rows)
    return rows


def _changes(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """Create table `changes`. Carried rows of groups that are not open cannot have changed, and are not looked at."""
    differs = " OR ".join(f"n.{quoted(name)} IS DISTINCT FROM w.{quoted(name)}" for name in TUPLE)
    current = ", ".join(f"n.{quoted(name)}" for name in CHANGES.names[6:14])
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE changes AS
        WITH looked_at AS (
            SELECT row_uid FROM to_solve UNION SELECT row_uid FROM open_rows
            UNION SELECT row_uid FROM opening SEMI JOIN gone USING (row_uid)),
        n AS (FROM closing SEMI JOIN looked_at USING (row_uid)),
        w AS (FROM opening SEMI JOIN looked_at USING (row_uid)),
        restated AS (SELECT row_uid FROM fresh)
        SELECT coalesce(n.row_uid, w.row_uid) AS row_uid,
               CASE WHEN w.row_uid IS NULL THEN 'entered' WHEN n.row_uid IS NULL THEN 'left'
                    WHEN f.row_uid IS NOT NULL THEN 'restated' ELSE 'moved' END AS change,
               coalesce(n.source, w.source) AS source, coalesce(n.side, w.side) AS side,
               coalesce(n.currency, w.currency) AS currency,
               coalesce(n.amount_minor_units, w.amount_minor_units) AS amount_minor_units, {current},
               w.status AS was_status, w.reason AS was_reason, w.group_key AS was_group_key, w.category AS was_category
        FROM n FULL JOIN w ON n.row_uid = w.row_uid LEFT JOIN restated f ON f.row_uid = n.row_uid
        WHERE n.row_uid IS NULL OR w.row_uid IS NULL OR f.row_uid IS NOT NULL OR {differs}""")
    return shaped(table_of(con, "FROM changes"), CHANGES)
