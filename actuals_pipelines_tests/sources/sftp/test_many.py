"""The drop under strain: many at once, a full disk, a killed process, an auditor of SSH servers, and lftp."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import asyncssh
import pytest
import sqlalchemy as sa

from actuals_pipelines.database.tables import arrival
from actuals_pipelines_tests.sources.sftp.conftest import ADrop, start_drop

CONTENT = os.urandom(700_000)


@pytest.fixture
def roomy(drop: ADrop) -> ADrop:
    """The drop with places for hundreds of connections that come at the same moment."""
    drop.door.stop()
    drop.door = start_drop(drop.home, drop.folder, "--connections", "300", "--strangers", "300")
    return drop


async def _put(client: asyncssh.SFTPClient, path: str, content: bytes) -> None:
    async with client.open(path, "wb") as file:
        await file.write(content)


def test_two_hundred_connections_at_once_each_deliver(roomy: ADrop) -> None:
    """All are in before the first one sends. They log in 20 at a time: both sides' key exchanges share this machine."""

    async def all_at_once() -> None:
        places, sending, everybody_is_in = asyncio.Semaphore(20), asyncio.Semaphore(60), asyncio.Barrier(200)

        async def one(number: int) -> None:
            async with AsyncExitStack() as stack:
                async with places:
                    connection = await stack.enter_async_context(roomy.connect("acme"))
                await everybody_is_in.wait()
                client = await stack.enter_async_context(connection.start_sftp_client())
                async with sending:  # an account may have 64 files open
                    await _put(client, f"/psp/crowd-{number}.csv", b"%d\n" % number)

        await asyncio.wait_for(asyncio.gather(*(one(number) for number in range(200))), 300)

    asyncio.run(all_at_once())

    names = set(roomy.arrivals())
    assert {f"crowd-{number}.csv" for number in range(200)} <= names
    assert roomy.content("crowd-117.csv") == b"117\n"


def test_many_files_of_one_session_are_confirmed_together(drop: ADrop) -> None:
    """A session's requests are answered in turn, but for CLOSE: 60 files wait for their syncs at the same time."""

    async def send(client: asyncssh.SFTPClient) -> None:
        files = [await client.open(f"/psp/group-{number}.csv", "wb") for number in range(60)]
        for number, file in enumerate(files):
            await file.write(b"%d\n" % number)
        await asyncio.gather(*(file.close() for file in files))

    drop.with_asyncssh("acme", send)

    assert {f"group-{number}.csv" for number in range(60)} <= set(drop.arrivals())
    with drop.acme.app.connect() as connection:
        query = sa.select(sa.func.count(sa.distinct(arrival.c.received_at))).where(arrival.c.size_bytes < 4)
        times = connection.execute(query.where(arrival.c.delivery.like("acme/%"))).scalar_one()
    assert times < 260  # now() is the transaction's: fewer transactions than files


def test_lftp_delivers_and_goes_on(drop: ADrop) -> None:
    if shutil.which("lftp") is None:
        pytest.skip("lftp is not installed")

    async def half() -> None:
        connection = await drop.connect("acme")
        client = await connection.start_sftp_client()
        file = await client.open("/bank/lftp-2.xml", "wb")
        await file.write(CONTENT[:300_000])
        connection.abort()

    asyncio.run(half())
    sent = drop.file("lftp.xml", CONTENT)
    ssh = (
        f"ssh -a -x -F /dev/null -oBatchMode=yes -oIdentitiesOnly=yes -oStrictHostKeyChecking=yes "
        f"-oUserKnownHostsFile={drop.folder / 'known_hosts'} -i {drop.key('acme')}"
    )
    script = (
        f"set sftp:connect-program '{ssh}'; set net:max-retries 1; set net:timeout 20; "
        f"open sftp://acme:@127.0.0.1:{drop.door.port}; "
        f"put {sent} -o /bank/lftp-1.xml; put -c {sent} -o /bank/lftp-2.xml; bye"
    )

    done = subprocess.run(["lftp", "--norc", "-c", script], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert drop.content("lftp-1.xml") == CONTENT
    assert drop.content("lftp-2.xml") == CONTENT


def test_a_full_disk_is_told_and_delivers_nothing(drop: ADrop) -> None:
    """A limit on file sizes stands for the disk: a write fails in the middle, with an error of the system."""
    drop.door.stop()
    drop.door = start_drop(drop.home, drop.folder, file_limit=300_000)
    try:
        before = set(drop.arrivals())
        with pytest.raises(asyncssh.SFTPFailure, match="could not be stored"):
            drop.with_asyncssh("acme", lambda client: _put(client, "/bank/full.xml", CONTENT))
        drop.with_asyncssh("acme", lambda client: _put(client, "/bank/fits.xml", CONTENT[:1000]))
        assert set(drop.arrivals()) - before == {"fits.xml"}
        assert not any(name.endswith(".part") for name in drop.files())
    finally:
        drop.door.stop()
        drop.door = start_drop(drop.home, drop.folder)


def test_a_tenants_files_of_a_day_are_counted_those_of_before_a_restart_too(drop: ADrop) -> None:
    drop.with_asyncssh("acme", lambda client: _put(client, "/bank/counted.xml", b"x"))
    drop.door.stop()
    there = len(drop.files())
    drop.door = start_drop(drop.home, drop.folder, "--day-files", str(there + 1))
    try:
        drop.with_asyncssh("acme", lambda client: _put(client, "/bank/last.xml", b"x"))
        with pytest.raises(asyncssh.SFTPFailure, match="files a day"):
            drop.with_asyncssh("acme", lambda client: _put(client, "/bank/over.xml", b"x"))
        drop.with_asyncssh("other", lambda client: _put(client, "/bank/theirs.xml", b"x"))  # another tenant's day
    finally:
        drop.door.stop()
        drop.door = start_drop(drop.home, drop.folder)


def test_what_was_confirmed_before_a_kill_is_there_and_nothing_is_there_by_half(drop: ADrop) -> None:
    before = set(drop.arrivals())

    async def send_until_killed() -> set[str]:
        confirmed: set[str] = set()
        connection = await drop.connect("acme")
        client = await connection.start_sftp_client()

        async def send(number: int) -> None:
            await _put(client, f"/psp/killed-{number}.csv", CONTENT)
            confirmed.add(f"killed-{number}.csv")
            if len(confirmed) == 3:
                drop.door.process.kill()

        await asyncio.gather(*(send(number) for number in range(8)), return_exceptions=True)
        return confirmed

    confirmed = asyncio.run(send_until_killed())
    drop.door.process.wait(10)
    drop.door = start_drop(drop.home, drop.folder)

    arrived = set(drop.arrivals()) - before
    assert len(confirmed) >= 3
    assert confirmed <= arrived  # one more may have been committed and not confirmed any more
    for name in arrived:
        assert drop.content(name) == CONTENT


def test_an_auditor_of_ssh_servers_finds_no_failure(drop: ADrop) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ssh-audit"), "-j", "-p", str(drop.door.port), "127.0.0.1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = json.loads(done.stdout)

    assert "mlkem768x25519-sha256" in [one["algorithm"] for one in found["kex"]]
    failures = [
        (kind, one["algorithm"], one["notes"]["fail"])
        for kind in ("kex", "key", "enc", "mac")
        for one in found[kind]
        if one.get("notes", {}).get("fail")
    ]
    assert failures == []
