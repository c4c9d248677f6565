"""Which days' results are stale: not what a run of today would make of what has landed. Asked of the catalogue.

Dagster's own idea of it would need data versions a day, and does not know what a close took in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.operations.take_in import mapping_digest
from actuals_pipelines.store import catalogue
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines.validate import suite_digest

NOT_RECONCILED, MAPPING_CHANGED, SUITE_CHANGED = "not reconciled", "mapping changed", "checks changed"


@dataclass(frozen=True, slots=True)
class Stale:
    """Days of one source or package whose result is not today's."""

    tenant: str
    name: str  # of the source, or of the package
    reason: str
    days: tuple[date, ...]


def stale_days(tenant: str, environment: TenantEnvironment) -> list[Stale]:
    """All stale days of a tenant (its asset prefix).

    A source-day is stale if a unit of it, whose raw is still kept, is live under another mapping or reader than
    today's: its next run makes it anew. It is too where it was judged by other checks than today's; a verdict that was
    given stands. A package is stale on source-days that were published and are in no close.
    """
    return [*_sources(tenant, environment), *_packages(tenant, environment)]


def _sources(tenant: str, environment: TenantEnvironment) -> Iterator[Stale]:
    for source in environment.tenant.sources:
        mapping, suite = mapping_digest(environment, source), suite_digest(source)
        reasons: dict[str, set[date]] = {}
        with environment.engine.connect() as connection:
            for day, its_mapping, its_suite in connection.execute(_live(source.name)):
                if its_mapping != mapping:
                    reasons.setdefault(MAPPING_CHANGED, set()).add(day)
                elif its_suite != suite:
                    reasons.setdefault(SUITE_CHANGED, set()).add(day)
        yield from (Stale(tenant, source.name, reason, tuple(sorted(days))) for reason, days in reasons.items())


def _packages(tenant: str, environment: TenantEnvironment) -> Iterator[Stale]:
    for package in environment.tenant.packages:
        sources = {member.source for _, member in package.members()}
        days = catalogue.not_reconciled(environment, package.name, sorted(sources))
        if days:
            yield Stale(tenant, package.name, NOT_RECONCILED, days)


def _live(source: str) -> sa.Select[date, bytes, bytes | None]:
    unit, generation = tables.unit, tables.generation
    return (
        sa.select(unit.c.partition, generation.c.mapping_digest, generation.c.suite_digest)
        .join(generation, generation.c.unit_id == unit.c.id)
        .join(tables.source, tables.source.c.id == unit.c.source_id)
        .where(tables.source.c.name == source, generation.c.state == "published", unit.c.raw_state == "kept")
        .distinct()
    )
