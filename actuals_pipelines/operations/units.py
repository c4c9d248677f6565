"""Units in an operator's hands: hand a file over, see how far each source is and what rejected records lack."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import BinaryIO
from uuid import uuid4
from zoneinfo import ZoneInfo

import pyarrow as pa

from actuals_pipelines.domain.source import Source, SourceKind
from actuals_pipelines.domain.unit import Unit
from actuals_pipelines.errors import ActualsError, ConfigurationError
from actuals_pipelines.landing import land
from actuals_pipelines.landing.arrivals import day_in_name
from actuals_pipelines.store import catalogue, generations
from actuals_pipelines.store.generations import Generation
from actuals_pipelines.store.live import control_totals
from actuals_pipelines.tenants.environment import TenantEnvironment

READABLE = "readable"
"""The check that a unit fails which cannot be read at all (`operations.take_in.READABLE`)."""

_TAKES_FILES = (SourceKind.UPLOAD, SourceKind.SFTP)


class SourceUnknown(ConfigurationError):
    """The tenant has no source of that name."""

    def __init__(self, tenant: str, source: str, known: tuple[str, ...]) -> None:
        super().__init__(tenant, source, known)
        self.tenant, self.source, self.known = tenant, source, known

    def __str__(self) -> str:
        return f"Tenant {self.tenant!r} has no source {self.source!r}. There are: {', '.join(self.known) or 'none'}."


class SourceTakesNoFiles(ActualsError):
    """A file was handed over for a source whose records come in another way."""

    def __init__(self, source: str, kind: str) -> None:
        super().__init__(source, kind)
        self.source, self.kind = source, kind

    def __str__(self) -> str:
        return (
            f"Source {self.source!r} is of kind {self.kind!r} and takes no files: only sources of kind "
            f"{' and '.join(_TAKES_FILES)} do. Give the tenant a source of such a kind for this file."
        )


@dataclass(frozen=True, slots=True)
class SourceState:
    """One source and how far it is."""

    source: Source
    last_published: date | None  # the newest source-day that was published
    days_waiting: tuple[date, ...]  # landed and not published
    units_held: int
    live_rows: int


def source_of(env: TenantEnvironment, name: str) -> Source:
    """The source of that name. Raises SourceUnknown."""
    found = next((source for source in env.tenant.sources if source.name == name), None)
    if found is None:
        raise SourceUnknown(env.tenant.name, name, tuple(source.name for source in env.tenant.sources))
    return found


def source_states(env: TenantEnvironment, *, now: datetime) -> list[SourceState]:
    """Every source of the tenant, in the order of its file."""
    waiting, held = catalogue.waiting(env, now=now), [unit.source for unit, _ in catalogue.held(env)]
    states = []
    for source in env.tenant.sources:
        published = catalogue.published_days(env, source.name)
        states.append(
            SourceState(
                source=source,
                last_published=published[-1] if published else None,
                days_waiting=waiting.get(source.name, ()),
                units_held=held.count(source.name),
                live_rows=sum(rows for rows, _ in control_totals(env, source.name).values()),
            )
        )
    return states


def upload_day(env: TenantEnvironment, name: str, *, now: datetime) -> date:
    """The day of an uploaded file: the one in its name if that can be believed, else today in the tenant's zone.

    As for dropped files, a day before the tenant's start or in the future is not believed.
    """
    today = now.astimezone(ZoneInfo(env.tenant.time_zone)).date()
    named = day_in_name(name)
    return named if named is not None and env.tenant.start <= named <= today else today


def upload(env: TenantEnvironment, source: Source, stream: BinaryIO, *, name: str, day: date) -> Unit:
    """Land a file that an operator hands over; `repeat_of` says whether it was here before.

    Raises:
        SourceTakesNoFiles, EmptyDelivery
    """
    if source.kind not in _TAKES_FILES:
        raise SourceTakesNoFiles(source.name, source.kind)
    return land(env, source, stream, door="upload", delivery=f"upload/{uuid4()}", partition=day, name=name)


def is_unreadable(generation: Generation) -> bool:
    """Whether the unit could not be read at all."""
    return any(check["check"] == READABLE and check["outcome"] != "passed" for check in generation.checks)


def rejects_of(env: TenantEnvironment, history: catalogue.UnitHistory) -> pa.Table | None:
    """The rejected records (line, field, reason) of the unit's newest generation; None if it has none."""
    return generations.rejects(env, history.generations[-1]) if history.generations else None
