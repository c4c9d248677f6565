"""What doors left becomes units: each arrival once, whatever order doors commit in.

There is no cursor: an arrival waits while no unit names its container. Numbers or times of rows that other processes
write do not come in order, so "all after the last one seen" would lose some.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.domain.source import Source
from actuals_pipelines.domain.unit import Unit
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.landing import raw
from actuals_pipelines.landing.record import lock_landing, record_unit
from actuals_pipelines.tenants import audit

if TYPE_CHECKING:
    from actuals_pipelines.tenants.environment import TenantEnvironment

log = logging.getLogger(__name__)

_DAY_IN_NAME = re.compile(r"(?<!\d)(20\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?=\d{4}(?:\d\d)?(?!\d)|(?!\d))")
_CHUNK_BYTES = 1 << 20


class ArrivalAltered(ActualsError):
    """An arrival's container is not what its row says."""

    def __init__(self, arrival_id: UUID, found: str) -> None:
        super().__init__(arrival_id, found)
        self.arrival_id, self.found = arrival_id, found

    def __str__(self) -> str:
        said = f"Arrival {self.arrival_id} is not what its row says: {self.found}."
        return f"{said} Look who may write to the tenant's folder."


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """An arrival of which no unit was made: it waits, no source takes it, or it was refused."""

    arrival_id: UUID
    door: str
    source: str | None  # None: no source of the tenant takes it
    name: str | None
    size_bytes: int
    received_at: datetime
    day: date | None  # the source-day that lacks it, where it was refused
    refused: str | None  # why it is not taken, where it was looked at


class NotRefused(ActualsError):
    """What should be looked at again was not refused."""

    def __init__(self, arrival: str) -> None:
        super().__init__(arrival)
        self.arrival = arrival

    def __str__(self) -> str:
        return (
            f"There is no refused arrival {self.arrival!r}. `actuals source arrivals TENANT` lists them with their ids."
        )


def claim_arrivals(env: TenantEnvironment, now: datetime) -> list[Unit]:
    """Make a unit of each arrival that waits for one of the tenant's sources, oldest first; each for itself.

    Its day is the one its door states, else the one in the file's name, else the day it was received in the tenant's
    time zone; a day in the name that lies before the tenant's start or in the future is not believed.

    An arrival that is not what its row says is refused, for the day that its door states, else today; its file is left
    as it is and the others are taken. Several processes may claim at once.

    Raises:
        FileNotFoundError: a door's whole folder is missing: that is a fault of this machine, and nothing is refused.
    """
    with env.engine.begin() as connection:
        waiting = connection.execute(
            _waiting().where(tables.arrival.c.refused.is_(None)).order_by(*_OLDEST_FIRST)
        ).all()
    claimed = []
    for arrival in waiting:
        source = _source(env, arrival.source_name)
        if source is None:
            continue
        try:
            unit = _claim(env, source, arrival, now)
        except ActualsError as error:
            _refuse(env, arrival, str(error), now)
            continue
        except FileNotFoundError:
            if not (env.prefix / arrival.path).parent.is_dir():
                raise
            _refuse(env, arrival, "its file is missing from the tenant's folder", now)
            continue
        if unit is not None:
            claimed.append(unit)
    return claimed


def unclaimed(env: TenantEnvironment) -> list[Unclaimed]:
    """The arrivals that no unit was made of, oldest first: those that wait, too."""
    with env.engine.begin() as connection:
        rows = connection.execute(_waiting().order_by(*_OLDEST_FIRST)).all()
    return [
        Unclaimed(
            row.id,
            row.door,
            row.source_name if _source(env, row.source_name) else None,
            None if row.name_sealed is None else raw.open_name(env, row.id, row.name_sealed),
            row.size_bytes,
            row.received_at,
            row.refused_on,
            row.refused,
        )
        for row in rows
    ]


def count_stuck(env: TenantEnvironment) -> int:
    """How many arrivals no run will take: no source of the tenant takes them, or they were refused."""
    known = [source.name for source in env.tenant.sources]
    found = _waiting().subquery()
    is_stuck = sa.or_(found.c.refused.is_not(None), found.c.source_name.is_(None), found.c.source_name.not_in(known))
    with env.engine.begin() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(found).where(is_stuck)).scalar_one())


def refused_on(env: TenantEnvironment, source: str, days: Iterable[date]) -> list[Unclaimed]:
    """The arrivals of a source that were refused on these days: something was delivered that is not in the books."""
    wanted = set(days)
    return [one for one in unclaimed(env) if one.refused and one.source == source and one.day in wanted]


