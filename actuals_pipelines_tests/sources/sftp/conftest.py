"""A running drop with accounts of two tenants, and three real clients: asyncssh, paramiko and OpenSSH's `sftp`."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import asyncssh
import paramiko
import pytest
import sqlalchemy as sa

from actuals_pipelines.database.tables import arrival
from actuals_pipelines.domain.tenant import SftpKey
from actuals_pipelines.encryption.columns import open_from_door
from actuals_pipelines.encryption.container import NIL, ContainerAad, Kind, read_container
from actuals_pipelines.tenants.projections import SftpView
from actuals_pipelines_tests.sources.conftest import ADoor, AHome, ATenant

T = TypeVar("T")

TEST_LIMITS = ("--file-mib", "4", "--free-mib", "1", "--per-second", "1000", "--failed-logins", "1000")


@dataclass
class ADrop:
    """A running drop and the key files of its users."""

    home: AHome
    door: ADoor
    folder: Path  # key files, known_hosts, files to send

    @property
    def acme(self) -> ATenant:
        return self.home.tenants["acme"]

    def key(self, user: str) -> Path:
        return self.folder / f"{user}.key"

    def with_asyncssh(self, user: str, use: Callable[[asyncssh.SFTPClient], Awaitable[T]], key: str = "") -> T:
        """Connect strictly, do something, and disconnect."""

        async def run() -> T:
            async with self.connect(user, key) as connection, connection.start_sftp_client() as client:
                return await use(client)

        return asyncio.run(run())

    def connect(self, user: str, key: str = "") -> Any:
        return asyncssh.connect(
            "127.0.0.1",
            self.door.port,
            username=user,
            client_keys=[str(self.key(key or user))],
            known_hosts=str(self.folder / "known_hosts"),
            config=None,
        )

    def with_openssh(self, user: str, batch: str, key: str = "") -> subprocess.CompletedProcess[str]:
        """Run a batch of commands with OpenSSH's client; skips where there is none."""
        command = [
            *("sftp", "-q", "-F", "/dev/null", "-oStrictHostKeyChecking=yes", "-oBatchMode=yes"),
            *("-oIdentitiesOnly=yes", f"-oUserKnownHostsFile={self.folder / 'known_hosts'}"),
            *("-i", str(self.key(key or user)), "-P", str(self.door.port), "-b", "-", f"{user}@127.0.0.1"),
        ]
        if shutil.which("sftp") is None:
            pytest.skip("OpenSSH's sftp is not installed")
        return subprocess.run(command, input=batch, capture_output=True, text=True, timeout=60, check=False)

    def with_paramiko(self, user: str) -> paramiko.SSHClient:
        client = paramiko.SSHClient()
        client.load_host_keys(str(self.folder / "known_hosts"))
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        client.connect(
            "127.0.0.1",
            self.door.port,
            user,
            key_filename=str(self.key(user)),
            allow_agent=False,
            look_for_keys=False,
        )
        return client

    def file(self, name: str, content: bytes) -> Path:
        """A file on the customer's side."""
        path = self.folder / name
        path.write_bytes(content)
        return path

    def arrivals(self, tenant: str = "acme") -> dict[str, sa.Row[Any]]:
        """Name -> row, as the tenant's own process sees it."""
        its = self.home.tenants[tenant]
        with its.app.connect() as connection:
            rows = connection.execute(sa.select(arrival)).all()
        return {open_from_door(its.keys, "arrival.name", row.id, bytes(row.name_sealed)).decode(): row for row in rows}

    def content(self, name: str, tenant: str = "acme") -> bytes:
        """What the tenant's private key opens."""
        its, row = self.home.tenants[tenant], self.arrivals(tenant)[name]
        aad = ContainerAad(Kind.ARRIVAL, its.ref, row.id, row.source_id or NIL)
        file = (its.prefix / row.path).open("rb")
        with read_container(file, its.keys, bytes(row.sealed_key), aad, sha256=row.container_sha256) as opened:
            return opened.read()

    def files(self, tenant: str = "acme") -> set[str]:
        """Every file in the tenant's drop folder."""
        folder = self.home.tenants[tenant].prefix / "drop"
        return {path.name for path in folder.iterdir()} if folder.exists() else set()


@pytest.fixture(scope="module")
def drop(a_home: AHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ADrop]:
    """A running drop; `acme` may drop for two sources, `one` for one, `other` belongs to the other tenant."""
    folder = tmp_path_factory.mktemp("senders")
    lines = {}
    for user in ("acme", "one", "other", "stranger"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(str(folder / f"{user}.key"))
        (folder / f"{user}.key").chmod(0o600)
        lines[user] = key.export_public_key().decode()
    acme, other = a_home.tenants["acme"], a_home.tenants["other"]
    keys = {user: (SftpKey(line),) for user, line in lines.items()}
    accounts = (SftpView("acme", keys["acme"], ("bank", "psp")), SftpView("one", keys["one"], ("bank",)))
    a_home.write_view(replace(acme.view, sftp=accounts))
    a_home.write_view(replace(other.view, sftp=(SftpView("other", keys["other"], ("bank",)),)))
    running = ADrop(a_home, start_drop(a_home, folder), folder)
    yield running
    if running.door.process.poll() is None:
        assert running.door.stop() == 0


def start_drop(a_home: AHome, folder: Path, *more: str, file_limit: int | None = None) -> ADoor:
    """Start a drop process and pin its host key. `file_limit`: no file of the process may have more bytes."""
    limit = {} if file_limit is None else {"ACTUALS_TEST_FILE_LIMIT": str(file_limit)}
    module = None if file_limit is None else "actuals_pipelines_tests.sources.sftp.limited_drop"
    door = a_home.start_door("sftp", *TEST_LIMITS, *more, module=module, **limit)
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{door.port} {door.ready['host_key']}\n")
    return door
