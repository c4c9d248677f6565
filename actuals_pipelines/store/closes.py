"""Closes of matching packages: kept whole or not at all, one standing close per day, earlier ones never rewritten.

What a close means is the engine's; here is only how it is kept: a file of its changes, now and then one of the whole
state, sealed figures, pins, a digest, and which publications it took in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pyarrow as pa
import sqlalchemy as sa

from actuals_pipelines.database import tables, units
from actuals_pipelines.database.locks import close_lock
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.store import files
from actuals_pipelines.store.files import FileKind
from actuals_pipelines.store.sealed import open_bytes, seal_bytes

if TYPE_CHECKING:
    import pyarrow.dataset as ds

    from actuals_pipelines.tenants.environment import TenantEnvironment


@dataclass(frozen=True, slots=True)
class Close:
    """One row of `close`: a reconciliation of a package at a day, with its pins."""

    id: UUID
    package: str
    day: date
    version: int
    state: str  # published | superseded
    is_provisional: bool
    pins: Mapping[str, Any]
    digest: bytes
    counts: Mapping[str, int]
    changes_file_id: UUID
    proposals_file_id: UUID | None  # None: nothing was proposed


class CloseIsHistory(ActualsError):
    """A close would be rewritten though a later one stands on it."""

    def __init__(self, package: str, day: date, later: date) -> None:
        super().__init__(package, day, later)
        self.package, self.day, self.later = package, day, later

    def __str__(self) -> str:
        return (
            f"Package {self.package!r} is closed up to {self.later}, so its close of {self.day} is not rewritten. "
            f"What came late enters the next close after {self.later}."
        )


@contextmanager
def locked(env: TenantEnvironment, package: str) -> Iterator[None]:
    """One process closes a package at a time; read, solve and save within. A killed process lets go.

    Raises:
        HeldByAnother: another process closes this package and does not finish.
    """
    with env.engine.begin() as connection:
        package_id = units.ensure_named(connection, tables.package, [package])[package]
    with env.engine.begin() as connection:
        # The connection only holds the lock while a close is solved, however long that takes.
        connection.execute(sa.text("select set_config('idle_in_transaction_session_timeout', '0', true)"))
        close_lock(connection, package_id)
        yield


def last_close(env: TenantEnvironment, package: str, before: date | None = None) -> Close | None:
    """The newest standing close of a package; with `before`, the newest of an earlier day."""
    conditions = [tables.close.c.state == "published"]
    if before is not None:
        conditions.append(tables.close.c.day < before)
    found = history(env, package, *conditions)
    return found[-1] if found else None


def close_of(env: TenantEnvironment, package: str, day: date) -> Close | None:
    """The standing close of a day."""
    found = history(env, package, tables.close.c.state == "published", tables.close.c.day == day)
    return found[0] if found else None


def history(env: TenantEnvironment, package: str, *conditions: sa.ColumnElement[bool]) -> list[Close]:
    """A package's closes for which all conditions over `tables.close` hold, by day and version."""
    c = tables.close
    query = (
        sa.select(c, tables.package.c.name)
        .join(tables.package, tables.package.c.id == c.c.package_id)
        .where(tables.package.c.name == package, c.c.state != "running", *conditions)
        .order_by(c.c.day, c.c.version)
    )
    with env.engine.begin() as connection:
        return [_close(row) for row in connection.execute(query)]


def taken_in(env: TenantEnvironment, package: str, before: date) -> set[UUID]:
    """The publications that the package's standing closes of earlier days took in."""
    c, i = tables.close, tables.close_input
    query = (
        sa.select(i.c.publication_id)
        .join(c, c.c.id == i.c.close_id)
        .join(tables.package, tables.package.c.id == c.c.package_id)
        .where(tables.package.c.name == package, c.c.state == "published", c.c.day < before)
    )
    with env.engine.begin() as connection:
        return set(connection.execute(query).scalars())


