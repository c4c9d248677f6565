"""What was pushed becomes units: every event once, by environment, by day, in bounded batches."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.landing import inbox, land_inbox, mark_rejects
from actuals_pipelines_tests.landing.doors import NOW, SHOP, Doors


def test_events_of_a_day_become_one_unit_of_lines(acme: Doors) -> None:
    """Whether they came singly or together."""
    receipts = acme.push(b'{"id": 1}')
    receipts += [acme.push_batch(b'{"id": 2}', b'{"id": 3}')[0]]

    [unit] = land_inbox(acme.env, SHOP, NOW)

    lines = acme.read(unit).splitlines()
    assert sorted(lines) == [b'{"id": 1}', b'{"id": 2}', b'{"id": 3}']
    assert acme.inbox_states() == dict.fromkeys(receipts, "landed")
    assert land_inbox(acme.env, SHOP, NOW) == []


def test_midnight_in_the_tenants_zone_parts_the_days(acme: Doors) -> None:
    """22:59 UTC is still the same day in Amsterdam in March, 23:01 the next."""
    acme.push(b"1", received_at=datetime(2026, 3, 3, 22, 59, tzinfo=UTC))
    acme.push(b"2", received_at=datetime(2026, 3, 3, 23, 1, tzinfo=UTC))

    landed = land_inbox(acme.env, SHOP, NOW)

    assert [(unit.partition, acme.read(unit)) for unit in landed] == [
        (date(2026, 3, 3), b"1\n"),
        (date(2026, 3, 4), b"2\n"),
    ]


def test_test_events_do_not_enter_prod(acme: Doors) -> None:
    """They wait for the test environment."""
    [test] = acme.push(b"{}", mode="test")

    assert land_inbox(acme.env, SHOP, NOW) == []
    assert acme.inbox_states() == {test: "received"}


def test_batches_are_bounded(acme: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """By rows and by bytes; together they hold everything once."""
    monkeypatch.setattr(inbox, "BATCH_ROWS", 10)
    monkeypatch.setattr(inbox, "BATCH_BYTES", 30)
    bodies = [f"event {n:02}".encode() for n in range(25)]
    acme.push(*bodies)

    landed = land_inbox(acme.env, SHOP, NOW)

    assert len(landed) > 3
    assert sorted(b"".join(acme.read(unit) for unit in landed).splitlines()) == bodies


def test_equal_batches_are_no_repeats(acme: Doors) -> None:
    """The idempotency key told the events apart at the door."""
    acme.push(b'{"sold": "coffee"}')
    [first] = land_inbox(acme.env, SHOP, NOW)
    acme.push(b'{"sold": "coffee"}')
    [second] = land_inbox(acme.env, SHOP, NOW)

    assert (first.repeat_of, second.repeat_of) == (None, None)


def test_an_event_that_was_altered_is_rejected_and_the_others_are_landed(acme: Doors) -> None:
    """It is kept, as it is, for whoever looks into it."""
    good, bad = acme.push(b"good", b"bad")
    b = tables.inbox_body
    with acme.env.engine.begin() as connection:
        connection.execute(sa.update(b).where(b.c.id == bad).values(sealed=b"x" * 40))

    [unit] = land_inbox(acme.env, SHOP, NOW)

    assert acme.read(unit) == b"good\n"
    assert acme.inbox_states() == {good: "landed", bad: "rejected"}


def test_an_event_moved_to_another_row_does_not_open(acme: Doors) -> None:
    """Swapping two sealed bodies is noticed on both."""
    first, second = acme.push(b"1", b"2")
    b = tables.inbox_body
    with acme.env.engine.begin() as connection:
        sealed = {r.id: r.sealed for r in connection.execute(sa.select(b))}
        for one, other in ((first, second), (second, first)):
            connection.execute(sa.update(b).where(b.c.id == one).values(sealed=sealed[other]))

    assert land_inbox(acme.env, SHOP, NOW) == []
    assert set(acme.inbox_states().values()) == {"rejected"}


def test_a_receipt_tells_what_its_event_lacked_until_it_is_mended(acme: Doors) -> None:
    """A unit's line is led back to its receipt, also where one body holds several days."""
    source = replace(SHOP, day_from="timestamp")
    days = ("2026-03-02", "2026-03-03", "2026-03-02", "2026-03-03", "2026-03-03")
    _, receipts = acme.push_batch(*[b'{"timestamp":"%sT12:00:00Z"}' % day.encode() for day in days], source=source)
    _, others = acme.push_batch(b'{"timestamp":"2026-03-03T13:00:00Z"}', source=source)

    first, second = land_inbox(acme.env, source, NOW)
    mark_rejects(acme.env, first.id, {2: "amount: not_a_number"})
    mark_rejects(acme.env, second.id, {1: "currency: missing", 4: "amount: missing"})

    # Two bodies of one moment stand in the order of their random ids.
    in_order = [receipts[1], receipts[3], receipts[4], others[0]]
    if others[0] in _rejects(acme) and _rejects(acme)[others[0]] == "currency: missing":
        in_order = [others[0], receipts[1], receipts[3], receipts[4]]
    assert _rejects(acme) == {
        receipts[2]: "amount: not_a_number",
        in_order[0]: "currency: missing",
        in_order[3]: "amount: missing",
    }
    mark_rejects(acme.env, second.id, {})
    assert _rejects(acme) == {receipts[2]: "amount: not_a_number"}


def _rejects(acme: Doors) -> dict[UUID, str]:
    r = tables.inbox_reject
    with acme.env.engine.connect() as connection:
        return {row.receipt_id: row.reason for row in connection.execute(sa.select(r))}
