"""A derived source's units: each is one of its parent's, in the same container, normalised by another mapping.

Nothing is sealed twice. The container belongs to the parent's unit, whose source is in its AAD; destroying it through
any of the units that share it destroys it for all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from actuals_pipelines.database import tables, units
from actuals_pipelines.domain.source import Source
from actuals_pipelines.domain.unit import Unit
from actuals_pipelines.landing.record import lock_landing

if TYPE_CHECKING:
    from actuals_pipelines.tenants.environment import TenantEnvironment

_SAME = ("partition", "digest", "path", "container_sha256", "sealed_key", "size_bytes", "name_sealed", "landed_at")


def derive_units(env: TenantEnvironment, source: Source) -> None:
    """Give a derived source a unit for each unit of its parent that has raw and no counterpart yet. May be repeated."""
    if source.derived_from is None:
        return
    with env.engine.begin() as connection:
        own = units.source_id(connection, source.name)
        parent = units.source_id(connection, source.derived_from)
        lock_landing(connection, own)
        theirs = tables.unit
        mine = theirs.alias()
        delivery = sa.cast(theirs.c.id, sa.Text)
        known = sa.select(sa.literal(1)).where(mine.c.source_id == own, mine.c.delivery == delivery).exists()
        wanted = (
            sa.select(sa.func.gen_random_uuid(), sa.literal(own), delivery, *(theirs.c[name] for name in _SAME))
            .where(theirs.c.source_id == parent, theirs.c.repeat_of.is_(None), theirs.c.raw_state == "kept", ~known)
            .order_by(theirs.c.sequence)
        )
        connection.execute(sa.insert(theirs).from_select(["id", "source_id", "delivery", *_SAME], wanted))


def units_sharing(env: TenantEnvironment, unit: Unit) -> list[Unit]:
    """The units in one container, the one that landed first of all."""
    with env.engine.begin() as connection:
        return units.units_where(connection, tables.unit.c.path == unit.path)
