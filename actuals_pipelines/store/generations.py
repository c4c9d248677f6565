"""A unit's generations: its result under one reader, mapping and minimisation, and the verdict on it.

    candidate -> passed | held -> published -> superseded

Persons may release a held one: `store.releases`. The database refuses to publish what has neither passed nor been
released.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


def find(env: TenantEnvironment, unit: Unit, fingerprint: bytes) -> Generation | None:
    """The unit's generation of this fingerprint, if it was recorded: then the unit need not be read again."""
    t = tables.generation
    with env.engine.begin() as connection:
        found = _select(connection, t.c.unit_id == unit.id, t.c.fingerprint == fingerprint)
    return found[0] if found else None


def record_candidate(
    env: TenantEnvironment,
    unit: Unit,
    fingerprint: bytes,
    transactions: pa.Table | pa.RecordBatchReader,
    *,
    mapping_digest: bytes,
    counts: Mapping[str, int],
    rejects: pa.Table | pa.RecordBatchReader | None = None,
    profile: bytes | None = None,
) -> Generation:
    """Keep what a unit became. Idempotent: a fingerprint that was recorded returns its generation, untouched.

    Recording supersedes what the unit's other generations left unpublished. A fingerprint that comes back after
    another one (a mapping that was changed and changed back) becomes a candidate again.

    Args:
        transactions: schema `tables.TRANSACTIONS` and more; a reader is drained, then `rejects` is.
        counts: raw, rows, rejects, ...; read after the readers were drained, so the caller may count while streaming.
        profile: see `judge`, which may give it as well.
    """
    known = find(env, unit, fingerprint)
    if known is None:
        generation_id = uuid4()
        written = files.write(env, FileKind.TRANSACTIONS, unit.source_id, generation_id, transactions)
        rejected = None
        if rejects is not None:
            rejected = files.write(env, FileKind.REJECTS, unit.source_id, generation_id, rejects)
        with env.engine.begin() as connection:
            files.record(connection, written)
            if rejected is not None and rejected.rows:
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
                    profile_sealed=_sealed_profile(env, generation_id, profile),
                    transactions_file_id=written.id,
                    rejects_file_id=rejected.id if rejected is not None and rejected.rows else None,
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


def judge(
    env: TenantEnvironment,
    generation: Generation,
    verdict: Verdict,
    checks: Sequence[Mapping[str, Any]],
    *,
    suite_digest: bytes | None = None,
    profile: bytes | None = None,
) -> Generation:
    """Give the verdict on a candidate: it passes, is held, or (could not run) stays a candidate.

    Args:
        checks: [{check, severity, outcome, ...}]: names and counts, never a value; kept in clear.
        profile: what was judged; kept sealed. None leaves what `record_candidate` was given.

    Raises:
        AlreadyJudged: it is no candidate any more.
    """
    t = tables.generation
    values: dict[str, Any] = {
        "state": _STATE_OF[verdict].value,
        "verdict": verdict.value,
        "checks": [dict(c) for c in checks],
        "suite_digest": suite_digest,
    }
    if profile is not None:
        values["profile_sealed"] = _sealed_profile(env, generation.id, profile)
    with env.engine.begin() as connection:
        changed = connection.execute(
            sa.update(t)
            .where(t.c.id == generation.id, t.c.state == GenerationState.CANDIDATE.value)
            .values(**values)
            .returning(t.c.id)
        ).first()
        [after] = _select(connection, t.c.id == generation.id)
    if changed is None:
        raise AlreadyJudged(generation.id, after.state)
    return after


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


def profile(env: TenantEnvironment, generation: Generation) -> bytes | None:
    """The unit's profile as `record_candidate` or `judge` was given it."""
    t = tables.generation
    with env.engine.begin() as connection:
        sealed = connection.execute(sa.select(t.c.profile_sealed).where(t.c.id == generation.id)).scalar_one()
    return None if sealed is None else open_bytes(env, t.c.profile_sealed, generation.id, sealed)


def of_units(env: TenantEnvironment, unit_ids: Sequence[UUID]) -> list[Generation]:
    """Every generation of these units, oldest first."""
    with env.engine.begin() as connection:
        return _select(connection, tables.generation.c.unit_id.in_(unit_ids))


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
