"""The published client against a running inbox: what it promises to a sender."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from actuals_client import AsyncInboxClient, InboxClient, Refused, Signing, Spool, Unavailable
from actuals_client.send import run

from actuals_pipelines_tests.sources.inbox.conftest import AnInbox
from actuals_pipelines_tests.sources.inbox.test_app import an_order, stored

CLIENT = Path(__file__).parents[3] / "deploy" / "client"


def a_client(inbox: AnInbox, key: str = "acme", **settings: Any) -> InboxClient:
    return InboxClient(inbox.url, inbox.keys[key].text, ca_file=inbox.tls.ca, **settings)


def sending(inbox: AnInbox, tmp_path: Path, *more: str) -> list[str]:
    key_file = tmp_path / "key"
    key_file.write_text(inbox.keys["acme"].text)
    where = ["--url", inbox.url, "--ca", str(inbox.tls.ca), "--key-file", str(key_file)]
    return [*where, "--spool", str(tmp_path / "spool.sqlite"), *more]


def a_csv(path: Path, rows: int, mark: str) -> Path:
    lines = [f"{mark}-{number},2026-01-31 09:00:00,{number}.10" for number in range(rows)]
    path.write_text("\n".join(["order_id,created_at,total", *lines]) + "\n")
    return path


COLUMNS = ("--source", "shop", "--id-column", "order_id", "--timestamp-column", "created_at", "--time-zone", "UTC")


def test_a_transaction_is_acknowledged_once_and_its_repeat_is_told(inbox: AnInbox) -> None:
    order = an_order()
    with a_client(inbox) as client:
        first, second = client.post(order), client.post(order)
        assert (first.duplicate, second.duplicate) == (False, True)
        assert client.receipt(first.id).source_id == "shop"
        assert first.id == second.id


def test_the_client_that_does_not_block_says_the_same(inbox: AnInbox) -> None:
    async def many() -> set[str]:
        async with AsyncInboxClient(inbox.url, inbox.keys["acme"].text, ca_file=inbox.tls.ca) as client:
            receipts = await asyncio.gather(*(client.post(an_order()) for _ in range(20)))
            found = {receipt.id async for receipt in client.receipts(source_id="shop", limit="7")}
            assert {receipt.id for receipt in receipts} <= found
            return {receipt.id for receipt in receipts}

    assert len(asyncio.run(many())) == 20


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://127.0.0.1", "127.0.0.1:8444"])
def test_no_address_but_https_is_taken(url: str) -> None:
    with pytest.raises(ValueError, match="https:// only"):
        InboxClient(url, "prod_x")


def test_a_certificate_of_an_unknown_authority_stops_it_before_anything_is_sent(inbox: AnInbox) -> None:
    with (
        InboxClient(inbox.url, inbox.keys["acme"].text) as client,
        pytest.raises(ssl.SSLCertVerificationError, match="Nothing was sent"),
    ):
        client.post(an_order())


def test_the_key_shows_in_no_repr_and_no_error(inbox: AnInbox) -> None:
    client = InboxClient(inbox.url, "prod_canary", ca_file=inbox.tls.ca, signing=Signing("k", "hmac-sha256", b"canary"))
    with client, pytest.raises(Refused) as refused:
        client.post(an_order())
    assert refused.value.code == "unauthorized"
    assert "canary" not in repr(client) + repr(client.__dict__["_signing"]) + str(refused.value)


def test_an_inbox_that_is_away_makes_it_give_up_in_time_and_lose_nothing(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        spool.put(an_order())
        with (
            InboxClient("https://127.0.0.1:1", "prod_x", keep_trying_seconds=0.3) as client,
            pytest.raises(Unavailable),
        ):
            client.deliver(spool)
        assert len(spool) == 1


def test_what_the_inbox_refuses_is_set_aside_and_the_rest_goes_through(inbox: AnInbox, tmp_path: Path) -> None:
    orders = [an_order() for _ in range(30)]
    orders[4]["timestamp"] = "yesterday"
    orders[17]["data"] = {"card": "4111 1111 1111 1111"}
    with Spool(tmp_path / "spool") as spool, a_client(inbox) as client:
        spool.put(*orders)
        delivered = client.deliver(spool)
        assert (delivered.new, delivered.duplicates, delivered.refused, len(spool)) == (28, 0, 2, 0)
        found = {order["id"]: reason["code"] for _, order, reason in spool.refused()}
    assert found == {orders[4]["id"]: "invalid", orders[17]["id"]: "card_number"}


def test_a_key_that_is_refused_leaves_all_in_the_spool(inbox: AnInbox, tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool, a_client(inbox, "revoked") as client:
        spool.put(*[an_order() for _ in range(3)])
        with pytest.raises(Refused, match="unauthorized"):
            client.deliver(spool)
        assert len(spool) == 3


def test_a_csv_file_is_sent_row_by_row_and_sent_again_without_harm(
    inbox: AnInbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = a_csv(tmp_path / "orders.csv", 12_000, str(uuid4()))
    told = []
    for _ in range(2):
        assert run(sending(inbox, tmp_path, *COLUMNS, "--json", str(file))) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert [(one["new"], one["duplicates"], one["refused"]) for one in told] == [(12_000, 0, 0), (0, 12_000, 0)]


def test_a_number_arrives_as_it_was_written(inbox: AnInbox, tmp_path: Path) -> None:
    file = tmp_path / "orders.ndjson"
    mark = str(uuid4())
    file.write_text(json.dumps({"order_id": mark, "created_at": "2026-01-31T09:00:00Z"})[:-1] + ', "total": 10.10}\n')
    assert run(sending(inbox, tmp_path, *COLUMNS, str(file))) == 0
    with a_client(inbox) as client:
        ids = [receipt.id for receipt in client.receipts(source_id="shop", limit="1000")]
    bodies = [stored(inbox.home.tenants["acme"], receipt_id) for receipt_id in ids[-5:]]
    assert any(mark.encode() in body and b'"total":10.10' in body for body in bodies)


def test_rows_that_cannot_be_sent_are_told_by_line_and_field_and_the_others_go(
    inbox: AnInbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "orders.csv"
    rows = [f"{uuid4()},2026-01-31 09:00:00,1", ",2026-01-31 09:00:00,1", f"{uuid4()},soon,1", f"{uuid4()},2026-01-31"]
    file.write_text("\n".join(["order_id,created_at,total", *rows]))
    assert run(sending(inbox, tmp_path, *COLUMNS, str(file))) == 1
    said = capsys.readouterr()
    assert "line 3, order_id: it is empty" in said.err
    assert "line 4, created_at: it is no ISO 8601 date and time" in said.err
    assert "line 5, row: it has not the header's 3 fields" in said.err
    assert "1 new, 0 received before, 3 refused" in said.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--source", "shop", "--id-column", "number", "--timestamp-column", "created_at", "FILE"],
            "There is no column",
        ),
        (["FILE"], "--id-column"),
        ([*COLUMNS[:-1], "Mars/Base", "FILE"], "--time-zone"),
        ([*COLUMNS, "nowhere.csv"], "No such file"),
    ],
)
def test_a_command_that_cannot_work_says_why(
    inbox: AnInbox, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    file = a_csv(tmp_path / "orders.csv", 1, "order")
    given = [str(file) if one == "FILE" else one for one in arguments]
    assert run(sending(inbox, tmp_path, *given)) == 2
    assert says in capsys.readouterr().err


def test_a_sender_that_is_killed_midway_loses_nothing(inbox: AnInbox, tmp_path: Path) -> None:
    mark = str(uuid4())
    file = a_csv(tmp_path / "orders.csv", 20_000, mark)
    command = [sys.executable, "-m", "actuals_client.send", *sending(inbox, tmp_path, *COLUMNS)]
    process = subprocess.Popen([*command, str(file)], cwd=CLIENT, stdout=subprocess.DEVNULL)
    spool = tmp_path / "spool.sqlite"
    while not spool.exists() or not _waits(spool):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert _waits(spool)
    assert run(sending(inbox, tmp_path)) == 0  # what waits
    assert run(sending(inbox, tmp_path, *COLUMNS, str(file), "--json")) == 0  # and what had not been read
    assert not _waits(spool)


def _waits(spool: Path) -> int:
    with Spool(spool) as opened:
        return len(opened)


def test_the_client_is_a_distribution_of_its_own_that_needs_httpx_alone(tmp_path: Path) -> None:
    program = "import sys; before = set(sys.modules); import actuals_client.send; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=CLIENT, check=True, capture_output=True, text=True)
    names = {name.partition(".")[0] for name in loaded.stdout.split()}
    assert not names & {"actuals_pipelines", "dagster", "pyarrow", "sqlalchemy", "http_message_signatures"}
    assert "httpx" in names
    wheel = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path), "."]
    copy = tmp_path / "client"
    subprocess.run(["cp", "-r", str(CLIENT), str(copy)], check=True)
    subprocess.run(wheel, cwd=copy, check=True, timeout=120)
    assert [file.name for file in tmp_path.glob("*.whl")] == ["actuals_client-0.1.0-py3-none-any.whl"]
