"""The inbox over HTTPS, as a customer meets it: a real process, TLS, a real PostgreSQL."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import sqlalchemy as sa

from actuals_pipelines.database.tables import inbox_body, inbox_data_key, inbox_key
from actuals_pipelines.encryption import hpke
from actuals_pipelines.encryption.door import MinuteKey
from actuals_pipelines.encryption.keyring import TenantKeys
from actuals_pipelines.sources.inbox.admission import Admission
from actuals_pipelines.sources.inbox.app import Inbox, inbox_app
from actuals_pipelines.sources.inbox.bodies import Limits
from actuals_pipelines.sources.inbox.keys import new_key
from actuals_pipelines.tenants.projections import ApiKeyView, read_door_views
from actuals_pipelines_tests.conftest import RunningPostgres
from actuals_pipelines_tests.sources.conftest import ATenant, eventually
from actuals_pipelines_tests.sources.inbox.conftest import AnInbox, TlsFiles, start_inbox

PATH = "/v1/raw_transactions"
CANARY = "canary-7f3e9b"
NDJSON = {"content-type": "application/x-ndjson"}


def an_order(id_: str | None = None, **changes: Any) -> dict[str, Any]:
    """One raw transaction as a shop sends it."""
    body = {
        "source_id": "shop",
        "id": id_ or f"order-{uuid4()}",
        "timestamp": "2026-11-22T10:00:00Z",
        "type": "order",
        "data": {"amount": "12.34", "currency": "EUR"},
    }
    return {**body, **changes}


def lines(*orders: dict[str, Any]) -> bytes:
    """Orders as NDJSON."""
    return "\n".join(json.dumps(order) for order in orders).encode()


def stored(tenant: ATenant, receipt_id: str) -> bytes:
    """A body as the tenant's own process opens it: the line of this receipt."""
    with tenant.app.connect() as connection:
        of_receipt = inbox_key.c.receipt_id == UUID(receipt_id)
        body_id = connection.execute(sa.select(inbox_key.c.body_id).where(of_receipt)).scalar_one()
        together = sa.select(inbox_key.c.receipt_id).where(inbox_key.c.body_id == body_id)
        receipts = connection.execute(together.order_by(inbox_key.c.receipt_id)).scalars().all()
        body = connection.execute(sa.select(inbox_body).where(inbox_body.c.id == body_id)).one()
        key = connection.execute(sa.select(inbox_data_key).where(inbox_data_key.c.id == body.data_key_id)).one()
    keys: TenantKeys = tenant.keys
    opened = MinuteKey(keys, tenant.ref, key.id, bytes(key.sealed)).open(body.id, body.source_id, body.sealed)
    lines = opened.split(b"\n")
    assert len(lines) == body.rows == len(receipts)
    return lines[receipts.index(UUID(receipt_id))]


def count_of(tenant: ATenant) -> int:
    """Receipts given; each has its line in a body."""
    with tenant.app.connect() as connection:
        receipts = connection.execute(sa.select(sa.func.count()).select_from(inbox_key)).scalar_one()
        assert (
            receipts == connection.execute(sa.select(sa.func.coalesce(sa.func.sum(inbox_body.c.rows), 0))).scalar_one()
        )
    return receipts


# --- What is taken ----------------------------------------------------------------------------------------------------


def test_a_transaction_is_stored_sealed_and_opens_with_the_tenants_key(inbox: AnInbox) -> None:
    order = an_order(data={"amount": 12.3400, "note": CANARY})
    sent = json.dumps(order).replace("12.34", "12.3400")  # money keeps its digits: it is never a float

    with inbox.client() as client:
        answer = client.post(PATH, content=sent, headers={"content-type": "application/json"})

    assert answer.status_code == 201
    receipt = answer.json()
    assert (receipt["source_id"], receipt["status"], receipt["duplicate"]) == ("shop", "accepted", False)
    opened = stored(inbox.home.tenants["acme"], receipt["id"])
    assert json.loads(opened) == order
    assert b'"amount":12.3400' in opened


def test_the_same_body_again_is_a_duplicate_and_another_body_is_refused(inbox: AnInbox) -> None:
    order = an_order()
    with inbox.client() as client:
        first = client.post(PATH, json=order)
        again = client.post(PATH, content=json.dumps(order, indent=2), headers={"content-type": "application/json"})
        other = client.post(PATH, json={**order, "data": {"amount": "12.35"}})

    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert again.json()["duplicate"] is True
    assert again.json()["id"] == first.json()["id"]
    assert other.json()["code"] == "other_body"


