"""The drop as a customer's client meets it: a real process, real clients, a real PostgreSQL."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace

import asyncssh
import paramiko
import pytest
import sqlalchemy as sa

from actuals_pipelines.database.tables import arrival
from actuals_pipelines.domain.tenant import SftpKey
from actuals_pipelines.encryption.container import ContainerAad, Kind, read_container
from actuals_pipelines.encryption.container_errors import ContainerForAnotherKey
from actuals_pipelines.sources.sftp.session import DropSession
from actuals_pipelines.tenants.projections import SftpView
from actuals_pipelines_tests.sources.conftest import eventually
from actuals_pipelines_tests.sources.sftp.conftest import ADrop, start_drop

CANARY = b"canary-4c1d8e"
CONTENT = os.urandom(600_000) + CANARY * 1000  # several chunks


async def _put(client: asyncssh.SFTPClient, path: str, content: bytes = CONTENT) -> None:
    async with client.open(path, "wb") as file:
        await file.write(content)


# --- Delivering -------------------------------------------------------------------------------------------------------


def test_openssh_delivers_a_file_and_the_tenants_key_opens_it(drop: ADrop) -> None:
    sent = drop.file("statement.xml", CONTENT)

    done = drop.with_openssh("acme", f"put {sent} /bank/statement-1.xml\nls -l /bank\n")

    assert done.returncode == 0, done.stderr
    assert str(len(CONTENT)) in done.stdout  # clients compare the size with what they sent
    row = drop.arrivals()["statement-1.xml"]
    assert (row.door, row.source_id, row.size_bytes) == ("sftp", drop.acme.source_id("bank"), len(CONTENT))
    assert row.delivery == f"acme/{row.id.hex}"
    assert drop.content("statement-1.xml") == CONTENT


def test_asyncssh_and_paramiko_deliver_too(drop: ADrop) -> None:
    drop.with_asyncssh("acme", lambda client: _put(client, "/psp/asyncssh.csv"))
    client = drop.with_paramiko("acme")
    client.open_sftp().put(str(drop.file("paramiko.csv", CONTENT)), "/psp/paramiko.csv", confirm=True)
    client.close()

    for name in ("asyncssh.csv", "paramiko.csv"):
        assert drop.content(name) == CONTENT
        assert drop.arrivals()[name].source_id == drop.acme.source_id("psp")


def test_an_empty_file_is_a_file(drop: ADrop) -> None:
    drop.with_asyncssh("acme", lambda client: _put(client, "/psp/empty.csv", b""))
    assert drop.content("empty.csv") == b""


def test_the_same_content_again_has_the_same_mac_and_another_tenants_has_not(drop: ADrop) -> None:
    drop.with_asyncssh("acme", lambda client: _put(client, "/bank/first.xml"))
    drop.with_asyncssh("acme", lambda client: _put(client, "/bank/second.xml"))
    drop.with_asyncssh("other", lambda client: _put(client, "/bank/third.xml"))

    first, second = drop.arrivals()["first.xml"], drop.arrivals()["second.xml"]
    assert first.content_mac == second.content_mac
    assert first.container_sha256 != second.container_sha256
    assert drop.arrivals("other")["third.xml"].content_mac != first.content_mac


def test_a_file_with_an_unfinished_name_arrives_when_it_is_renamed(drop: ADrop) -> None:
    async def send(client: asyncssh.SFTPClient) -> set[str]:
        await _put(client, "/bank/renamed.xml.filepart")
        before = set(drop.arrivals())
        await client.rename("/bank/renamed.xml.filepart", "/bank/renamed.xml")
        assert (await client.stat("/bank/renamed.xml")).size == len(CONTENT)
        return before

    before = drop.with_asyncssh("acme", send)

    assert not {"renamed.xml", "renamed.xml.filepart"} & before
    assert drop.content("renamed.xml") == CONTENT


def test_openssh_renames_by_its_own_extension(drop: ADrop) -> None:
    sent = drop.file("x", b"1;2\n")
    done = drop.with_openssh("acme", f"cd psp\nput {sent} day.csv.tmp\nrename day.csv.tmp day.csv\n")
    assert done.returncode == 0, done.stderr
    assert drop.content("day.csv") == b"1;2\n"


def test_a_file_that_keeps_its_unfinished_name_is_no_arrival_and_the_next_session_may_rename_it(drop: ADrop) -> None:
    rows = set(drop.arrivals())
    drop.with_asyncssh("acme", lambda client: _put(client, "/bank/later.xml.part"))
    assert set(drop.arrivals()) == rows

    drop.with_asyncssh("acme", lambda client: client.rename("/bank/later.xml.part", "/bank/later.xml"))

    assert drop.content("later.xml") == CONTENT


def test_an_account_with_one_source_may_drop_in_the_root(drop: ADrop) -> None:
    drop.with_asyncssh("one", lambda client: _put(client, "/plain.xml", b"<x/>"))
    assert drop.arrivals()["plain.xml"].source_id == drop.acme.source_id("bank")


def test_what_lies_in_the_root_of_several_sources_is_kept_though_no_source_claims_it(drop: ADrop) -> None:
    drop.with_asyncssh("acme", lambda client: _put(client, "/whose.xml", b"<x/>"))
    assert drop.arrivals()["whose.xml"].source_id is None
    assert drop.content("whose.xml") == b"<x/>"


# --- What must leave nothing ------------------------------------------------------------------------------------------


def test_a_connection_that_drops_leaves_no_arrival_and_only_what_a_resume_needs(drop: ADrop) -> None:
    """The library closes open handles when a connection is lost, as if the client had: that must not deliver."""
    before, rows = drop.files(), set(drop.arrivals())

    async def send_half() -> None:
        connection = await drop.connect("acme")
        client = await connection.start_sftp_client()
        file = await client.open("/bank/half.xml", "wb")
        await file.write(CONTENT[:400_000])
        assert drop.files() > before  # it was on its way
        connection.abort()

    asyncio.run(send_half())

    [left] = drop.files() - before
    assert left.endswith(".part")
    assert CANARY not in (drop.acme.prefix / "drop" / left).read_bytes()
    assert set(drop.arrivals()) == rows


def test_a_session_that_ends_politely_without_close_delivers_nothing(drop: ADrop) -> None:
    rows = set(drop.arrivals())

    async def leave(client: asyncssh.SFTPClient) -> None:
        file = await client.open("/bank/unclosed.xml", "wb")
        await file.write(CONTENT[:300_000])
        client.exit()
        await client.wait_closed()

    drop.with_asyncssh("acme", leave)

    assert set(drop.arrivals()) == rows


def test_a_file_over_the_quota_is_refused_though_the_client_closes_it(drop: ADrop) -> None:
    """OpenSSH sends CLOSE after a WRITE that failed: that must not deliver."""
    before = drop.files()
    done = drop.with_openssh("acme", f"put {drop.file('big', bytes(5 << 20))} /bank/big.xml\n")
    assert done.returncode != 0
    assert "big.xml" not in drop.arrivals()
    eventually(lambda: drop.files() == before)


def test_writing_out_of_order_is_refused(drop: ADrop) -> None:
    before = drop.files()

    async def jump(client: asyncssh.SFTPClient) -> None:
        async with client.open("/bank/jump.xml", "wb") as file:
            await file.write(b"b", offset=10)

    with pytest.raises(asyncssh.SFTPFailure, match="in order"):
        drop.with_asyncssh("acme", jump)
    eventually(lambda: drop.files() == before)
    assert "jump.xml" not in drop.arrivals()


def test_a_row_that_cannot_be_written_leaves_no_file(drop: ADrop) -> None:
    """The client is told, and sends it again."""
    before = drop.files()
    view = replace(drop.acme.view, sftp=_accounts_of(drop))
    drop.home.write_view(replace(view, login=replace(view.login, password="wrong")))
    try:
        eventually(lambda: drop.door.log.read_text().count("views taken") >= 2)
        with pytest.raises(asyncssh.SFTPFailure, match="store does not answer"):
            drop.with_asyncssh("acme", lambda client: _put(client, "/bank/unwritten.xml"))
        eventually(lambda: drop.files() == before)
    finally:
        drop.home.write_view(view)
    eventually(lambda: drop.door.log.read_text().count("views taken") >= 3)
    drop.with_asyncssh("acme", lambda client: _put(client, "/bank/unwritten.xml"))
    assert drop.content("unwritten.xml") == CONTENT


def _accounts_of(drop: ADrop) -> tuple[SftpView, ...]:
    keys = {
        user: SftpKey(asyncssh.read_private_key(drop.key(user)).export_public_key().decode())
        for user in ("acme", "one")
    }
    return SftpView("acme", (keys["acme"],), ("bank", "psp")), SftpView("one", (keys["one"],), ("bank",))


# --- What is never done -----------------------------------------------------------------------------------------------


def test_nothing_is_read_deleted_changed_or_linked(drop: ADrop) -> None:
    async def try_all(client: asyncssh.SFTPClient) -> None:
        await _put(client, "/bank/mine.xml")
        await _put(client, "/bank/mine-2.xml")
        refused: dict[str, Callable[[], Awaitable[object]]] = {
            "read": lambda: client.open("/bank/mine.xml", "rb"),
            "read and write": lambda: client.open("/bank/mine.xml", "r+b"),
            "append": lambda: client.open("/bank/mine.xml", "ab"),
            "overwrite": lambda: client.open("/bank/mine.xml", "wb"),
            "rename a delivered file": lambda: client.rename("/bank/mine.xml", "/bank/new.xml"),
            "overwrite by rename": lambda: client.posix_rename("/bank/mine-2.xml", "/bank/mine.xml"),
            "delete": lambda: client.remove("/bank/mine.xml"),
            "folder": lambda: client.mkdir("/new"),
            "remove folder": lambda: client.rmdir("/bank"),
            "symbolic link": lambda: client.symlink("/etc/passwd", "/bank/link.xml"),
            "hard link": lambda: client.link("/bank/mine.xml", "/bank/link.xml"),
            "read link": lambda: client.readlink("/bank/mine.xml"),
            "disk": lambda: client.statvfs("/"),
        }
        for what, ask in refused.items():
            with pytest.raises(asyncssh.SFTPError):
                await ask()
                raise AssertionError(f"allowed: {what}")

    drop.with_asyncssh("acme", try_all)
    assert drop.content("mine.xml") == CONTENT


@pytest.mark.parametrize(
    "path",
    [
        "/other/x.xml",
        "/shop/x.xml",  # a source, but not one of sFTP
        "/bank/deeper/x.xml",
        "/bank/.hidden",
        "/bank/x;y.xml",
        "/bank/x\ny.xml",
        "/bank/" + "x" * 201,
        "/../../../etc/x.xml",
    ],
)
def test_a_path_outside_the_accounts_folders_is_refused(drop: ADrop, path: str) -> None:
    before = drop.files(), drop.files("other")
    with pytest.raises(asyncssh.SFTPError):
        drop.with_asyncssh("acme", lambda client: _put(client, path, b"x"))
    assert (drop.files(), drop.files("other")) == before


def test_an_account_sees_its_own_folders_and_nothing_of_others(drop: ADrop) -> None:
    async def look(client: asyncssh.SFTPClient) -> list[list[str]]:
        return [sorted(str(name) for name in await client.listdir(path)) for path in ("/", "/bank")]

    drop.with_asyncssh("acme", lambda client: _put(client, "/bank/unseen.xml"))

    root, bank = drop.with_asyncssh("acme", look)
    assert {".", "..", "bank", "psp"} <= set(root)
    assert "unseen.xml" in bank  # sent today by this account
    root, bank = drop.with_asyncssh("other", look)
    assert set(root) == {".", "..", "bank"}
    assert "unseen.xml" not in bank
    assert "unseen.xml" not in drop.with_asyncssh("one", look)[1]  # another account of the same tenant


@pytest.mark.parametrize(("user", "key"), [("acme", "stranger"), ("acme", "other"), ("nobody", "acme")])
def test_only_the_accounts_own_key_enters(drop: ADrop, user: str, key: str) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        drop.with_asyncssh(user, lambda client: client.listdir("/"), key=key)


def test_passwords_are_not_asked_for(drop: ADrop) -> None:
    transport = paramiko.Transport(("127.0.0.1", drop.door.port))
    try:
        transport.start_client(timeout=10)
        with pytest.raises(paramiko.BadAuthenticationType) as refused:
            transport.auth_password("acme", "guess", fallback=False)
        assert refused.value.allowed_types == ["publickey"]
    finally:
        transport.close()


def test_there_is_no_shell_no_command_no_terminal_and_no_forwarding(drop: ADrop) -> None:
    async def try_all() -> None:
        async with drop.connect("acme") as connection:
            for arguments in ({"command": "id"}, {}, {"command": "scp -t /bank"}, {"term_type": "xterm"}):
                with pytest.raises((asyncssh.ChannelOpenError, asyncssh.ProcessError)):
                    await connection.run(check=True, **arguments)
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.open_connection("127.0.0.1", drop.door.port)
            with pytest.raises(asyncssh.ChannelListenError):
                await connection.forward_remote_port("127.0.0.1", 0, "127.0.0.1", 1)

    asyncio.run(try_all())


@pytest.mark.parametrize(
    "weak",
    [
        {"kex_algs": ["diffie-hellman-group14-sha1"]},
        {"encryption_algs": ["aes128-cbc"]},
        {"mac_algs": ["hmac-sha1"], "encryption_algs": ["aes256-ctr"]},
        {"server_host_key_algs": ["ssh-rsa"]},
    ],
    ids=["key exchange", "cipher", "mac", "host key"],
)
def test_weak_algorithms_are_not_spoken(drop: ADrop, weak: dict[str, list[str]]) -> None:
    async def try_it() -> None:
        await asyncssh.connect("127.0.0.1", drop.door.port, username="acme", known_hosts=None, config=None, **weak)

    with pytest.raises((asyncssh.KeyExchangeFailed, asyncssh.ConnectionLost)):  # the last words may come too late
        asyncio.run(try_it())


def test_every_public_method_of_the_library_is_overridden() -> None:
    """The library's own work on our disk: a method that a new version adds must be decided on here first."""
    plain = {
        "convert_attrs",
        "format_user",
        "format_group",
        "format_longname",
        "channel",
        "connection",
        "env",
        "logger",
    }
    public = {name for name in vars(asyncssh.SFTPServer) if not name.startswith("_")}
    assert public - plain <= set(vars(DropSession))


