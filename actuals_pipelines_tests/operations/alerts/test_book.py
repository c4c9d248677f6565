"""The book of alerts: what is wrong is opened once, resolved once, and each is told once on every channel."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from actuals_pipelines.database.tables import alert, alert_delivery
from actuals_pipelines.operations.alerts import book
from actuals_pipelines.operations.alerts.finding import Finding, Look
from actuals_pipelines.operations.platform import Platform

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATE = Finding("acme late bank", "error", "acme: nothing came from bank yet", "Ask the sender.", "acme")
HELD = Finding("acme held bank", "error", "acme: 1 unit of bank held", "See why.", "acme")


@pytest.fixture
def control(platform: Platform) -> Iterator[sa.Engine]:
    """The control database with an empty book."""
    yield platform.control
    with platform.control.begin() as connection:
        connection.execute(sa.delete(alert_delivery))
        connection.execute(sa.delete(alert))


def looked(*findings: Finding, scope: str = "tenant acme") -> Look:
    """A look that saw the whole scope."""
    look = Look()
    look.add(scope, findings)
    return look


def told(control: sa.Engine, now: datetime = NOW) -> list[tuple[str, str, str]]:
    """What channels must be told, and are told now."""
    messages = book.untold(control, now)
    for message in messages:
        book.told(control, message, now, failure=None)
    return [(message.channel, message.event, message.alert.key) for message in messages]


def test_what_stays_wrong_is_told_once(control: sa.Engine) -> None:
    for minute in range(3):
        book.record(control, looked(LATE), ["log", "mail"], NOW + timedelta(minutes=minute))

    assert sorted(told(control)) == [("log", "opened", LATE.key), ("mail", "opened", LATE.key)]
    assert told(control) == []
    [one] = book.alerts(control)
    assert (one.what, one.opened_at) == (LATE.what, NOW)


def test_what_is_well_again_is_resolved_and_told(control: sa.Engine) -> None:
    book.record(control, looked(LATE, HELD), ["log"], NOW)
    told(control)

    book.record(control, looked(HELD), ["log"], NOW + timedelta(hours=1))

    assert told(control) == [("log", "resolved", LATE.key)]
    assert [one.key for one in book.alerts(control)] == [HELD.key]
    assert {one.key: one.resolved_at is None for one in book.alerts(control, with_resolved=True)} == {
        HELD.key: True,
        LATE.key: False,
    }


def test_what_could_not_be_looked_at_is_not_well(control: sa.Engine) -> None:
    """A tenant's database that does not answer must not resolve the tenant's alerts."""
    book.record(control, looked(LATE), ["log"], NOW)

    book.record(control, looked(scope="dagster"), ["log"], NOW)

    assert [one.key for one in book.alerts(control)] == [LATE.key]


def test_the_same_thing_gone_wrong_again_is_another_alert(control: sa.Engine) -> None:
    for look in (looked(LATE), looked(), looked(LATE)):
        book.record(control, look, ["log"], NOW)

    assert [event for _, event, _ in told(control)].count("opened") == 2


def test_a_message_that_a_channel_did_not_take_waits_and_is_given_up_after_a_day(control: sa.Engine) -> None:
    book.record(control, looked(LATE), ["mail"], NOW)
    [message] = book.untold(control, NOW)

    book.told(control, message, NOW, failure="ConnectionRefusedError")

    assert list(book.failing_channels(control)) == [("mail", "ConnectionRefusedError", 1)]
    assert book.untold(control, NOW + timedelta(hours=23)) == [message]
    assert book.untold(control, NOW + timedelta(hours=25)) == []