def test_two_hundred_posts_of_one_id_at_once_give_one_row(inbox: AnInbox) -> None:
    order = an_order()
    before = count_of(inbox.home.tenants["acme"])

    async def post_all() -> list[int]:
        limits = httpx.Limits(max_connections=40)
        headers = {"token": inbox.keys["acme"].text}
        async with httpx.AsyncClient(verify=inbox.tls.trust(), limits=limits, timeout=60, headers=headers) as client:
            answers = await asyncio.gather(*(client.post(inbox.url + PATH, json=order) for _ in range(200)))
        return [answer.status_code for answer in answers]

    statuses = Counter(asyncio.run(post_all()))

    assert statuses == {201: 1, 200: 199}
    assert count_of(inbox.home.tenants["acme"]) == before + 1


def test_test_mode_and_production_do_not_know_each_others_ids(inbox: AnInbox) -> None:
    order = an_order()
    with inbox.client() as production, inbox.client("acme test") as test:
        assert production.post(PATH, json=order).status_code == 201
        receipt = test.post(PATH, json=order)
        assert receipt.status_code == 201
        assert production.get(f"{PATH}/{receipt.json()['id']}").status_code == 404


def test_two_tenants_may_use_the_same_id_and_their_rows_do_not_look_alike(inbox: AnInbox) -> None:
    order = an_order()
    with inbox.client() as acme, inbox.client("other") as other:
        assert [client.post(PATH, json=order).status_code for client in (acme, other)] == [201, 201]

    macs = []
    for tenant in inbox.home.tenants.values():
        with tenant.app.connect() as connection:
            macs.append({row.id_mac for row in connection.execute(sa.select(inbox_key.c.id_mac))})
    assert not macs[0] & macs[1]


def test_the_key_is_taken_as_bearer_token_too(inbox: AnInbox) -> None:
    with inbox.client(None, authorization=f"Bearer {inbox.keys['acme'].text}") as client:
        assert client.post(PATH, json=an_order()).status_code == 201


@pytest.mark.parametrize("form", ["ndjson", "array"])
@pytest.mark.parametrize("is_zipped", [False, True], ids=["plain", "gzip"])
def test_a_batch_is_stored_whole(inbox: AnInbox, form: str, is_zipped: bool) -> None:
    orders = [an_order() for _ in range(250)]
    body = lines(*orders) if form == "ndjson" else json.dumps(orders).encode()
    headers = dict(NDJSON) if form == "ndjson" else {"content-type": "application/json"}
    if is_zipped:
        headers["content-encoding"] = "gzip"
        body = gzip.compress(body)

    with inbox.client() as client:
        first = client.post(f"{PATH}/batch", content=body, headers=headers)
        again = client.post(f"{PATH}/batch", content=body, headers=headers)

    assert (first.status_code, first.json()["new"], first.json()["duplicates"]) == (201, 250, 0)
    assert (again.status_code, again.json()["new"], again.json()["duplicates"]) == (200, 0, 250)
    tenant = inbox.home.tenants["acme"]
    assert json.loads(stored(tenant, first.json()["data"][17]["id"])) == orders[17]


def test_one_bad_record_refuses_its_batch_and_is_named_by_its_line(inbox: AnInbox) -> None:
    good, bad = an_order(), an_order(timestamp="yesterday")
    before = count_of(inbox.home.tenants["acme"])

    with inbox.client() as client:
        answer = client.post(f"{PATH}/batch", content=lines(good, good, bad), headers=NDJSON)

    assert answer.status_code == 422
    assert [(error["line"], error["field"]) for error in answer.json()["errors"]] == [(3, "timestamp")]
    assert count_of(inbox.home.tenants["acme"]) == before


def test_one_conflict_refuses_its_batch(inbox: AnInbox) -> None:
    known, new = an_order(), an_order()
    before = count_of(inbox.home.tenants["acme"])
    with inbox.client() as client:
        client.post(PATH, json=known)
        answer = client.post(f"{PATH}/batch", content=lines(new, {**known, "data": {"x": 1}}), headers=NDJSON)

    assert (answer.status_code, answer.json()["line"]) == (409, 2)
    assert count_of(inbox.home.tenants["acme"]) == before + 1


