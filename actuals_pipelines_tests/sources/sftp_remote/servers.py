"""sFTP servers to fetch from: OpenSSH's own, one by asyncssh that lies, and a line that breaks."""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import socket
import stat
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


@dataclass(frozen=True)
class AServer:
    """A running server, what it serves and how it is known."""

    port: int
    user: str
    host_key: str
    folder: Path  # what it serves
    log: Path

    def put(self, name: str, content: bytes, *, at: int = 1_700_000_000) -> Path:
        """A file that the sender wrote at that second."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (at, at))
        return path


def make_key(path: Path) -> str:
    """Write a new private key (0600); return its public half, "ssh-ed25519 AAAA..."."""
    pair = Ed25519PrivateKey.generate()
    path.touch(0o600)
    path.write_bytes(pair.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return pair.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@contextmanager
def openssh(root: Path) -> Iterator[AServer]:
    """OpenSSH's sshd as a process of ours, with its own host key; whoever is in `authorized_keys` may log in."""
    program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("OpenSSH's sshd is not installed")
    root.chmod(0o755)
    host_key = make_key(root / "host_key")
    folder = root / "served"
    folder.mkdir()
    (root / "authorized_keys").touch()
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (root / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {root}/host_key\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"PermitRootLogin prohibit-password\nPasswordAuthentication no\nAuthorizedKeysFile {root}/authorized_keys\n"
        "Subsystem sftp internal-sftp\nMaxStartups 100\nLogLevel VERBOSE\n"
    )
    log = root / "sshd.log"
    with log.open("wb") as errors:
        process = subprocess.Popen([program, "-D", "-e", "-f", str(root / "sshd_config")], stderr=errors)
    try:
        end = time.monotonic() + 20
        while "Server listening" not in log.read_text():
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        yield AServer(port, getpass.getuser(), host_key, folder, log)
    finally:
        process.terminate()
        process.wait(20)


class BreakingLine:
    """A TCP proxy that cuts its connections after so many bytes from the server: one entry of `cuts` each, then none.

    With `stall` it keeps them open and silent instead.
    """

    def __init__(self, port: int, cuts: list[int], *, stall: bool = False) -> None:
        self._target, self._cuts, self._stall = port, cuts, stall
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.reached = threading.Event()
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                server = socket.create_connection(("127.0.0.1", self._target))
                cut = self._cuts.pop(0) if self._cuts else None
                threading.Thread(target=self._pump, args=(client, server, None), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, cut), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, cut: int | None) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(65536):
                passed += len(data)
                if cut is not None and passed > cut:
                    self.reached.set()
                    if self._stall:
                        threading.Event().wait()
                    break
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def lying(root: Path, password: str, names: list[bytes]) -> Iterator[AServer]:
    """A server that takes a password, lists names that no disk would have, and calls each a file of 4 bytes."""

    class Lies(asyncssh.SFTPServer):
        async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
            for name in names:
                attributes = asyncssh.SFTPAttrs(size=4, permissions=stat.S_IFREG | 0o644)
                yield asyncssh.SFTPName(name, attrs=attributes)

    class Door(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, given: str) -> bool:
            return given == password

    host_key = make_key(root / "host_key")
    loop = asyncio.new_event_loop()
    started = loop.run_until_complete(
        asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[str(root / "host_key")],
            server_factory=Door,
            sftp_factory=lambda channel: Lies(channel, chroot=str(root)),
        )
    )
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield AServer(started.get_port(), "anybody", host_key, root, root / "no log")
    finally:
        started.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
