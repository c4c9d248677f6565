"""The book of alerts in the control database: opened once, resolved once, and told of both on every channel."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import sqlalchemy as sa

from actuals_pipelines.database.tables import alert, alert_delivery
from actuals_pipelines.operations.alerts.finding import Look

GIVE_UP_AFTER = timedelta(days=1)
"""A message that no channel took for so long is not sent any more; the alert stays in the book."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One entry of the book."""

    id: UUID
    key: str
    severity: str
    tenant: str | None
    what: str
    advice: str
    opened_at: datetime
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True)
class Message:
    """An alert that a channel has not been told of yet."""

    alert: Alert
    channel: str
    event: str  # opened | resolved


def record(control: sa.Engine, look: Look, channels: Collection[str], now: datetime) -> None:
    """Open what is new, resolve what is gone from where was looked, and note whom to tell; one transaction."""
    found = {finding.key: (scope, finding) for scope, finding in look.found}
    with control.begin() as connection:
        connection.execute(sa.text("lock table alert in share row exclusive mode"))
        there = {row.key: row for row in connection.execute(sa.select(alert).where(alert.c.resolved_at.is_(None)))}
        for key in found.keys() - there.keys():
            scope, finding = found[key]
            alert_id = uuid4()
            values = {
                "id": alert_id,
                "key": key,
                "scope": scope,
                "severity": finding.severity,
                "tenant": finding.tenant,
                "what": finding.what,
                "advice": finding.advice,
                "opened_at": now,
            }
            connection.execute(sa.insert(alert).values(values))
            _tell(connection, alert_id, "opened", channels, now)
        for key, row in there.items():
            if key not in found and row.scope in look.scopes:
                connection.execute(sa.update(alert).where(alert.c.id == row.id).values(resolved_at=now))
                _tell(connection, row.id, "resolved", channels, now)


def untold(control: sa.Engine, now: datetime) -> list[Message]:
    """What channels must still be told, oldest first."""
    d = alert_delivery
    query = (
        sa.select(alert, d.c.channel, d.c.event)
        .join(d, d.c.alert_id == alert.c.id)
        .where(d.c.delivered_at.is_(None), d.c.created_at > now - GIVE_UP_AFTER)
        .order_by(d.c.created_at, alert.c.key)
    )
    with control.connect() as connection:
        return [Message(_alert(row), row.channel, row.event) for row in connection.execute(query)]


def told(control: sa.Engine, message: Message, now: datetime, *, failure: str | None) -> None:
    """Note that a channel took a message, or the kind of error with which it did not: then it is tried again."""
    d = alert_delivery
    this = (d.c.alert_id == message.alert.id) & (d.c.channel == message.channel) & (d.c.event == message.event)
    values = {"delivered_at": None if failure else now, "failure": failure}
    with control.begin() as connection:
        connection.execute(sa.update(d).where(this).values(values))


def alerts(control: sa.Engine, *, with_resolved: bool = False, limit: int = 200) -> Sequence[Alert]:
    """The open alerts, newest first; also those that are resolved, if asked for."""
    query = sa.select(alert).order_by(alert.c.resolved_at.desc().nulls_first(), alert.c.opened_at.desc()).limit(limit)
    with control.connect() as connection:
        rows = connection.execute(query if with_resolved else query.where(alert.c.resolved_at.is_(None)))
        return [_alert(row) for row in rows]


def failing_channels(control: sa.Engine) -> Iterator[tuple[str, str, int]]:
    """(channel, kind of its last error, messages that wait): alerts that nobody reads are worse than none."""
    d = alert_delivery
    waiting = sa.select(d.c.channel, sa.func.max(d.c.failure), sa.func.count()).where(
        d.c.delivered_at.is_(None), d.c.failure.is_not(None)
    )
    with control.connect() as connection:
        yield from ((row[0], row[1], row[2]) for row in connection.execute(waiting.group_by(d.c.channel)))


def _tell(connection: sa.Connection, alert_id: object, event: str, channels: Collection[str], now: datetime) -> None:
    rows = [{"alert_id": alert_id, "channel": name, "event": event, "created_at": now} for name in channels]
    if rows:
        connection.execute(sa.insert(alert_delivery), rows)


def _alert(row: sa.Row[tuple[object, ...]]) -> Alert:
    return Alert(row.id, row.key, row.severity, row.tenant, row.what, row.advice, row.opened_at, row.resolved_at)