def test_an_account_that_is_closed_ends_with_the_file_it_is_sending(drop: ADrop) -> None:
    view = replace(drop.acme.view, sftp=_accounts_of(drop))

    async def send(client: asyncssh.SFTPClient) -> None:
        await _put(client, "/bank/before.xml")
        drop.home.write_view(replace(view, sftp=()))
        for _ in range(200):
            await asyncio.sleep(0.05)
            try:
                await client.stat("/bank")
            except asyncssh.SFTPPermissionDenied:
                return
        raise AssertionError("the account stayed open")

    try:
        drop.with_asyncssh("acme", send)
        with pytest.raises(asyncssh.PermissionDenied):
            drop.with_asyncssh("acme", lambda client: client.listdir("/"))
    finally:
        drop.home.write_view(view)
    eventually(lambda: _can_enter(drop))
    assert drop.content("before.xml") == CONTENT


def _can_enter(drop: ADrop) -> bool:
    try:
        return bool(drop.with_asyncssh("acme", lambda client: client.listdir("/")))
    except asyncssh.PermissionDenied:
        return False


# --- What the door knows ----------------------------------------------------------------------------------------------


def test_files_are_sealed_private_and_named_by_their_arrival(drop: ADrop) -> None:
    drop.with_asyncssh("acme", lambda client: _put(client, "/bank/private.xml"))
    row = drop.arrivals()["private.xml"]
    path = drop.acme.prefix / row.path

    assert row.path == f"drop/{row.id}"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert CANARY not in path.read_bytes()


