"""A unit's generations: its result under one reader, mapping and minimisation, and the verdict on it.

    candidate -> passed | held -> published -> superseded

Persons may release a held one: `store.releases`. The database refuses to publish what has neither passed nor been
released.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from actuals_pipelines.database import tables
from actuals_pipelines.domain.unit import GenerationState, Unit, Verdict
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.store import files
from actuals_pipelines.store.files import FileKind
from actuals_pipelines.store.sealed import open_bytes, seal_bytes

if TYPE_CHECKING:
    import pyarrow.dataset as ds

    from actuals_pipelines.tenants.environment import TenantEnvironment

_PENDING = (GenerationState.CANDIDATE, GenerationState.PASSED, GenerationState.HELD)
_PROFILES_AT_ONCE = 64  # half a megabyte each at most
_STATE_OF = {
    Verdict.PASSED: GenerationState.PASSED,
    Verdict.HELD: GenerationState.HELD,
    Verdict.COULD_NOT_RUN: GenerationState.CANDIDATE,
}


@dataclass(frozen=True, slots=True)
class Generation:
    """One row of `generation`; its rows and its profile are opened separately."""

    id: UUID
    unit_id: UUID
    fingerprint: bytes
    state: GenerationState
    verdict: Verdict | None
    counts: Mapping[str, int]
    checks: Sequence[Mapping[str, Any]]  # [{check, severity, outcome}]
    transactions_file_id: UUID
    rejects_file_id: UUID | None


class AlreadyJudged(ActualsError):
    """A verdict was given on a generation that is no candidate any more."""

    def __init__(self, generation_id: UUID, state: str) -> None:
        super().__init__(generation_id, state)
        self.generation_id, self.state = generation_id, state

    def __str__(self) -> str:
        return f"Generation {self.generation_id} is {self.state}, so it is not judged again. Read its state afresh."


@dataclass(frozen=True, slots=True)
class Given:
    """A verdict on a candidate. `checks`: [{check, severity, outcome, ...}], names and counts, kept in clear."""

    candidate: Generation
    verdict: Verdict
    checks: Sequence[Mapping[str, Any]]


def find(env: TenantEnvironment, unit: Unit, fingerprint: bytes) -> Generation | None:
    """The unit's generation of this fingerprint, if it was recorded: then the unit need not be read again."""
    return found(env, {unit.id: fingerprint}).get(unit.id)


def found(env: TenantEnvironment, fingerprints: Mapping[UUID, bytes]) -> dict[UUID, Generation]:
    """`find` for many: unit id -> its generation of this fingerprint, where it was recorded."""
    with env.engine.begin() as connection:
        made = _select(connection, _is_one_of(tables.generation.c.unit_id, fingerprints))
    return {each.unit_id: each for each in made if fingerprints[each.unit_id] == each.fingerprint}


def record_candidate(
    env: TenantEnvironment,
    unit: Unit,
    fingerprint: bytes,
    transactions: pa.Table | pa.RecordBatchReader,
    *,
    mapping_digest: bytes,
    counts: Mapping[str, int],
    rejects: pa.Table | pa.RecordBatchReader | None = None,
    profile: Callable[[], bytes] | None = None,
) -> Generation:
    """Keep what a unit became. Idempotent: a fingerprint that was recorded returns its generation, untouched.

    Recording supersedes what the unit's other generations left unpublished. A fingerprint that comes back after
    another one (a mapping that was changed and changed back) becomes a candidate again.

    Args:
        transactions: schema `tables.TRANSACTIONS` and more; a reader is drained, then `rejects` is.
        counts: raw, rows, rejects, ...; read after the readers were drained, so the caller may count while streaming.
        profile: gives what was measured of the unit, asked after the readers were drained; kept sealed.
    """
    known = find(env, unit, fingerprint)
    if known is None:
        generation_id = uuid4()
        written = files.write(env, FileKind.TRANSACTIONS, unit.source_id, generation_id, transactions)
        rejected = _written_rejects(env, unit, generation_id, rejects)
        with env.engine.begin() as connection:
            files.record(connection, written)
            if rejected is not None:
                files.record(connection, rejected)
            inserted = connection.execute(
                insert(tables.generation)
                .values(
                    id=generation_id,
                    unit_id=unit.id,
                    fingerprint=fingerprint,
                    state=GenerationState.CANDIDATE.value,
                    mapping_digest=mapping_digest,
                    counts=dict(counts),
                    profile_sealed=_sealed_profile(env, generation_id, profile() if profile else None),
                    transactions_file_id=written.id,
                    rejects_file_id=rejected.id if rejected is not None else None,
                )
                .on_conflict_do_nothing(index_elements=["unit_id", "fingerprint"])
                .returning(tables.generation.c.id)
            ).first()
            if inserted is None:
                connection.rollback()  # another process was quicker with the same result; our file is garbage
            else:
                _supersede_pending(connection, unit.id, but=generation_id)
        known = find(env, unit, fingerprint)
    if known is not None and known.state is GenerationState.SUPERSEDED:
        known = _taken_up_again(env, unit, known)
    if known is None:
        raise RuntimeError("a generation that was just recorded is gone")
    return known


