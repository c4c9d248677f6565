"""What a tenant's catalogue says is wrong: days that are held, arrivals that nothing takes, sources that are late."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from actuals_pipelines.database.tables import (
    arrival,
    generation,
    inbox_body,
    remote_file,
    sftp_connection,
    source,
    unit,
)
from actuals_pipelines.domain.source import Expected, Source
from actuals_pipelines.domain.tenant import Tenant
from actuals_pipelines.operations.alerts.finding import Finding


def tenant_findings(
    database: sa.Engine, name: str, tenant: Tenant, now: datetime, *, unclaimed_hours: int
) -> Iterator[Finding]:
    """All that is wrong with one tenant's deliveries.

    Args:
        database: the tenant's, as its role `ro`, which sees no body, key or secret.
        name: its asset prefix.
        unclaimed_hours: how long an arrival may wait.
    """
    with database.connect() as connection:
        for row in connection.execute(_HELD):
            where = f"{row.name} {row.partition}"
            what = f"{name}: {row.units} of {where} held, since {row.since:%Y-%m-%d %H:%M} UTC"
            advice = f"See why with `actuals day {name} {where}`; release, replace or correct it."
            yield Finding(f"{name} held {where}", "error", what, advice, name)
        before = now - timedelta(hours=unclaimed_hours)
        waiting, refused = connection.execute(_unclaimed(before)).one()
        if waiting:
            what = f"{name}: {waiting} arrivals have waited for more than {unclaimed_hours} hours"
            advice = f"See them with `actuals source arrivals {name}`: no source takes them, or no run looks."
            yield Finding(f"{name} unclaimed", "error", what, advice, name)
        if refused:
            what = f"{name}: {refused} arrivals are refused, because their file is not what their row says"
            yield Finding(f"{name} refused", "error", what, f"See them with `actuals source arrivals {name}`.", name)
        yield from _remote(connection, name)
        for one in tenant.sources:
            if one.expected is not None:
                yield from _late(connection, name, one, one.expected, now)


def last_two_deadlines(expected: Expected, zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime]:
    """The deadline that passed last, and the one before it: between them something must have come."""
    passed: list[datetime] = []
    day: date = now.astimezone(zone).date()
    while len(passed) < 2:
        deadline = datetime.combine(day, expected.by, zone)
        if deadline <= now and not (expected.business_days and day.weekday() >= 5):
            passed.append(deadline)
        day -= timedelta(days=1)
    return passed[0], passed[1]


def _late(connection: sa.Connection, name: str, one: Source, expected: Expected, now: datetime) -> Iterator[Finding]:
    _, before = last_two_deadlines(expected, ZoneInfo(one.time_zone), now)
    row = connection.execute(_last_seen(one.name)).one()
    moments: list[datetime] = [moment for moment in row[1:] if moment is not None]
    seen = max(moments, default=None)
    if (seen or row.created_at) > before:  # a source that is new is not late yet
        return
    on = "business days" if expected.business_days else "every day"
    since = f"since {seen:%Y-%m-%d %H:%M} UTC" if seen else "yet"
    what = f"{name}: nothing came from {one.name} {since}; it is expected by {expected.by:%H:%M} on {on}"
    yield Finding(
        f"{name} late {one.name}", "error", what, "Ask the sender; a pull's failure is an alert of its own.", name
    )


def _remote(connection: sa.Connection, name: str) -> Iterator[Finding]:
    """Servers that show another key than the accepted one, and files that are not fetched."""
    c, f = sftp_connection.c, remote_file.c
    changed = sa.select(source.c.name, c.refused_host_key).join(source, source.c.id == c.source_id)
    for row in connection.execute(changed.where(c.refused_host_key.is_not(None))):
        what = f"{name}: the server of {row.name} shows another host key, {row.refused_host_key}; nothing is fetched"
        advice = f"Ask its owner by another way; then `actuals source host-key {name} {row.name} --scan`."
        yield Finding(f"{name} host key {row.name}", "error", what, advice, name)
    refused = sa.select(source.c.name, sa.func.count().label("files")).join(source, source.c.id == f.source_id)
    for row in connection.execute(refused.where(f.refused.is_not(None)).group_by(source.c.name)):
        what = f"{name}: {row.files} remote files of {row.name} are not fetched, for what they are"
        yield Finding(
            f"{name} remote files {row.name}",
            "error",
            what,
            f"See why with `actuals source connect {name} {row.name}`.",
            name,
        )


# Held, or without an answer because a check could not run: neither goes on by itself.
_HELD = (
    sa.select(
        source.c.name,
        unit.c.partition,
        sa.func.count(sa.distinct(unit.c.id)).label("units"),
        sa.func.min(generation.c.created_at).label("since"),
    )
    .join(unit, unit.c.source_id == source.c.id)
    .join(generation, generation.c.unit_id == unit.c.id)
    .where(
        (generation.c.state == "held")
        | ((generation.c.state == "candidate") & (generation.c.verdict == "could_not_run"))
    )
    .group_by(source.c.name, unit.c.partition)
)


def _unclaimed(before: datetime) -> sa.Select[int, int]:
    claimed = sa.exists().where(unit.c.path == arrival.c.path)
    mine = sa.select(
        sa.func.count().filter(arrival.c.refused.is_(None) & (arrival.c.received_at < before)),
        sa.func.count().filter(arrival.c.refused.is_not(None)),
    )
    return mine.select_from(arrival).where(~claimed)


def _last_seen(name: str) -> sa.Select[Any, Any, Any, Any]:
    """When the source became known, and when something of it was landed, received by a door, and pushed."""

    def newest(column: sa.Column[datetime], its_source: sa.Column[object]) -> sa.ScalarSelect[datetime]:
        return sa.select(sa.func.max(column)).where(its_source == source.c.id).scalar_subquery()

    return sa.select(
        source.c.created_at,
        newest(unit.c.landed_at, unit.c.source_id),
        newest(arrival.c.received_at, arrival.c.source_id),
        newest(inbox_body.c.received_at, inbox_body.c.source_id),
    ).where(source.c.name == name)