def test_receipts_come_in_pages_in_the_order_of_arrival(inbox: AnInbox) -> None:
    with inbox.client() as client:
        sent = [client.post(PATH, json=an_order(source_id="returns")).json()["id"] for _ in range(5)]
        seen: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = client.get(PATH, params={"source_id": "returns", "limit": "2", **cursor}).json()
            seen += [receipt["id"] for receipt in page["data"]]
            if not page["pagination"]["has_more"]:
                break
            cursor = {"cursor": page["pagination"]["next_cursor"]}
        one = client.get(f"{PATH}/{sent[0]}").json()

    assert seen == sent
    # A receipt has nothing of the body.
    assert set(one) == {"id", "source_id", "received_at", "updated_at", "status", "reject_reason"}


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": ""}, "id"),
        ({"id": 5}, "id"),
        ({"timestamp": "2026-11-22"}, "timestamp"),
        ({"timestamp": "2026-11-22T10:00:00"}, "timestamp"),
        ({"timestamp": "2026-13-22T10:00:00Z"}, "timestamp"),
        ({"data": "text"}, "data"),
        ({CANARY: "unknown"}, None),
        ({"data": {"a": {"b": [[]] * 1}}, "type": "x" * 200}, "type"),
    ],
)
def test_a_malformed_field_is_named_and_its_value_is_not(
    inbox: AnInbox, change: dict[str, Any], field: str | None
) -> None:
    with inbox.client() as client:
        answer = client.post(PATH, json=an_order(**change))

    assert answer.status_code == 422
    assert answer.json().get("field") == field
    assert answer.headers["content-type"] == "application/problem+json"
    assert CANARY not in answer.text


@pytest.mark.parametrize(
    ("body", "status"),
    [(b'{"id":"\xff"}', 400), (b"", 400), (b'{"id":"a"', 400), (b"5", 422), (b'{"data":' + b"[" * 100_000, 422)],
    ids=["bad UTF-8", "empty", "cut off", "a number", "deep"],
)
def test_what_is_no_json_object_is_refused(inbox: AnInbox, body: bytes, status: int) -> None:
    with inbox.client() as client:
        assert client.post(PATH, content=body, headers={"content-type": "application/json"}).status_code == status


@pytest.mark.parametrize("card", ["4111 1111 1111 1111", "5555555555554444", 4111111111111111])
def test_a_card_number_is_refused_and_not_repeated(inbox: AnInbox, card: object) -> None:
    with inbox.client() as client:
        answer = client.post(PATH, json=an_order(data={"memo": card}))
        in_a_batch = client.post(f"{PATH}/batch", content=lines(an_order(data={"x": [card]})), headers=NDJSON)

    for refused in (answer, in_a_batch):
        assert (refused.status_code, refused.json()["code"]) == (422, "card_number")
        assert str(card) not in refused.text


def test_escaping_does_not_hide_a_card_number(inbox: AnInbox) -> None:
    body = json.dumps(an_order(data={"memo": "X"})).replace("X", "\\u0034111111111111111")
    with inbox.client() as client:
        assert client.post(PATH, content=body).json()["code"] == "card_number"


@pytest.mark.parametrize("name", ["expired", "revoked"])
def test_a_key_that_no_longer_holds_is_refused(inbox: AnInbox, name: str) -> None:
    with inbox.client(name) as client:
        assert client.post(PATH, json=an_order()).status_code == 401


def test_a_wrong_key_is_refused_for_every_reason_alike(inbox: AnInbox) -> None:
    right = inbox.keys["acme"].text
    tokens = {
        "another secret": right[:-43] + "x" * 43,
        "the other mode": right.replace("prod_", "test_"),
        "an unknown id": new_key("prod", inbox.home.door_key).text,
        "made under another door key": new_key("prod", b"?" * 32).text,
        "no form": CANARY,
        "empty": "",
    }
    answers = {}
    with inbox.client(None) as client:
        for reason, token in tokens.items():
            answers[reason] = client.post(PATH, json=an_order(), headers={"token": token})
        answers["none"] = client.post(PATH, json=an_order())
    assert {answer.status_code for answer in answers.values()} == {401}
    assert len({answer.text for reason, answer in answers.items() if reason != "none"}) == 1