def test_another_tenants_keys_and_the_door_open_nothing(drop: ADrop) -> None:
    drop.with_asyncssh("acme", lambda client: _put(client, "/bank/walled.xml"))
    row = drop.arrivals()["walled.xml"]
    other = drop.home.tenants["other"]
    aad = ContainerAad(Kind.ARRIVAL, drop.acme.ref, row.id, row.source_id)

    with pytest.raises(ContainerForAnotherKey), (drop.acme.prefix / row.path).open("rb") as file:
        read_container(file, other.keys, bytes(row.sealed_key), aad).read()
    with drop.acme.door.connect() as connection, pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
        connection.execute(sa.select(arrival.c.id))


def test_the_home_holds_neither_content_nor_names_nor_a_readable_host_key(drop: ADrop) -> None:
    drop.with_asyncssh("acme", lambda client: _put(client, "/bank/canary-name-77aa.xml"))
    found = [path for path in drop.home.home.root.rglob("*") if path.is_file()]
    assert any("drop" in path.parts for path in found)
    for path in found:
        content = path.read_bytes()
        for secret in (CANARY, b"canary-name-77aa", b"OPENSSH PRIVATE KEY"):
            assert secret not in content, path.name


def test_the_log_shows_no_value(drop: ADrop) -> None:
    log = drop.door.log.read_text()
    assert "file dropped" in log
    for secret in ("canary", ".xml", ".csv", "Traceback"):
        assert secret not in log