def save_close(
    env: TenantEnvironment,
    package: str,
    day: date,
    *,
    changes: pa.Table | pa.RecordBatchReader,
    stands_on: Close | None = None,
    checkpoint: pa.Table | pa.RecordBatchReader | None = None,
    proposals: pa.Table | None = None,
    figures: bytes,
    pins: Mapping[str, Any],
    digest: bytes,
    counts: Mapping[str, int],
    publications: Sequence[UUID],
    is_provisional: bool = False,
) -> Close:
    """Keep a close; it stands when this returns, and not a moment before. Call within `locked`.

    A standing close of the day with the same pins and digest is returned as it is. With others it is superseded and
    kept: the new one is the day's next version.

    Args:
        stands_on: the close whose state the changes continue; None where they are the first.
        checkpoint: the whole state, so that who reads it need not put it together from the closes before.
        proposals: what keyless passes found; None or no rows: nothing.
        figures: overview, bridge, stock and flow; kept sealed.
        pins: ids, versions, digests and days only: they are kept in clear.
        publications: what this close took in; none that a standing close of another day took in.

    Raises:
        CloseIsHistory: a close of a later day stands.
    """
    standing = close_of(env, package, day)
    if standing is not None and (standing.pins, standing.digest) == (dict(pins), digest):
        return standing
    _refuse_history(env, package, day)
    with env.engine.begin() as connection:
        package_id = units.ensure_named(connection, tables.package, [package])[package]
    close_id = uuid4()
    written = [files.write(env, FileKind.CHANGES, package_id, close_id, changes)]
    if checkpoint is not None:
        written.append(files.write(env, FileKind.STATE, package_id, close_id, checkpoint))
    parts = list(written)
    if proposals is not None and proposals.num_rows:
        written.append(files.write(env, FileKind.RESULTS, package_id, close_id, proposals))
    c = tables.close
    of_day = (c.c.package_id == package_id, c.c.day == day)
    with env.engine.begin() as connection:
        versions = connection.execute(sa.select(sa.func.max(c.c.version)).where(*of_day)).scalar_one()
        for file in written:
            files.record(connection, file)
        connection.execute(sa.update(c).where(*of_day, c.c.state == "published").values(state="superseded"))
        connection.execute(
            sa.insert(c).values(
                id=close_id,
                package_id=package_id,
                day=day,
                version=(versions or 0) + 1,
                state="published",
                is_provisional=is_provisional,
                pins=dict(pins),
                digest=digest,
                counts=dict(counts),
                figures_sealed=seal_bytes(env, c.c.figures_sealed, close_id, figures),
                changes_file_id=written[0].id,
                proposals_file_id=written[-1].id if len(written) > len(parts) else None,
            )
        )
        before = _part_ids(connection, stands_on) if stands_on is not None and checkpoint is None else []
        of_state = [*before, parts[-1].id]
        connection.execute(
            sa.insert(tables.close_part),
            [{"close_id": close_id, "number": number, "file_id": part} for number, part in enumerate(of_state)],
        )
        if publications:
            rows = [{"close_id": close_id, "publication_id": one} for one in publications]
            connection.execute(sa.insert(tables.close_input), rows)
    [saved] = history(env, package, c.c.id == close_id)
    return saved


def parts(env: TenantEnvironment, close: Close) -> list[ds.Dataset]:
    """The files that make up the state a close left: a whole one, then the changes since, oldest first."""
    with env.engine.begin() as connection:
        ids = _part_ids(connection, close)
        named = files.named(connection, ids)
    return [files.dataset(env, [named[one]]) for one in ids]


def _part_ids(connection: sa.Connection, close: Close) -> list[UUID]:
    part = tables.close_part
    query = sa.select(part.c.file_id).where(part.c.close_id == close.id).order_by(part.c.number)
    return list(connection.execute(query).scalars())


def changes(env: TenantEnvironment, close: Close) -> ds.Dataset:
    """The change file of a close."""
    return _dataset(env, close.changes_file_id)


def proposals(env: TenantEnvironment, close: Close) -> pa.Table | None:
    """What keyless passes found at a close; None for nothing."""
    return _dataset(env, close.proposals_file_id).to_table() if close.proposals_file_id is not None else None


def figures(env: TenantEnvironment, close: Close) -> bytes:
    """The figures of a close, as they were saved."""
    c = tables.close
    with env.engine.begin() as connection:
        sealed = connection.execute(sa.select(c.c.figures_sealed).where(c.c.id == close.id)).scalar_one()
    return open_bytes(env, c.c.figures_sealed, close.id, sealed)


def _refuse_history(env: TenantEnvironment, package: str, day: date) -> None:
    last = last_close(env, package)
    if last is not None and last.day > day:
        raise CloseIsHistory(package, day, last.day)


def _dataset(env: TenantEnvironment, file_id: UUID) -> ds.Dataset:
    with env.engine.begin() as connection:
        named = files.named(connection, [file_id])
    return files.dataset(env, list(named.values()))


def _close(row: sa.Row[Any]) -> Close:
    return Close(
        id=row.id,
        package=row.name,
        day=row.day,
        version=row.version,
        state=row.state,
        is_provisional=row.is_provisional,
        pins=row.pins,
        digest=row.digest,
        counts=row.counts,
        changes_file_id=row.changes_file_id,
        proposals_file_id=row.proposals_file_id,
    )