def test_a_key_of_another_tenant_learns_nothing_of_a_source(inbox: AnInbox) -> None:
    with inbox.client("shop only") as shop_only, inbox.client("other") as other, inbox.client() as acme:
        receipt = acme.post(PATH, json=an_order()).json()["id"]

        assert shop_only.post(PATH, json=an_order(source_id="returns")).status_code == 403
        assert shop_only.post(PATH, json=an_order(source_id="bank")).status_code == 404  # not an inbox source
        assert shop_only.post(PATH, json=an_order(source_id="nothing")).status_code == 404
        assert other.get(f"{PATH}/{receipt}").status_code == 404
        assert acme.get(f"{PATH}/{receipt}").status_code == 200


def test_a_body_that_is_too_large_is_refused(inbox: AnInbox) -> None:
    big = an_order(data={"text": "x" * (2 << 20)})

    def unannounced() -> Any:
        yield from (b" " * 65536 for _ in range(200))

    with inbox.client() as client:
        assert client.post(PATH, json=big).status_code == 413
        assert client.post(f"{PATH}/batch", content=unannounced(), headers=NDJSON).status_code == 413


def test_a_gzip_bomb_is_refused_before_it_grows(inbox: AnInbox) -> None:
    headers = {**NDJSON, "content-encoding": "gzip"}
    with inbox.client() as client:
        bomb = client.post(f"{PATH}/batch", content=gzip.compress(b" " * (70 << 20)), headers=headers)
        cut = client.post(f"{PATH}/batch", content=gzip.compress(lines(an_order()))[:-20], headers=headers)
        none = client.post(f"{PATH}/batch", content=b"hello", headers=headers)

    assert (bomb.status_code, cut.status_code, none.status_code) == (413, 400, 400)


def test_other_paths_methods_and_media_types_are_answered_as_problems(inbox: AnInbox) -> None:
    with inbox.client() as client:
        answers = [
            client.get("/nothing"),
            client.delete(PATH),
            client.post(PATH, content=b"<a/>", headers={"content-type": "text/xml"}),
            client.get(PATH, params={"from": CANARY}),
            client.get(PATH, params={CANARY: "1"}),
            client.get(PATH, params={"cursor": CANARY}),
        ]
    assert [answer.status_code for answer in answers] == [404, 405, 415, 422, 422, 422]
    for answer in answers:
        assert {"type", "title", "status", "code", "detail", "what_to_do"} <= set(answer.json())
        assert CANARY not in answer.text


def test_every_answer_carries_the_security_headers_and_no_banner(inbox: AnInbox) -> None:
    with inbox.client() as client:
        for answer in (client.get("/health"), client.get("/nothing"), client.post(PATH, content=b"")):
            assert answer.headers["strict-transport-security"].startswith("max-age=31536000")
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            assert "server" not in answer.headers
            assert "access-control-allow-origin" not in answer.headers


def test_the_port_speaks_tls_alone(inbox: AnInbox) -> None:
    with socket.create_connection(("127.0.0.1", inbox.door.port), 10) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not plain.recv(100).startswith(b"HTTP")


