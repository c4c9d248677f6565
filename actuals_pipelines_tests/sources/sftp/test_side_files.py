"""Folders that the sender named, side files, and passwords: what a tenant's file switches on."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import replace

import asyncssh
import paramiko
import pytest

from actuals_pipelines.domain.source import SideFile
from actuals_pipelines.domain.tenant import SftpKey
from actuals_pipelines.operations.sftp_passwords import SftpPassword, new_sftp_password
from actuals_pipelines.sources.sftp.server import DropLimits
from actuals_pipelines.tenants.projections import SftpView
from actuals_pipelines_tests.sources.conftest import AHome, eventually
from actuals_pipelines_tests.sources.sftp.conftest import ADrop

CONTENT = b"id;amount\n1;2.50\n" * 50_000
PASSWORD: SftpPassword = new_sftp_password()


@pytest.fixture(scope="module")
def strict(drop: ADrop, a_home: AHome) -> Iterator[ADrop]:
    """`acme`'s bank asks for digests and its PSP for .done; `acme` may enter with a password from this machine."""
    acme = drop.acme
    key = SftpKey(asyncssh.read_private_key(drop.key("acme")).export_public_key().decode(), "tests")
    here = SftpView("acme", (key,), ("bank", "psp"), ("127.0.0.0/8",), PASSWORD.password_hash)
    elsewhere = SftpView("elsewhere", (key,), ("bank",), ("192.0.2.0/24",), PASSWORD.password_hash)
    sources = {
        **acme.view.sources,
        "bank": replace(acme.view.sources["bank"], side_file=SideFile.SHA256),
        "psp": replace(acme.view.sources["psp"], folder="Adyen - Settlement details", side_file=SideFile.DONE),
    }
    seen = drop.door.log.read_text().count("views taken")
    a_home.write_view(replace(acme.view, sftp=(here, elsewhere), sources=sources))
    eventually(lambda: drop.door.log.read_text().count("views taken") > seen)
    yield drop


async def _put(client: asyncssh.SFTPClient, path: str, content: bytes) -> None:
    async with client.open(path, "wb") as file:
        await file.write(content)


def test_a_file_counts_when_its_digest_came_and_fits(strict: ADrop) -> None:
    line = f"{hashlib.sha256(CONTENT).hexdigest()}  day.xml\n".encode()

    strict.with_asyncssh("acme", lambda client: _put(client, "/bank/day.xml", CONTENT))
    assert "day.xml" not in strict.arrivals()
    strict.with_asyncssh("acme", lambda client: _put(client, "/bank/day.xml.sha256", line))

    assert strict.content("day.xml") == CONTENT
    assert "day.xml.sha256" not in strict.arrivals()


@pytest.mark.parametrize("side", [hashlib.sha256(b"other").hexdigest().encode(), b"", b"no digest"])
def test_a_file_that_is_not_what_its_digest_says_is_refused_and_told(strict: ADrop, side: bytes) -> None:
    before = strict.files()
    strict.with_asyncssh("acme", lambda client: _put(client, "/bank/wrong.xml", CONTENT))

    with pytest.raises(asyncssh.SFTPFailure, match="not what its"):
        strict.with_asyncssh("acme", lambda client: _put(client, "/bank/wrong.xml.sha256", side))

    assert "wrong.xml" not in strict.arrivals()
    assert strict.files() == before


def test_a_side_file_alone_is_refused(strict: ADrop) -> None:
    with pytest.raises(asyncssh.SFTPNoSuchFile, match="stands beside"):
        strict.with_asyncssh("acme", lambda client: _put(client, "/bank/alone.xml.sha256", b"0" * 64))


def test_everything_under_temporary_names_and_renamed_arrives_too(strict: ADrop) -> None:
    async def send(client: asyncssh.SFTPClient) -> list[str]:
        folder = "/Adyen - Settlement details"
        for name, content in (("late.csv", CONTENT), ("late.csv.done", b"")):
            await _put(client, f"{folder}/{name}.filepart", content)
            await client.rename(f"{folder}/{name}.filepart", f"{folder}/{name}")
        assert (await client.stat("/psp/late.csv")).size == len(CONTENT)  # the source's own name is a folder, too
        return [str(name) for name in await client.listdir("/")]

    root = strict.with_asyncssh("acme", send)

    assert "Adyen - Settlement details" in root
    assert "psp" not in root
    assert strict.arrivals()["late.csv"].source_id == strict.acme.source_id("psp")
    assert strict.content("late.csv") == CONTENT


def _password_login(strict: ADrop, user: str, password: str) -> None:
    transport = paramiko.Transport(("127.0.0.1", strict.door.port))
    try:
        transport.start_client(timeout=20)
        transport.auth_password(user, password, fallback=False)
        assert paramiko.SFTPClient.from_transport(transport) is not None
    finally:
        transport.close()


def test_a_password_enters_where_it_is_switched_on_and_from_where_it_may(strict: ADrop) -> None:
    _password_login(strict, "acme", PASSWORD.password)
    with pytest.raises(paramiko.AuthenticationException):
        _password_login(strict, "acme", PASSWORD.password[:-1])
    with pytest.raises(paramiko.BadAuthenticationType):  # not even asked for: another network
        _password_login(strict, "elsewhere", PASSWORD.password)
    with pytest.raises(asyncssh.PermissionDenied):  # nor is its key
        strict.with_asyncssh("elsewhere", lambda client: client.listdir("/"), key="acme")


def test_a_connection_may_not_go_on_guessing(strict: ADrop) -> None:
    class Guesser(asyncssh.SSHClient):
        guesses = 0

        def password_auth_requested(self) -> str:
            Guesser.guesses += 1
            return "guess"

    async def guess() -> None:
        await asyncssh.connect(
            "127.0.0.1",
            strict.door.port,
            username="acme",
            client_factory=Guesser,
            client_keys=None,
            known_hosts=str(strict.folder / "known_hosts"),
            config=None,
        )

    with pytest.raises(asyncssh.DisconnectError):
        asyncio.run(asyncio.wait_for(guess(), 60))
    assert Guesser.guesses == DropLimits().attempts


def test_neither_password_nor_hash_is_logged(strict: ADrop) -> None:
    log = strict.door.log.read_text()
    for secret in (PASSWORD.password, "argon2", "guess", "day.xml"):
        assert secret not in log