# --- Starting, stopping -----------------------------------------------------------------------------------------------


def test_an_upload_whose_connection_was_lost_goes_on_over_the_next_with_openssh(drop: ADrop) -> None:
    asyncio.run(_send_some(drop, "acme", "/bank/resumed.xml", 400_001))
    sent = drop.file("resumed", CONTENT)

    done = drop.with_openssh("acme", f"reput {sent} /bank/resumed.xml\n")

    assert done.returncode == 0, done.stderr
    assert drop.content("resumed.xml") == CONTENT


def test_an_upload_that_still_looks_open_is_taken_over_and_the_old_connection_delivers_nothing(drop: ADrop) -> None:
    async def take_over() -> None:
        async with drop.connect("acme") as one, drop.connect("acme") as two:
            old, new = await one.start_sftp_client(), await two.start_sftp_client()
            file = await old.open("/bank/taken.xml", "wb")
            await file.write(CONTENT[:300_000])
            async with new.open("/bank/taken.xml", "ab") as going_on:
                assert (await new.stat("/bank/taken.xml")).size == 300_000
                with pytest.raises(asyncssh.SFTPFailure, match="another connection"):
                    await file.write(b"late", offset=300_000)
                await going_on.write(CONTENT[300_000:])
            with pytest.raises(asyncssh.SFTPFailure, match="another connection"):
                await file.close()

    asyncio.run(take_over())

    assert drop.content("taken.xml") == CONTENT