def test_old_tls_and_an_unknown_ca_are_refused(inbox: AnInbox) -> None:
    old = inbox.tls.trust()
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    for context in (old, ssl.create_default_context()):
        with (
            socket.create_connection(("127.0.0.1", inbox.door.port), 10) as plain,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_request_with_two_lengths_is_refused(inbox: AnInbox) -> None:
    """Request smuggling: Content-Length and Transfer-Encoding together."""
    with (
        socket.create_connection(("127.0.0.1", inbox.door.port), 10) as plain,
        inbox.tls.trust().wrap_socket(plain, server_hostname="127.0.0.1") as tls,
    ):
        tls.sendall(
            b"POST /v1/raw_transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )
        assert tls.recv(100).startswith(b"HTTP/1.1 400")


# --- What changes while it runs ---------------------------------------------------------------------------------------


def test_a_key_that_is_revoked_ends_within_seconds(inbox: AnInbox) -> None:
    key = new_key("prod", inbox.home.door_key)
    other = inbox.home.tenants["other"]
    shown = ApiKeyView(key.key_id, key.hash, "prod", "shop")
    old = ApiKeyView(inbox.keys["other"].key_id, inbox.keys["other"].hash, "prod", "shop")

    with inbox.client(None, token=key.text) as client:
        assert client.get(PATH).status_code == 401
        inbox.home.write_view(replace(other.view, api_keys=(old, shown)))
        eventually(lambda: client.get(PATH).status_code == 200)
        inbox.home.write_view(replace(other.view, api_keys=(old,)))
        eventually(lambda: client.get(PATH).status_code == 401)


def test_a_key_that_sends_too_fast_is_told_to_wait(inbox: AnInbox, tls_files: TlsFiles) -> None:
    slow = AnInbox(inbox.home, start_inbox(inbox.home, tls_files, "--rate", "1"), tls_files, inbox.keys)
    with slow.client() as client:
        answers = [client.get(PATH) for _ in range(4)]
    assert slow.door.stop() == 0

    assert [answer.status_code for answer in answers[:2]] == [200, 200]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_a_full_inbox_tells_the_caller_when_to_come_again(inbox: AnInbox) -> None:
    """In this process, so that it can be made full at will."""

    async def post() -> httpx.Response:
        with ThreadPoolExecutor(1) as threads:
            admission = Admission(inbox.home.door_key, threads)
            admission.take(read_door_views(inbox.home.home.doors, inbox.home.door_key))
            app = inbox_app(Inbox(admission, lambda: True, Limits(in_flight=0)))
            headers = {"token": inbox.keys["acme"].text}
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="https://x", headers=headers) as client:
                return await client.post(PATH, json=an_order())

    answer = asyncio.run(post())

    assert (answer.status_code, answer.json()["code"]) == (503, "busy")
    assert int(answer.headers["retry-after"]) >= 1


# --- Last: they read what the tests above have left, or kill the process ----------------------------------------------


def test_the_log_shows_no_value(inbox: AnInbox) -> None:
    log = inbox.door.log.read_text()

    assert "views taken" in log  # it does log
    for secret in (CANARY, "4111", "order-", "12.34", *(key.text for key in inbox.keys.values())):
        assert secret not in log
    assert "Traceback" not in log


def test_neither_the_home_nor_the_databases_files_hold_a_value(inbox: AnInbox, postgres: RunningPostgres) -> None:
    with postgres.admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("checkpoint")

    found = 0
    for path in (*inbox.home.home.root.rglob("*"), *postgres.server.folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            found += b"inbox_body" in content
            assert CANARY.encode() not in content, path.name
    assert found  # the search did look into the database's files


def test_the_doors_role_and_files_open_nothing(inbox: AnInbox) -> None:
    """Wall: with the door's credential, the views and the door key, no body and no name can be read."""
    acme = inbox.home.tenants["acme"]
    with acme.door.connect() as connection:
        for column in (inbox_body.c.sealed, inbox_body.c.data_key_id, inbox_data_key.c.sealed):
            with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
                connection.execute(sa.select(column))
            connection.rollback()
        for statement in ("delete from inbox_key", "update inbox_body set state = 'landed'", "table arrival"):
            with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
                connection.exec_driver_sql(statement)
            connection.rollback()
    with pytest.raises(hpke.SealedRefused), acme.app.connect() as connection:
        key = connection.execute(sa.select(inbox_data_key)).first()
        assert key is not None
        MinuteKey(hpke.PrivateKey(inbox.home.door_key), acme.ref, key.id, bytes(key.sealed))


def test_kill_9_under_load_loses_no_acknowledged_row(inbox: AnInbox) -> None:
    acknowledged: list[str] = []

    async def flood() -> None:
        headers = {"token": inbox.keys["acme"].text}
        async with httpx.AsyncClient(verify=inbox.tls.trust(), timeout=10, headers=headers) as client:

            async def post_until_it_dies() -> None:
                while True:
                    try:
                        answer = await client.post(inbox.url + PATH, json=an_order())
                    except httpx.HTTPError:
                        return
                    if answer.status_code == 201:
                        acknowledged.append(answer.json()["id"])
                    if len(acknowledged) == 300:
                        inbox.door.process.kill()

            await asyncio.gather(*(post_until_it_dies() for _ in range(16)))

    asyncio.run(flood())
    inbox.door.process.wait(10)

    assert len(acknowledged) >= 300
    with inbox.home.tenants["acme"].app.connect() as connection:
        kept = {str(row) for row in connection.execute(sa.select(inbox_key.c.receipt_id)).scalars()}
    assert set(acknowledged) <= kept
