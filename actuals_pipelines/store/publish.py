"""Publishing: makes what passed live, as a difference of rows, in one transaction.

Files are written first and named by the catalogue in the transaction's commit, so a process that is killed anywhere
leaves what was live before, and files that nobody sees.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import sqlalchemy as sa

from actuals_pipelines.database import tables, units
from actuals_pipelines.database.locks import publish_lock
from actuals_pipelines.domain.source import ProcessingSet, Source
from actuals_pipelines.domain.unit import GenerationState
from actuals_pipelines.store import files, intake
from actuals_pipelines.store.files import DataFile
from actuals_pipelines.store.fresh import fresh_units
from actuals_pipelines.store.log import Publication, publications
from actuals_pipelines.store.rewrite import Giver, Written, write_difference
from actuals_pipelines.store.sealed import seal_json

if TYPE_CHECKING:
    from actuals_pipelines.tenants.environment import TenantEnvironment

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 5_000_000
"""Rows of several units that are looked at together: some 50 bytes each, well below the engine's bound."""


@dataclass(frozen=True, slots=True)
class _InForce:
    """A generation that is published, or about to be, and the unit it belongs to."""

    generation_id: UUID
    unit_id: UUID
    unit_sequence: int
    partition: date
    file_id: UUID
    rejects: int


def publish(env: TenantEnvironment, source: Source, partition: date) -> list[Publication]:
    """Make every passed generation of a source-day live, oldest unit first; all of them or, after a crash, none.

    The live version of a row is that of the newest unit in force that has it (`difference`). A generation whose
    whole unit a newer one already took the place of is superseded without a publication. Nothing passed: an empty
    list, and nothing changes, so publishing twice is publishing once.

    Raises:
        HeldByAnother: another process publishes this source and does not finish.
        IntakeDoesNotBalance: a defect; nothing was published.
        FileUnreadable: a file that is needed is missing or altered; nothing was published.
    """
    with env.engine.begin() as connection:
        source_id = units.source_id(connection, source.name)
        publish_lock(connection, source_id)
        passed = _generations(connection, source_id, GenerationState.PASSED, tables.unit.c.partition == partition)
        done: list[UUID | None] = []
        for part in _parts(connection, passed):
            fresh = _fresh(env, connection, source, source_id, part)
            for own, _ in part:
                if own.unit_sequence in fresh:
                    written = fresh[own.unit_sequence]
                    done.append(_make_live(env, connection, source_id, uuid4(), own=own, written=written))
                else:
                    done.append(_publish(env, connection, source, source_id, own))
        return publications(connection, tables.publication.c.id.in_([i for i in done if i is not None]))


def _parts(connection: sa.Connection, passed: Sequence[_InForce]) -> Iterator[list[tuple[_InForce, DataFile]]]:
    """The generations with their files, in parts of at most ROWS_AT_ONCE rows, or of one generation."""
    named = files.named(connection, [own.file_id for own in passed])
    part: list[tuple[_InForce, DataFile]] = []
    rows = 0
    for own in passed:
        file = named[own.file_id]
        if part and rows + file.rows > ROWS_AT_ONCE:
            yield part
            part, rows = [], 0
        part.append((own, file))
        rows += file.rows
    if part:
        yield part


def _fresh(
    env: TenantEnvironment,
    connection: sa.Connection,
    source: Source,
    source_id: UUID,
    part: Sequence[tuple[_InForce, DataFile]],
) -> dict[int, Written]:
    """Unit sequence -> what its publication names, of those that put nobody out of force and bring new rows only."""
    own = [each for each, _ in part]
    # Only who could put whom out of force, so that few of a year's units are looked at.
    rivals: list[sa.ColumnElement[bool]] = []
    if source.publishes is ProcessingSet.ADD:
        rivals = [tables.unit.c.id.in_([each.unit_id for each in own])]
    elif source.publishes is ProcessingSet.REPLACE:
        rivals = [tables.unit.c.partition == own[0].partition]
    in_force = _generations(connection, source_id, GenerationState.PUBLISHED, *rivals)
    alone = {each.unit_sequence for each in own if not _has_rival(each, [*in_force, *own], source.publishes)}
    if not alone:
        return {}
    history = publications(connection, tables.publication.c.source_id == source_id)
    # The others are looked at too: a row that one of them shares is no new row.
    found = fresh_units(env, [Giver(each.unit_sequence, file) for each, file in part], history, connection)
    return {sequence: written for sequence, written in found.items() if sequence in alone}