def look_again(env: TenantEnvironment, arrival: str) -> None:
    """Let a refused arrival wait once more, after its file was restored; audited. Raises NotRefused."""
    a = tables.arrival
    try:
        its = (a.c.id == UUID(arrival)) & a.c.refused.is_not(None)
    except ValueError:
        raise NotRefused(arrival) from None
    with env.engine.begin() as connection:
        if connection.execute(sa.update(a).where(its).values(refused=None, refused_on=None)).rowcount == 0:
            raise NotRefused(arrival)
        audit.record(connection, "arrival.look_again", arrival)


def day_in_name(name: str) -> date | None:
    """The first YYYY-MM-DD or YYYYMMDD in a file's name that is a day; a time may follow it."""
    for year, month, day in _DAY_IN_NAME.findall(name):
        try:
            return date(int(year), int(month), int(day))
        except ValueError:
            continue
    return None


_OLDEST_FIRST = (tables.arrival.c.received_at, tables.arrival.c.id)


def _refuse(env: TenantEnvironment, arrival: sa.Row[Any], reason: str, now: datetime) -> None:
    """For good: what was altered stays altered, and asking again every minute would hide what else waits."""
    a = tables.arrival
    today = now.astimezone(ZoneInfo(env.tenant.time_zone)).date()
    with env.engine.begin() as connection:
        row = sa.update(a).where(a.c.id == arrival.id)
        connection.execute(row.values(refused=reason, refused_on=arrival.partition or today))
    log.error("arrival refused: tenant=%s arrival=%s", env.ref.uuid, arrival.id)


def _waiting() -> sa.Select[Any]:
    a = tables.arrival
    taken = sa.select(sa.literal(1)).where(tables.unit.c.path == a.c.path).exists()
    named = sa.outerjoin(a, tables.source, tables.source.c.id == a.c.source_id)
    return sa.select(a, tables.source.c.name.label("source_name")).select_from(named).where(~taken)


def _source(env: TenantEnvironment, name: str | None) -> Source | None:
    return next((source for source in env.tenant.sources if source.name == name), None)


def _claim(env: TenantEnvironment, source: Source, arrival: sa.Row[Any], now: datetime) -> Unit | None:
    a = tables.arrival
    with env.engine.begin() as connection:
        lock = sa.select(a.c.id).where(a.c.id == arrival.id).with_for_update(skip_locked=True)
        if connection.execute(lock).first() is None:
            return None  # another process is at it
        if connection.execute(_waiting().where(a.c.id == arrival.id)).first() is None:
            return None  # another process was quicker; only a look after the lock shows it
        sealed = _verified(env, arrival)
        lock_landing(connection, arrival.source_id)
        # The key goes to the unit: it stands in one row, which can be forgotten.
        connection.execute(sa.update(a).where(a.c.id == arrival.id).values(sealed_key=None))
        return record_unit(
            connection,
            source,
            arrival.source_id,
            arrival.partition or _day(env, arrival, now),
            str(arrival.id),
            sealed=sealed,
            name_sealed=arrival.name_sealed,
        )


def _verified(env: TenantEnvironment, arrival: sa.Row[Any]) -> raw.Sealed:
    """Read the container to its end: that proves every chunk and the digest, and gives the keyed digest."""
    plain, size_bytes = hashlib.sha256(), 0
    if raw.file_id(arrival.path) != arrival.id:
        raise ArrivalAltered(arrival.id, "its container has another id")
    if arrival.sealed_key is None:
        raise ArrivalAltered(arrival.id, "its row has no key")
    with raw.open_container(
        env, arrival.path, arrival.source_id, arrival.sealed_key, arrival.container_sha256
    ) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            plain.update(chunk)
            size_bytes += len(chunk)
    if size_bytes != arrival.size_bytes:
        raise ArrivalAltered(arrival.id, "its size is not the one in its row")
    digest = raw.keyed_digest(env, plain.digest())
    return raw.Sealed(arrival.id, arrival.path, size_bytes, arrival.container_sha256, arrival.sealed_key, digest)


def _day(env: TenantEnvironment, arrival: sa.Row[Any], now: datetime) -> date:
    zone = ZoneInfo(env.tenant.time_zone)
    received: date = arrival.received_at.astimezone(zone).date()
    if arrival.name_sealed is None:
        return received
    named = day_in_name(raw.open_name(env, arrival.id, arrival.name_sealed))
    is_believed = named is not None and env.tenant.start <= named <= now.astimezone(zone).date()
    return named if named is not None and is_believed else received
