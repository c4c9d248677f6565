"""Reading receipts: filters, and what the tenant's own process says of an event later."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from actuals_pipelines.database.tables import inbox_body, inbox_key, inbox_reject
from actuals_pipelines_tests.sources.inbox.conftest import AnInbox
from actuals_pipelines_tests.sources.inbox.test_app import CANARY, NDJSON, PATH, an_order, lines


def test_receipts_are_filtered_by_source_and_by_when_they_came(inbox: AnInbox) -> None:
    with inbox.client() as client:
        early = client.post(PATH, json=an_order(source_id="returns")).json()
        other = client.post(PATH, json=an_order()).json()
        late = client.post(PATH, json=an_order(source_id="returns")).json()

        def ids(**query: str) -> set[str]:
            return {one["id"] for one in client.get(PATH, params={"limit": "1000", **query}).json()["data"]}

        assert ids(**{"from": early["received_at"], "to": late["received_at"]}) == {early["id"], other["id"]}
        assert ids(**{"source_id": "returns", "from": early["received_at"]}) == {early["id"], late["id"]}
        unescaped = client.get(f"{PATH}?from={late['received_at']}&limit=1000").json()
    assert {one["id"] for one in unescaped["data"]} == {late["id"]}


def test_what_became_of_an_event_is_told_and_found_by_when_it_changed(inbox: AnInbox) -> None:
    """As the tenant's own process sets it: taken in, and for one of them a reason why it could not be."""
    tenant = inbox.home.tenants["acme"]
    with inbox.client() as client:
        old = client.post(PATH, json=an_order()).json()
        sent = client.post(f"{PATH}/batch", content=lines(an_order(), an_order()), headers=NDJSON).json()["data"]
        now = datetime.now(UTC)
        first, second = (UUID(one["id"]) for one in sent)
        with tenant.app.begin() as connection:
            body = sa.select(inbox_key.c.body_id).where(inbox_key.c.receipt_id == first).scalar_subquery()
            landed = {"state": "landed", "changed_at": datetime.now(UTC)}
            connection.execute(sa.update(inbox_body).where(inbox_body.c.id == body).values(landed))
            reject = {"receipt_id": second, "unit_id": uuid4(), "reason": "amount: a number"}
            connection.execute(sa.insert(inbox_reject).values(reject))
        changed = client.get(PATH, params={"updated_since": now.isoformat(), "limit": "1000"}).json()["data"]

    assert [(one["id"], one["status"], one["reject_reason"]) for one in changed] == [
        (str(first), "taken_in", None),
        (str(second), "rejected", "amount: a number"),
    ]
    assert old["status"] == "accepted"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": CANARY}, "from"),
        ({"to": "2026-11-22"}, "to"),
        ({"updated_since": "2026-11-22T10:00:00"}, "updated_since"),
        ({"cursor": "../../etc"}, "cursor"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "٣"}, "limit"),
        ({"per_item": "true"}, None),
    ],
)
def test_a_filter_that_is_none_is_named(inbox: AnInbox, query: dict[str, str], field: str | None) -> None:
    with inbox.client() as client:
        answer = client.get(PATH, params=query)
    assert (answer.status_code, answer.json().get("field")) == (422, field)
    assert CANARY not in answer.text


def test_a_cursor_of_another_tenant_or_of_nobody_shows_nothing_of_it(inbox: AnInbox) -> None:
    """A cursor is a place in the order and no key: forged, it only skips what is one's own."""
    with inbox.client() as acme, inbox.client("other") as other:
        mine = acme.post(PATH, json=an_order()).json()["id"]
        theirs = other.post(PATH, json=an_order()).json()["id"]
        for cursor in (theirs, str(UUID(int=0)), str(uuid4())):
            shown = {one["id"] for one in acme.get(PATH, params={"cursor": cursor, "limit": "1000"}).json()["data"]}
            assert theirs not in shown
        guesses = [str(UUID(int=UUID(theirs).int + step)) for step in (-1, 0, 1)]
        assert {acme.get(f"{PATH}/{guess}").status_code for guess in guesses} == {404}
        assert acme.get(f"{PATH}/{mine}").status_code == 200