def _has_rival(one: _InForce, others: Sequence[_InForce], publishes: ProcessingSet) -> bool:
    return any(_makes_room(other, one, publishes) or _makes_room(one, other, publishes) for other in others)


def _publish(
    env: TenantEnvironment, connection: sa.Connection, source: Source, source_id: UUID, own: _InForce
) -> UUID | None:
    """Publish one generation; None if a newer unit already took the place of its whole unit."""
    in_force = _generations(connection, source_id, GenerationState.PUBLISHED)
    leaving = [g for g in in_force if _makes_room(g, own, source.publishes)]
    staying = [g for g in in_force if g not in leaving]
    if any(_makes_room(own, g, source.publishes) for g in staying):
        _set_state(connection, [own], GenerationState.SUPERSEDED)
        log.info("unit overtaken before it was published: tenant=%s unit=%s", env.ref.uuid, own.unit_id)
        return None
    named = files.named(connection, [g.file_id for g in (own, *in_force)])
    publication_id = uuid4()
    written = write_difference(
        env,
        source_id,
        publication_id,
        own=Giver(own.unit_sequence, named[own.file_id]),
        leaving=[Giver(g.unit_sequence, named[g.file_id]) for g in leaving],
        staying=[Giver(g.unit_sequence, named[g.file_id]) for g in staying],
        history=publications(connection, tables.publication.c.source_id == source_id),
        connection=connection,
    )
    _set_state(connection, leaving, GenerationState.SUPERSEDED)
    return _make_live(env, connection, source_id, publication_id, own=own, written=written)


def _make_live(
    env: TenantEnvironment,
    connection: sa.Connection,
    source_id: UUID,
    publication_id: UUID,
    *,
    own: _InForce,
    written: Written,
) -> UUID:
    """Record the publication, once its figures hold."""
    intake.check(own.generation_id, written.totals)
    _record(env, connection, source_id, publication_id, own=own, written=written)
    _set_state(connection, [own], GenerationState.PUBLISHED)
    log.info("unit published: tenant=%s unit=%s publication=%s", env.ref.uuid, own.unit_id, publication_id)
    return publication_id


def _makes_room(one: _InForce, other: _InForce, publishes: ProcessingSet) -> bool:
    """Whether `one` loses its force to `other`: another generation of its unit, or what the source's set says."""
    if one.unit_id == other.unit_id:
        return one.generation_id != other.generation_id
    if one.unit_sequence > other.unit_sequence:
        return False
    if publishes is ProcessingSet.REPLACE:
        return one.partition == other.partition
    return publishes is ProcessingSet.LATEST


def _generations(
    connection: sa.Connection, source_id: UUID, state: GenerationState, *conditions: sa.ColumnElement[bool]
) -> list[_InForce]:
    g, u = tables.generation, tables.unit
    rows = connection.execute(
        sa.select(g.c.id, g.c.transactions_file_id, g.c.counts, u.c.id.label("unit_id"), u.c.sequence, u.c.partition)
        .join(u, u.c.id == g.c.unit_id)
        .where(u.c.source_id == source_id, g.c.state == state.value, *conditions)
        .order_by(u.c.sequence)
    )
    return [
        _InForce(r.id, r.unit_id, r.sequence, r.partition, r.transactions_file_id, int(r.counts.get("rejects", 0)))
        for r in rows
    ]


def _record(
    env: TenantEnvironment,
    connection: sa.Connection,
    source_id: UUID,
    publication_id: UUID,
    *,
    own: _InForce,
    written: Written,
) -> None:
    for file in (written.adds, written.removes):
        if file is not None and file.id != own.file_id:
            files.record(connection, file)
    connection.execute(
        sa.insert(tables.publication).values(
            id=publication_id,
            source_id=source_id,
            partition=own.partition,
            generation_id=own.generation_id,
            adds_file_id=written.adds.id if written.adds else None,
            removes_file_id=written.removes.id if written.removes else None,
            counts={**written.counts, "rejects": own.rejects},
            totals_sealed=seal_json(env, tables.publication.c.totals_sealed, publication_id, written.totals),
        )
    )


def _set_state(connection: sa.Connection, generations: Sequence[_InForce], state: GenerationState) -> None:
    t = tables.generation
    ids = [g.generation_id for g in generations]
    connection.execute(sa.update(t).where(t.c.id.in_(ids)).values(state=state.value))