def test_what_is_not_sealed_yet_may_be_written_over_and_what_is_sealed_may_not(drop: ADrop) -> None:
    async def write_over(client: asyncssh.SFTPClient) -> None:
        file = await client.open("/bank/over.xml", "wb")
        await file.write(b"a" * 300_000)
        with pytest.raises(asyncssh.SFTPFailure, match="in order"):
            await file.write(b"c", offset=1000)
        with pytest.raises(asyncssh.SFTPFailure):
            await file.close()
        async with client.open("/bank/over.xml", "wb") as file:
            await file.write(b"a" * 300_000)
            await file.write(b"b" * 20_000, offset=290_000)

    drop.with_asyncssh("acme", write_over)

    assert drop.content("over.xml") == b"a" * 290_000 + b"b" * 20_000


async def _send_some(drop: ADrop, user: str, path: str, size: int) -> None:
    """Write a beginning, and lose the connection."""
    connection = await drop.connect(user)
    client = await connection.start_sftp_client()
    file = await client.open(path, "wb")
    await file.write(CONTENT[:size])
    connection.abort()


def test_the_host_key_stays_the_same_and_half_files_are_swept_at_the_start(drop: ADrop) -> None:
    async def leave_half() -> None:
        connection = await drop.connect("acme")
        client = await connection.start_sftp_client()
        file = await client.open("/bank/killed.xml", "wb")
        await file.write(CONTENT[:400_000])
        drop.door.process.kill()
        drop.door.process.wait(10)

    asyncio.run(leave_half())
    assert any(name.endswith(".part") for name in drop.files())
    delivered = drop.arrivals()
    old = drop.door.ready

    drop.door = start_drop(drop.home, drop.folder)

    assert drop.door.ready["fingerprint"] == old["fingerprint"]
    assert not any(name.endswith(".part") for name in drop.files())
    assert drop.files() == {str(row.id) for row in delivered.values()}
    assert drop.with_asyncssh("acme", lambda client: client.stat("/bank/killed.xml")).size == 0  # begun anew

    done = drop.with_openssh("acme", f"reput {drop.file('killed', CONTENT)} /bank/killed.xml\n")

    assert done.returncode == 0, done.stderr
    assert drop.content("killed.xml") == CONTENT


def test_stopping_ends_what_is_half_sent_and_leaves_nothing(drop: ADrop) -> None:
    before = drop.files()

    async def send_until_it_stops() -> int:
        connection = await drop.connect("acme")
        client = await connection.start_sftp_client()
        file = await client.open("/bank/stopped.xml", "wb")
        await file.write(CONTENT[:400_000])
        return await asyncio.to_thread(drop.door.stop)

    assert asyncio.run(send_until_it_stops()) == 0
    assert drop.files() == before
    drop.door = start_drop(drop.home, drop.folder)
