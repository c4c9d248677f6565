# ruff: noqa: S608 - SQL is put together from our own names and quoted columns
"""A package after a close: a checkpoint and the changes since, of which the last word on each row holds.

A close writes what it changed, not what it carried. Reading a state puts the parts together again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from actuals_pipelines.domain.package import ADJUSTMENTS
from actuals_pipelines.engine import engine, number_of, table_of
from actuals_pipelines.expressions import quoted
from actuals_pipelines.reconcile.decisions import NO_DECISIONS
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

PART, CHUNK = "_part", "_chunk"
"""Where a row of a state lies: the number of its part, and of the row group within it."""

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
    decisions: pa.Table = field(default_factory=lambda: NO_DECISIONS)  # it was solved with: `decisions.LINES`

    @property
    def rows(self) -> pa.Table:
        """One row per live row, as the last part that speaks of it has it; the columns of a part without WAS."""
        with self.opened() as con:
            return table_of(con, "FROM opening")

    @property
    def is_small(self) -> bool:
        """Whether it is read once and kept in memory while a close works: many small readings cost more."""
        return self.summary is not None and self.summary.count <= SMALL_ROWS

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
    """Create `opening`: the state's rows; `opening_at`: the same with PART and CHUNK.

    `also` names columns with their SQL type that are null where no part has them. Returns which.
    """
    present = _columns(state)
    lacking = [(name, kind) for name, kind in also if name not in present]
    shown = [name for name in present if name not in WAS]
    for number, part in enumerate(state.parts):
        if isinstance(part, pa.Table):
            con.register(f"part_{number}", part)
        else:
            con.register(f"part_{number}", part.to_table() if state.is_small else _in_chunks(part))
    if len(state.parts) > 1:
        # A row that enters replaces none, and the first part replaces nothing.
        words = " UNION ALL ".join(
            f"SELECT row_uid, {number} AS part FROM part_{number} WHERE change <> 'entered'"
            for number in range(1, len(state.parts))
        )
        con.execute(f"CREATE TEMP TABLE replaced AS SELECT row_uid, max(part) AS last FROM ({words}) GROUP BY row_uid")
    rows = _last_words(con, range(len(state.parts)), "part", shown)
    nulls = "".join(f", NULL::{kind} AS {quoted(name)}" for name, kind in lacking)
    con.execute(f"CREATE TEMP {'TABLE' if state.is_small else 'VIEW'} opening_at AS SELECT *{nulls} FROM ({rows})")
    con.execute(f"CREATE TEMP VIEW opening AS SELECT * EXCLUDE ({PART}, {CHUNK}) FROM opening_at")
    return [name for name, _ in lacking]


def rows_near(con: duckdb.DuckDBPyConnection, state: State, places: Mapping[int, Collection[int]]) -> str:
    """SQL for the rows of `opening` in these chunks of these parts: all else need not be read.

    Perhaps without the columns that `open_state` was told `also`.
    """
    if state.is_small:
        return "FROM opening"
    for number, chunks in places.items():
        part = state.parts[number]
        near = part if isinstance(part, pa.Table) else _in_chunks(part, chunks)
        con.register(f"near_{number}", near)
    shown = [name for name in _columns(state) if name not in WAS]
    return f"SELECT * EXCLUDE ({PART}, {CHUNK}) FROM ({_last_words(con, sorted(places), 'near', shown)})"


def _last_words(con: duckdb.DuckDBPyConnection, numbers: Iterable[int], named: str, shown: Sequence[str]) -> str:
    """SQL for the rows of these parts that no later part replaced, with PART and CHUNK."""
    versions = []
    for number in numbers:
        has = {name for name, *_ in con.execute(f"DESCRIBE {named}_{number}").fetchall()}
        columns = [quoted(name) if name in has else f"NULL AS {quoted(name)}" for name in shown]
        columns.append("change" if "change" in has else "NULL::VARCHAR AS change")
        columns.append(CHUNK if CHUNK in has else f"0 AS {CHUNK}")
        versions.append(f"SELECT {', '.join(columns)}, {number} AS {PART} FROM {named}_{number}")
    everything = f"SELECT * EXCLUDE (change) FROM ({' UNION ALL '.join(versions)}) v"
    if not con.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'replaced'").fetchall():
        return everything
    return f"""{everything} ANTI JOIN replaced r ON r.row_uid = v.row_uid AND r.last > v.{PART}
        WHERE v.change IS DISTINCT FROM 'left'"""


def _in_chunks(part: ds.Dataset, only: Collection[int] | None = None) -> ds.Dataset:
    """A dataset of Parquet files with the number of each row group as column CHUNK; or only these row groups."""
    import pyarrow.dataset as ds  # noqa: PLC0415 - loads pandas: half a second, for who only loads code

    groups = [
        (fragment, group.id)
        for fragment in part.get_fragments()
        if isinstance(fragment, ds.ParquetFileFragment)
        for group in fragment.row_groups
    ]
    schema = part.schema.append(pa.field(CHUNK, pa.int32()))
    chosen = [
        fragment.format.make_fragment(
            fragment.path, fragment.filesystem, ds.field(CHUNK) == pa.scalar(chunk, pa.int32()), row_groups=[group]
        )
        for chunk, (fragment, group) in enumerate(groups)
        if only is None or chunk in only
    ]
    return ds.FileSystemDataset(chosen, schema, groups[0][0].format, groups[0][0].filesystem) if groups else part


def refuse_outdated(con: duckdb.DuckDBPyConnection, package: str, lacking: list[str]) -> None:
    """Raise StateOutdated if a row would be carried that lacks a column; no source gives an adjustment any."""
    carried = f"SELECT count(*) FROM opening ANTI JOIN gone USING (row_uid) WHERE source <> '{ADJUSTMENTS}'"
    if lacking and number_of(con, carried):
        raise StateOutdated(package, lacking)


def _columns(state: State) -> list[str]:
    return list(dict.fromkeys(name for part in state.parts for name in part.schema.names))
