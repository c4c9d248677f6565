"""Questions to the catalogue: what waits, what a day consists of, what is stale. It is the truth, Dagster the view."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from actuals_pipelines.database import tables, units
from actuals_pipelines.domain.unit import GenerationState, Unit
from actuals_pipelines.store import generations
from actuals_pipelines.store.generations import Generation
from actuals_pipelines.store.log import Publication, publications

if TYPE_CHECKING:
    from actuals_pipelines.tenants.environment import TenantEnvironment

_TO_DO = (GenerationState.CANDIDATE.value, GenerationState.PASSED.value)


@dataclass(frozen=True, slots=True)
class UnitHistory:
    """One unit of a day and what became of it."""

    unit: Unit
    generations: Sequence[Generation]  # oldest first
    publications: Sequence[Publication]  # in order
    closes: Sequence[tuple[str, date, int]]  # (package, close day, version) that took one of them in; not superseded


def ensure_named(env: TenantEnvironment) -> dict[str, UUID]:
    """Give every source and package of the tenant's configuration its id; returns source -> id."""
    with env.engine.begin() as connection:
        units.ensure_named(connection, tables.package, (package.name for package in env.tenant.packages))
        return units.ensure_named(connection, tables.source, (source.name for source in env.tenant.sources))


def units_of_day(env: TenantEnvironment, source: str, day: date) -> list[Unit]:
    """The units of a source-day, oldest first; repeats too (`repeat_of`)."""
    with env.engine.begin() as connection:
        return units.units_where(connection, tables.source.c.name == source, tables.unit.c.partition == day)


def units_of_days(env: TenantEnvironment, source: str, days: Iterable[date]) -> list[Unit]:
    """The units of several source-days, oldest first; repeats too (`repeat_of`)."""
    with env.engine.begin() as connection:
        return units.units_where(
            connection, tables.source.c.name == source, tables.unit.c.partition.in_(sorted(set(days)))
        )


def waiting(env: TenantEnvironment, *, now: datetime) -> dict[str, tuple[date, ...]]:
    """Source -> days that landed and are not published. Held units wait for a person and are not among them.

    What a door left and no unit names yet counts as today's, in the tenant's time zone, unless the door knows the day:
    landing it may show another day, which then waits by itself.
    """
    today = now.astimezone(ZoneInfo(env.tenant.time_zone)).date()
    found: dict[str, set[date]] = {}
    with env.engine.begin() as connection:
        derived = [_units_to_derive(one.name, one.derived_from) for one in env.tenant.sources if one.derived_from]
        for query in (_units_to_do(), _arrivals_to_claim(), _inbox_to_land(env.ref.environment), *derived):
            for name, day in connection.execute(query):
                found.setdefault(name, set()).add(day or today)
    known = [source.name for source in env.tenant.sources]
    return {name: tuple(sorted(found[name])) for name in known if name in found}


def mark(env: TenantEnvironment) -> str:
    """Changes whenever something landed or was published: the same work with another mark is other work."""
    query = sa.select(
        sa.select(sa.func.max(tables.unit.c.sequence)).scalar_subquery(),
        sa.select(sa.func.count()).select_from(tables.arrival).scalar_subquery(),
        sa.select(sa.func.max(tables.publication.c.sequence)).scalar_subquery(),
    )
    with env.engine.begin() as connection:
        return "-".join(str(number or 0) for number in connection.execute(query).one())


def not_reconciled(env: TenantEnvironment, package: str, sources: Iterable[str]) -> tuple[date, ...]:
    """Source-days with publications of these sources that no standing close of the package took in."""
    p = tables.publication
    taken = (
        sa.select(tables.close_input.c.publication_id)
        .join(tables.close, tables.close.c.id == tables.close_input.c.close_id)
        .join(tables.package, tables.package.c.id == tables.close.c.package_id)
        .where(tables.package.c.name == package, tables.close.c.state == "published")
    )
    query = (
        sa.select(p.c.partition)
        .join(tables.source, tables.source.c.id == p.c.source_id)
        .where(tables.source.c.name.in_(list(sources)), p.c.id.not_in(taken))
        .distinct()
        .order_by(p.c.partition)
    )
    with env.engine.begin() as connection:
        return tuple(connection.execute(query).scalars())


def rows_by_day(env: TenantEnvironment, source: str, start: date, end: date) -> dict[date, int]:
    """Rows of what is in force per source-day, from `start` up to and without `end`; empty days are absent."""
    g, u, f = tables.generation, tables.unit, tables.data_file
    query = (
        sa.select(u.c.partition, sa.func.sum(f.c.rows))
        .select_from(g)
        .join(u, u.c.id == g.c.unit_id)
        .join(f, f.c.id == g.c.transactions_file_id)
        .join(tables.source, tables.source.c.id == u.c.source_id)
        .where(
            tables.source.c.name == source,
            g.c.state == GenerationState.PUBLISHED.value,
            u.c.partition >= start,
            u.c.partition < end,
        )
        .group_by(u.c.partition)
        .order_by(u.c.partition)
    )
    with env.engine.begin() as connection:
        return {row.partition: int(row[1]) for row in connection.execute(query)}


def published_days(env: TenantEnvironment, source: str) -> tuple[date, ...]:
    """The source-days that were ever published, in order: coverage, where a source states no other."""
    p = tables.publication
    query = sa.select(p.c.partition).join(tables.source, tables.source.c.id == p.c.source_id)
    with env.engine.begin() as connection:
        found = connection.execute(query.where(tables.source.c.name == source).distinct().order_by(p.c.partition))
        return tuple(found.scalars())