def _written_rejects(
    env: TenantEnvironment, unit: Unit, generation_id: UUID, rejects: pa.Table | pa.RecordBatchReader | None
) -> files.DataFile | None:
    """The file of the rejects; most units have none, and then there is no file to write, sync and collect."""
    if rejects is None:
        return None
    batches = (
        batch for batch in (rejects.to_batches() if isinstance(rejects, pa.Table) else rejects) if batch.num_rows
    )
    first = next(batches, None)
    if first is None:
        return None
    some = pa.RecordBatchReader.from_batches(first.schema, chain([first], batches))
    return files.write(env, FileKind.REJECTS, unit.source_id, generation_id, some)


def judge(
    env: TenantEnvironment,
    generation: Generation,
    verdict: Verdict,
    checks: Sequence[Mapping[str, Any]],
    *,
    suite_digest: bytes | None = None,
) -> Generation:
    """Give the verdict on a candidate: it passes, is held, or (could not run) stays a candidate.

    Raises:
        AlreadyJudged: it is no candidate any more.
    """
    [after] = judge_all(env, [Given(generation, verdict, checks)], suite_digest=suite_digest)
    return after


def judge_all(env: TenantEnvironment, given: Sequence[Given], *, suite_digest: bytes | None = None) -> list[Generation]:
    """Give several verdicts in one transaction: all of them or none; in their order.

    Raises:
        AlreadyJudged: one is no candidate any more.
    """
    t = tables.generation
    rows = [
        {
            "of": each.candidate.id,
            "to_state": _STATE_OF[each.verdict].value,
            "to_verdict": each.verdict.value,
            "to_checks": [dict(check) for check in each.checks],
        }
        for each in given
    ]
    update = (
        sa.update(t)
        .where(t.c.id == sa.bindparam("of"))
        .values(
            state=sa.bindparam("to_state"),
            verdict=sa.bindparam("to_verdict"),
            checks=sa.bindparam("to_checks"),
            suite_digest=suite_digest,
        )
    )
    these = _is_one_of(t.c.id, [each.candidate.id for each in given])
    with env.engine.begin() as connection:
        locked = connection.execute(sa.select(t.c.id, t.c.state).where(these).order_by(t.c.id).with_for_update())
        for generation_id, state in locked.all():
            if state != GenerationState.CANDIDATE.value:
                raise AlreadyJudged(generation_id, state)
        connection.execute(update, rows)
        after = {one.id: one for one in _select(connection, these)}
    return [after[each.candidate.id] for each in given]


def candidate_rows(env: TenantEnvironment, generation: Generation) -> ds.Dataset:
    """All transactions of a generation, published or not."""
    with env.engine.begin() as connection:
        named = files.named(connection, [generation.transactions_file_id])
    return files.dataset(env, list(named.values()))


def rejects(env: TenantEnvironment, generation: Generation) -> pa.Table | None:
    """The rejected records (line, field, reason) of a generation; None if there are none."""
    if generation.rejects_file_id is None:
        return None
    with env.engine.begin() as connection:
        named = files.named(connection, [generation.rejects_file_id])
    return files.read(env, named[generation.rejects_file_id])


