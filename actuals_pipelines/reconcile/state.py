# ruff: noqa: S608 - SQL is put together from our own names and quoted columns
"""A package after a close: a checkpoint and the changes since, of which the last word on each row holds.

A close writes what it changed, not what it carried. Reading a state puts the parts together again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from actuals_pipelines.engine import engine, number_of, table_of
from actuals_pipelines.expressions import quoted
from actuals_pipelines.reconcile.errors import ProofFailed, StateOutdated
from actuals_pipelines.reconcile.schema import OUTCOME, WAS
from actuals_pipelines.reconcile.summary import Summary, summary_of

if TYPE_CHECKING:
    import pyarrow.dataset as ds

OPEN = "'unmatched', 'explained'"
"""The statuses of open groups, for SQL."""

MAX_PARTS = 16
"""So many files a close may have to open; then a checkpoint is due."""

SMALL_ROWS = 100_000
"""A state of no more is read once and kept in memory while a close works: many small readings cost more."""

_OURS = (*OUTCOME.names, "taken_in", *WAS)


@dataclass(frozen=True, slots=True)
class State:
    """A package after a close.

    Each part, oldest first, has one row per row it speaks of: the transaction's columns that matching reads
    (`schema.CORE`, its own `status` as `row_status`, extra fields of `take` and `when`, key columns), then
    `schema.OUTCOME`, then `taken_in` (date32, the close day that first saw it); a part of changes also has
    `schema.WAS`. Rows are in no particular order.
    """

    package: str
    day: date
    parts: tuple[pa.Table | ds.Dataset, ...]
    summary: Summary | None = None  # what its rows add up to; None: not known, to be added up

    @property
    def rows(self) -> pa.Table:
        """One row per live row, as the last part that speaks of it has it; the columns of a part without WAS."""
        with self.opened() as con:
            return table_of(con, "FROM opening")

    @property
    def is_checkpoint_due(self) -> bool:
        """Whether reading the parts costs more than writing their rows anew."""
        return len(self.parts) > MAX_PARTS

    @contextmanager
    def opened(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with view `opening`: `rows`, to be streamed."""
        with engine() as con:
            open_state(con, self)
            yield con

    def prove(self, con: duckdb.DuckDBPyConnection) -> None:
        """Hold what was carried from close to close against all the rows, over the connection of `opened`.

        Raises:
            ProofFailed: they differ.
        """
        if self.summary is not None and summary_of(con, "opening") != self.summary:
            raise ProofFailed("checkpoint", self.package, "the rows of its state", self.summary)


def given_names(state: State) -> list[str]:
    """The transactions' columns that a state keeps, under the names that rows are given with."""
    return ["status" if name == "row_status" else name for name in _columns(state) if name not in _OURS]


def open_state(con: duckdb.DuckDBPyConnection, state: State, also: Sequence[tuple[str, str]] = ()) -> list[str]:
    """Create `opening`: the state's rows, a view or a table.

    `also` names columns with their SQL type that are null where no part has them. Returns which.
    """
    present = _columns(state)
    lacking = [(name, kind) for name, kind in also if name not in present]
    columns = [name for name in present if name not in WAS]
    is_small = state.summary is not None and state.summary.count <= SMALL_ROWS
    create = f"CREATE OR REPLACE TEMP {'TABLE' if is_small else 'VIEW'} opening AS"
    versions = []
    for number, part in enumerate(state.parts):
        con.register(f"part_{number}", part.to_table() if is_small and not isinstance(part, pa.Table) else part)
        has = set(part.schema.names)
        shown = [quoted(name) if name in has else f"NULL AS {quoted(name)}" for name in columns]
        change = "change" if "change" in has else "NULL::VARCHAR AS change"
        versions.append(f"SELECT {', '.join(shown)}, {change}, {number} AS part FROM part_{number}")
    names = ", ".join([*map(quoted, columns), *(f"NULL::{kind} AS {quoted(name)}" for name, kind in lacking)])
    if len(versions) == 1:
        con.execute(f"{create} SELECT {names} FROM part_0")
    else:
        # A row that enters replaces none, and the first part replaces nothing.
        words = " UNION ALL ".join(
            f"SELECT row_uid, {number} AS part FROM part_{number} WHERE change <> 'entered'"
            for number in range(1, len(versions))
        )
        con.execute(f"""
            CREATE OR REPLACE TEMP TABLE replaced AS
            SELECT row_uid, max(part) AS last FROM ({words}) GROUP BY row_uid""")
        con.execute(f"""
            {create}
            SELECT {names} FROM ({" UNION ALL ".join(versions)}) v
            ANTI JOIN replaced r ON r.row_uid = v.row_uid AND r.last > v.part
            WHERE change IS DISTINCT FROM 'left'""")
    return [name for name, _ in lacking]


def refuse_outdated(con: duckdb.DuckDBPyConnection, package: str, lacking: list[str]) -> None:
    """Raise StateOutdated if a row would be carried that lacks a column."""
    if lacking and number_of(con, "SELECT count(*) FROM opening ANTI JOIN gone USING (row_uid)"):
        raise StateOutdated(package, lacking)


def _columns(state: State) -> list[str]:
    return list(dict.fromkeys(name for part in state.parts for name in part.schema.names))
