"""Letting a held generation through: one person asks and says why, another approves.

The database holds to it: a held generation passes only with an approved release, and who approves is not who asked,
unless the home's administrator waived that in `policy`, which the tenant's own roles cannot write.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.domain.unit import GenerationState, Verdict
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.store import generations
from actuals_pipelines.store.generations import Generation
from actuals_pipelines.store.sealed import open_bytes, seal_bytes
from actuals_pipelines.tenants import audit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actuals_pipelines.tenants.environment import TenantEnvironment


@dataclass(frozen=True, slots=True)
class Release:
    """One request to let a held generation through, and who approved it."""

    id: UUID
    generation_id: UUID
    asked_by: str
    asked_at: datetime
    reason: str
    approved_by: str | None
    approved_at: datetime | None
    needs_another: bool  # whether the rule of four eyes held when it was approved


class NothingToRelease(ActualsError):
    """A unit that should be released is not held."""

    def __init__(self, unit_id: UUID, found: str) -> None:
        super().__init__(unit_id, found)
        self.unit_id, self.found = unit_id, found

    def __str__(self) -> str:
        return (
            f"Unit {self.unit_id} is not held: {self.found}. `actuals day` lists the units of a day with their state."
        )


class NobodyAsked(ActualsError):
    """A release was approved that nobody had asked for."""

    def __init__(self, unit_id: UUID) -> None:
        super().__init__(unit_id)
        self.unit_id = unit_id

    def __str__(self) -> str:
        return (
            f"Nobody has asked for the release of unit {self.unit_id}. Ask for it with `actuals source release TENANT "
            f'{self.unit_id} --reason "..."`; another person then approves it.'
        )


class NeedsAnotherPerson(ActualsError):
    """Who asked for a release cannot approve it."""

    def __init__(self, unit_id: UUID, asked_by: str) -> None:
        super().__init__(unit_id, asked_by)
        self.unit_id, self.asked_by = unit_id, asked_by

    def __str__(self) -> str:
        return (
            f"The release of unit {self.unit_id} was asked for by {self.asked_by}, who is you: another person approves "
            'it, under a login of their own. Where one person alone runs the home, write "four_eyes": false into its '
            "home.json; `actuals status` and every release then show it."
        )


def ask(env: TenantEnvironment, unit_id: UUID, reason: str, by: str) -> Release:
    """Ask to let a held unit through; a request that is open already is returned as it is.

    Raises:
        NothingToRelease: the unit has no held generation.
    """
    t = tables.release
    with env.engine.begin() as connection:
        held = _held(connection, unit_id)
        found = _open(connection, held.id)
        if found is None:
            release_id = uuid4()
            sealed = seal_bytes(env, t.c.reason_sealed, release_id, reason.encode())
            row = {"id": release_id, "generation_id": held.id, "asked_by": by, "reason_sealed": sealed}
            connection.execute(sa.insert(t).values(row))
            audit.record(connection, "release.ask", unit_id, by=by, detail=reason, keys=env.keys)
            found = _open(connection, held.id)
    return _release(env, found)


def approve(env: TenantEnvironment, unit_id: UUID, by: str) -> Generation:
    """Approve the request and let the unit through, with their audit entry in one transaction.

    Raises:
        NothingToRelease, NobodyAsked
        NeedsAnotherPerson: the database refused, because `by` asked for it.
    """
    t, g = tables.release, tables.generation
    try:
        with env.engine.begin() as connection:
            held = _held(connection, unit_id)
            asked = _open(connection, held.id)
            if asked is None:
                raise NobodyAsked(unit_id)
            connection.execute(sa.update(t).where(t.c.id == asked.id).values(approved_by=by, approved_at=sa.func.now()))
            connection.execute(
                sa.update(g)
                .where(g.c.id == held.id, g.c.state == GenerationState.HELD.value)
                .values(state=GenerationState.PASSED.value, verdict=Verdict.RELEASED.value)
            )
            audit.record(connection, "release.approve", unit_id, by=by)
    except sa.exc.IntegrityError as refused:
        if _constraint(refused) == "release_has_four_eyes":
            raise NeedsAnotherPerson(unit_id, by) from None
        raise
    [after] = [one for one in generations.of_units(env, [unit_id]) if one.id == held.id]
    return after


def of_generations(env: TenantEnvironment, generation_ids: Sequence[UUID]) -> dict[UUID, Release]:
    """Generation -> its last release, asked for or approved."""
    t = tables.release
    with env.engine.begin() as connection:
        rows = connection.execute(sa.select(t).where(t.c.generation_id.in_(generation_ids)).order_by(t.c.asked_at))
        return {row.generation_id: _release(env, row) for row in rows}


def _held(connection: sa.Connection, unit_id: UUID) -> Any:
    """The unit's held generation, locked: a verdict, a newer mapping and a second approval wait."""
    g = tables.generation
    found = connection.execute(sa.select(g.c.id, g.c.state).where(g.c.unit_id == unit_id).with_for_update()).all()
    held = next((one for one in found if one.state == GenerationState.HELD.value), None)
    if held is None:
        states = ", ".join(one.state for one in found)
        raise NothingToRelease(unit_id, f"it is {states}" if states else "nothing was made of it yet")
    return held


def _open(connection: sa.Connection, generation_id: UUID) -> Any | None:
    t = tables.release
    query = sa.select(t).where(t.c.generation_id == generation_id, t.c.approved_by.is_(None))
    return connection.execute(query).first()


def _constraint(refused: sa.exc.IntegrityError) -> str | None:
    return refused.orig.diag.constraint_name if isinstance(refused.orig, psycopg.Error) else None


def _release(env: TenantEnvironment, row: Any) -> Release:
    reason = open_bytes(env, tables.release.c.reason_sealed, row.id, row.reason_sealed).decode()
    return Release(
        row.id,
        row.generation_id,
        row.asked_by,
        row.asked_at,
        reason,
        row.approved_by,
        row.approved_at,
        row.needs_another,
    )
