"""Batches as a customer sends them: told per item, packed with zstd, and bounded."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
import zstandard

from actuals_pipelines_tests.sources.inbox.conftest import AnInbox
from actuals_pipelines_tests.sources.inbox.test_app import CANARY, NDJSON, PATH, an_order, count_of, lines, stored

BATCH = f"{PATH}/batch"
PER_ITEM = {"per_item": "true"}


def test_per_item_takes_what_is_right_and_says_of_each_other_why_not(inbox: AnInbox) -> None:
    known, new, twice = an_order(), an_order(), an_order()
    orders = [
        new,
        an_order(timestamp="yesterday"),
        {**known, "data": {"amount": "99.99"}},
        an_order(data={"memo": "4111111111111111"}),
        an_order(source_id="bank"),
        twice,
        twice,
    ]
    with inbox.client("acme") as client:
        client.post(PATH, json=known)
        before = count_of(inbox.home.tenants["acme"])
        answer = client.post(BATCH, params=PER_ITEM, content=lines(*orders), headers=NDJSON)

    told = answer.json()
    assert (answer.status_code, told["new"], told["duplicates"], told["refused"]) == (200, 2, 1, 4)
    assert [one["status"] for one in told["data"]] == ["accepted", *["refused"] * 4, "accepted", "accepted"]
    found = [(one["line"], one["problem"]["code"], one["problem"].get("field")) for one in told["data"][1:5]]
    assert found == [
        (2, "invalid", "timestamp"),
        (3, "other_body", "id"),
        (4, "card_number", None),
        (5, "source_unknown", "source_id"),
    ]
    assert count_of(inbox.home.tenants["acme"]) == before + 2
    assert json.loads(stored(inbox.home.tenants["acme"], told["data"][5]["id"])) == twice


def test_per_item_of_nothing_but_faults_stores_nothing(inbox: AnInbox) -> None:
    with inbox.client() as client:
        answer = client.post(BATCH, params=PER_ITEM, content=b"5\n{}", headers=NDJSON)
        malformed = client.post(BATCH, params=PER_ITEM, content=b"[{", headers={"content-type": "application/json"})
        strange = client.post(BATCH, params={"per_item": CANARY}, content=lines(an_order()), headers=NDJSON)
    assert (answer.status_code, answer.json()["refused"]) == (200, 2)
    assert (malformed.status_code, strange.status_code) == (400, 422)
    assert CANARY not in strange.text


def test_a_duplicate_within_a_large_batch_is_sealed_once(inbox: AnInbox) -> None:
    mark = uuid4()
    orders = [an_order(f"{mark}-{number % 900}", data={"n": number % 900}) for number in range(1000)]
    with inbox.client() as client:
        first = client.post(BATCH, content=lines(*orders), headers=NDJSON).json()
        again = client.post(BATCH, content=lines(*orders[100:], an_order(f"{mark}-new")), headers=NDJSON).json()

    assert (first["new"], first["duplicates"]) == (900, 100)
    assert (again["new"], again["duplicates"]) == (1, 900)
    assert [one["id"] for one in first["data"][900:]] == [one["id"] for one in first["data"][:100]]
    assert [one["id"] for one in again["data"][:-1]] == [one["id"] for one in first["data"][100:]]
    for number in (0, 899):
        body = stored(inbox.home.tenants["acme"], first["data"][number]["id"])
        assert json.loads(body) == orders[number]


@pytest.mark.parametrize("path", [PATH, BATCH])
def test_zstd_is_taken_and_its_bomb_is_not(inbox: AnInbox, path: str) -> None:
    headers = {**NDJSON, "content-encoding": "zstd"} if path == BATCH else {"content-encoding": "zstd"}
    order = an_order()
    with inbox.client() as client:
        good = client.post(path, content=zstandard.compress(lines(order)), headers=headers)
        bomb = client.post(path, content=zstandard.compress(b" " * (300 << 20)), headers=headers)
        cut = client.post(path, content=zstandard.compress(lines(order))[:-9], headers=headers)
        other = client.post(path, content=lines(order), headers={**headers, "content-encoding": "br"})

    assert [one.status_code for one in (good, bomb, cut, other)] == [201, 413, 400, 415]