def profiles(env: TenantEnvironment, generation_ids: Sequence[UUID]) -> dict[UUID, bytes]:
    """Generation id -> the unit's profile as `record_candidate` was given it, where it was given one."""
    t = tables.generation
    query = sa.select(t.c.id, t.c.profile_sealed).where(
        _is_one_of(t.c.id, generation_ids), t.c.profile_sealed.is_not(None)
    )
    with env.engine.begin() as connection:
        rows = connection.execute(query).all()
    return {row.id: open_bytes(env, t.c.profile_sealed, row.id, row.profile_sealed) for row in rows}


def profiles_between(env: TenantEnvironment, source: str, first: date, last: date) -> Iterator[tuple[date, bytes]]:
    """(source-day, profile) of what stands for each unit of these days, both included; in the order they landed."""
    t, u = tables.generation, tables.unit
    query = (
        sa.select(u.c.partition, t.c.id, t.c.profile_sealed)
        .join(u, u.c.id == t.c.unit_id)
        .join(tables.source, tables.source.c.id == u.c.source_id)
        .where(
            tables.source.c.name == source,
            u.c.partition.between(first, last),
            t.c.profile_sealed.is_not(None),
            t.c.state != GenerationState.SUPERSEDED.value,
        )
        .order_by(u.c.sequence, t.c.created_at)
    )
    with env.engine.begin() as connection:
        for day, generation_id, sealed in connection.execute(query.execution_options(yield_per=_PROFILES_AT_ONCE)):
            yield day, open_bytes(env, t.c.profile_sealed, generation_id, sealed)


def of_units(env: TenantEnvironment, unit_ids: Sequence[UUID]) -> list[Generation]:
    """Every generation of these units, oldest first."""
    with env.engine.begin() as connection:
        return _select(connection, _is_one_of(tables.generation.c.unit_id, unit_ids))


def _is_one_of(column: sa.Column[UUID], ids: Iterable[UUID]) -> sa.ColumnElement[bool]:
    """One array, whatever its length: a list of parameters is compiled anew each time, and ends at 65,535."""
    return column == sa.any_(sa.cast(list(ids), sa.ARRAY(sa.Uuid)))


def _sealed_profile(env: TenantEnvironment, generation_id: UUID, profile: bytes | None) -> bytes | None:
    if profile is None:
        return None
    return seal_bytes(env, tables.generation.c.profile_sealed, generation_id, profile)


def _supersede_pending(connection: sa.Connection, unit_id: UUID, but: UUID) -> None:
    t = tables.generation
    connection.execute(
        sa.update(t)
        .where(t.c.unit_id == unit_id, t.c.id != but, t.c.state.in_([s.value for s in _PENDING]))
        .values(state=GenerationState.SUPERSEDED.value)
    )


def _taken_up_again(env: TenantEnvironment, unit: Unit, known: Generation) -> Generation:
    """Make a superseded generation a candidate, unless a newer unit took the place of the whole unit."""
    t = tables.generation
    with env.engine.begin() as connection:
        siblings = _select(connection, t.c.unit_id == unit.id, t.c.state != GenerationState.SUPERSEDED.value)
        if not siblings:
            return known
        connection.execute(
            sa.update(t)
            .where(t.c.id == known.id, t.c.state == GenerationState.SUPERSEDED.value)
            .values(state=GenerationState.CANDIDATE.value, verdict=None)
        )
        _supersede_pending(connection, unit.id, but=known.id)
        return _select(connection, t.c.id == known.id)[0]


def _select(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> list[Generation]:
    t = tables.generation
    return [
        Generation(
            id=row.id,
            unit_id=row.unit_id,
            fingerprint=row.fingerprint,
            state=GenerationState(row.state),
            verdict=None if row.verdict is None else Verdict(row.verdict),
            counts=row.counts,
            checks=row.checks,
            transactions_file_id=row.transactions_file_id,
            rejects_file_id=row.rejects_file_id,
        )
        for row in connection.execute(sa.select(t).where(*conditions).order_by(t.c.created_at, t.c.id))
    ]
