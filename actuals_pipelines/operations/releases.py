"""A held unit in persons' hands: one asks to let it through, another approves."""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from actuals_pipelines.database.provision import as_owner
from actuals_pipelines.database.tables import policy
from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.domain.unit import GenerationState
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.units import is_unreadable
from actuals_pipelines.store import generations, releases
from actuals_pipelines.store.generations import Generation
from actuals_pipelines.store.releases import Release
from actuals_pipelines.tenants import audit
from actuals_pipelines.tenants.environment import TenantEnvironment

FOUR_EYES = "four_eyes"


class UnitUnreadable(ActualsError):
    """A unit that should be released could not be read, so there is nothing to let through."""

    def __init__(self, unit_id: UUID) -> None:
        super().__init__(unit_id)
        self.unit_id = unit_id

    def __str__(self) -> str:
        return (
            f"Unit {self.unit_id} could not be read, so it has no rows that a release could let through. `actuals day` "
            "shows the reason: correct the source's format or mapping and run the day again, or deliver the file anew."
        )


class NoUnitId(ActualsError):
    """What should name a unit is no unit id."""

    def __str__(self) -> str:
        return "A unit is named by its id, a UUID; `actuals day TENANT SOURCE DATE` lists them."


def ask_release(env: TenantEnvironment, unit: str, *, reason: str, by: str) -> Release:
    """Ask to let a held unit through; a request that is open already is returned as it is.

    Raises:
        NoUnitId, UnitUnreadable, NothingToRelease
    """
    unit_id = _unit_id(unit)
    for one in generations.of_units(env, [unit_id]):
        if one.state is GenerationState.HELD and is_unreadable(one):
            raise UnitUnreadable(unit_id)
    return releases.ask(env, unit_id, reason, by)


def asked_release(env: TenantEnvironment, unit: str) -> tuple[Generation, Release]:
    """What is held and what was asked, for the person who is to approve. Raises NoUnitId, NobodyAsked."""
    unit_id = _unit_id(unit)
    held = [one for one in generations.of_units(env, [unit_id]) if one.state is GenerationState.HELD]
    found = releases.of_generations(env, [one.id for one in held])
    if not found:
        raise releases.NobodyAsked(unit_id)
    return held[-1], found[held[-1].id]


def approve_release(env: TenantEnvironment, unit: str, *, by: str) -> Generation:
    """Let a unit through for which another person asked.

    Raises:
        NoUnitId, NothingToRelease, NobodyAsked, NeedsAnotherPerson
    """
    return releases.approve(env, _unit_id(unit), by)


def follow_policy(platform: Platform, ref: TenantRef) -> None:
    """Let a tenant's database hold to the home's `four_eyes`; a change of it is audited."""
    wanted = platform.home.four_eyes
    with as_owner(platform.admin, ref) as connection:
        found = connection.execute(sa.select(policy.c.is_on).where(policy.c.name == FOUR_EYES)).scalar()
        if wanted == (found is None or found):
            return
        row = insert(policy).values(name=FOUR_EYES, is_on=wanted)
        connection.execute(row.on_conflict_do_update(index_elements=["name"], set_={"is_on": wanted}))
        audit.record(connection, "policy.set", f"{FOUR_EYES} {'on' if wanted else 'off'}")


def _unit_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NoUnitId from None
