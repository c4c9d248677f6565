"""What doors left becomes units: each arrival once, whatever order doors commit in.

There is no cursor: an arrival waits while no unit names its container. Numbers or times of rows that other processes
write do not come in order, so "all after the last one seen" would lose some.
"""

from __future__ import annotations

import hashlib
import logging
import re
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
        return (
            f"Arrival {self.arrival_id} was not taken: {self.found}. Ask the sender to deliver it again, and look who "
            "may write to the tenant's folder."
        )


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """An arrival of which no unit was made: no source takes it, or its container is not what its row says."""

    arrival_id: UUID
    door: str
    name: str | None
    size_bytes: int
    received_at: datetime


def claim_arrivals(env: TenantEnvironment, now: datetime) -> list[Unit]:
    """Make a unit of each arrival that waits for one of the tenant's sources, oldest first; each for itself.

    Its day is the one its door states, else the one in the file's name, else the day it was received in the tenant's
    time zone; a day in the name that lies before the tenant's start or in the future is not believed.

    An arrival that is not what its row says is logged as an error, left as it is, and stays in `unclaimed`; the others
    are taken. Several processes may claim at once.
    """
    with env.engine.begin() as connection:
        waiting = connection.execute(_waiting().order_by(tables.arrival.c.received_at, tables.arrival.c.id)).all()
    claimed = []
    for arrival in waiting:
        source = _source(env, arrival.source_name)
        if source is None:
            continue
        try:
            unit = _claim(env, source, arrival, now)
        except (ActualsError, FileNotFoundError) as error:
            log.error("arrival refused: tenant=%s arrival=%s kind=%s", env.ref.uuid, arrival.id, type(error).__name__)
            continue
        if unit is not None:
            claimed.append(unit)
    return claimed


def unclaimed(env: TenantEnvironment) -> list[Unclaimed]:
    """The arrivals that no unit was made of, oldest first: those that wait, too. No command shows them yet."""
    with env.engine.begin() as connection:
        rows = connection.execute(_waiting().order_by(tables.arrival.c.received_at)).all()
    return [
        Unclaimed(
            row.id,
            row.door,
            None if row.name_sealed is None else raw.open_name(env, row.id, row.name_sealed),
            row.size_bytes,
            row.received_at,
        )
        for row in rows
    ]


def day_in_name(name: str) -> date | None:
    """The first YYYY-MM-DD or YYYYMMDD in a file's name that is a day; a time may follow it."""
    for year, month, day in _DAY_IN_NAME.findall(name):
        try:
            return date(int(year), int(month), int(day))
        except ValueError:
            continue
    return None


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