def held(env: TenantEnvironment) -> list[tuple[Unit, Generation]]:
    """The units that wait for a person, oldest first."""
    g = tables.generation
    in_state = sa.select(g.c.unit_id).where(g.c.state == GenerationState.HELD.value)
    with env.engine.begin() as connection:
        found = units.units_where(connection, tables.unit.c.id.in_(in_state))
    by_unit = {
        one.unit_id: one
        for one in generations.of_units(env, [unit.id for unit in found])
        if one.state is GenerationState.HELD
    }
    return [(unit, by_unit[unit.id]) for unit in found if unit.id in by_unit]


def day(env: TenantEnvironment, source: str, of: date) -> list[UnitHistory]:
    """All that a source-day consists of: units, generations with verdicts, publications, closes."""
    found = units_of_day(env, source, of)
    made = generations.of_units(env, [unit.id for unit in found])
    with env.engine.begin() as connection:
        ids = [one.id for one in made]
        published = publications(connection, tables.publication.c.generation_id.in_(ids))
        took = _closes_by_publication(connection, [p.id for p in published])
    result = []
    for unit in found:
        own = [p for p in published if p.unit_id == unit.id]
        closes = sorted({close for p in own for close in took.get(p.id, ())})
        result.append(UnitHistory(unit, [one for one in made if one.unit_id == unit.id], own, closes))
    return result


def stale(env: TenantEnvironment, mapping_digests: Mapping[str, bytes]) -> dict[str, tuple[date, ...]]:
    """Source -> days in force under another reader, mapping or minimisation than today's.

    Args:
        mapping_digests: source -> today's digest, as `generations.record_candidate` is given it.
    """
    g, u = tables.generation, tables.unit
    query = (
        sa.select(tables.source.c.name, u.c.partition, g.c.mapping_digest)
        .select_from(g)
        .join(u, u.c.id == g.c.unit_id)
        .join(tables.source, tables.source.c.id == u.c.source_id)
        .where(g.c.state == GenerationState.PUBLISHED.value, tables.source.c.name.in_(list(mapping_digests)))
    )
    found: dict[str, set[date]] = {}
    with env.engine.begin() as connection:
        for name, partition, digest in connection.execute(query):
            if digest != mapping_digests[name]:
                found.setdefault(name, set()).add(partition)
    return {name: tuple(sorted(days)) for name, days in sorted(found.items())}


def _units_to_do() -> sa.Select[Any]:
    u, g = tables.unit, tables.generation
    any_made = sa.select(sa.literal(1)).where(g.c.unit_id == u.c.id).exists()
    to_do = sa.select(sa.literal(1)).where(g.c.unit_id == u.c.id, g.c.state.in_(_TO_DO)).exists()
    return (
        sa.select(tables.source.c.name, u.c.partition)
        .join(u, u.c.source_id == tables.source.c.id)
        .where(u.c.repeat_of.is_(None), sa.or_(to_do, sa.and_(~any_made, u.c.raw_state == "kept")))
        .distinct()
    )


def _units_to_derive(source: str, parent: str) -> sa.Select[Any]:
    """The days of the parent's units that the derived source has no unit for yet: it may be new."""
    theirs, mine = tables.unit, tables.unit.alias()
    ids = {name: sa.select(tables.source.c.id).where(tables.source.c.name == name) for name in (source, parent)}
    known = sa.select(sa.literal(1)).where(
        mine.c.source_id == ids[source].scalar_subquery(), mine.c.delivery == sa.cast(theirs.c.id, sa.Text)
    )
    return (
        sa.select(sa.literal(source), theirs.c.partition)
        .where(
            theirs.c.source_id == ids[parent].scalar_subquery(),
            theirs.c.repeat_of.is_(None),
            theirs.c.raw_state == "kept",
            ~known.exists(),
        )
        .distinct()
    )


def _arrivals_to_claim() -> sa.Select[Any]:
    a = tables.arrival
    taken = sa.select(sa.literal(1)).where(tables.unit.c.path == a.c.path).exists()
    return (
        sa.select(tables.source.c.name, a.c.partition)
        .join(a, a.c.source_id == tables.source.c.id)
        .where(~taken, a.c.refused.is_(None))
        .distinct()
    )


def _inbox_to_land(mode: str) -> sa.Select[Any]:
    b = tables.inbox_body
    some = sa.select(sa.literal(1)).where(
        b.c.source_id == tables.source.c.id, b.c.state == "received", b.c.mode == mode
    )
    return sa.select(tables.source.c.name, sa.null().cast(sa.Date)).where(some.exists())


def _closes_by_publication(
    connection: sa.Connection, publication_ids: Sequence[UUID]
) -> dict[UUID, list[tuple[str, date, int]]]:
    c, i = tables.close, tables.close_input
    rows = connection.execute(
        sa.select(i.c.publication_id, tables.package.c.name, c.c.day, c.c.version)
        .join(c, c.c.id == i.c.close_id)
        .join(tables.package, tables.package.c.id == c.c.package_id)
        .where(i.c.publication_id.in_(publication_ids), c.c.state == "published")
    )
    result: dict[UUID, list[tuple[str, date, int]]] = {}
    for publication_id, name, day_, version in rows:
        result.setdefault(publication_id, []).append((name, day_, version))
    return result
