"""The sFTP drop beside OpenSSH's sshd: `python -m actuals_pipelines_tests.benchmarks.sftp_drop`.

Both servers run at once, on the same disk, for the same clients in turn: one large file and many small ones (10 kB)
with OpenSSH's `sftp -b`, over one connection and over several, and with asyncssh, 64 files at once over one connection.
The drop seals each file, syncs it and commits its row before it answers; sshd writes in clear and syncs nothing.

How to read it: wall seconds are the median of the rounds, connecting included; `ratio` is sshd's over the drop's, so
1.0 is as fast. `CPU s` are the drop process's own, of one round. A client that waits for each answer before its next
file shows what one sync and one commit cost on this disk; the others show the group commit. `fsync` is the median of
50 syncs of a small new file in the same minute: on a busy disk look at it first.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import psutil
import uvloop

from actuals_pipelines.encryption.providers import platform_key
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.provision import apply
from actuals_pipelines_tests.benchmarks.stopwatch import interleaved, tell
from actuals_pipelines_tests.benchmarks.temporary_home import temporary_home

SMALL_BYTES = 10_000
AT_ONCE = 64

TENANT = """\
name: bench
sftp:
- {{user: bench, public_keys: [{key}]}}
sources:
- {{name: bank, kind: sftp, format: camt053}}
"""


@dataclass(frozen=True)
class Server:
    """A server, and where in it the files go."""

    name: str
    port: int
    user: str
    folder: str
    process: int


@dataclass
class Bench:
    """The clients' side: keys, files to send, and a number that makes each round's names new."""

    folder: Path
    connections: int
    round: int = 0

    def ssh(self, server: Server) -> list[str]:
        """The command of OpenSSH's client, batch on standard input."""
        return [
            *(
                "sftp",
                "-q",
                "-F",
                "/dev/null",
                "-oBatchMode=yes",
                "-oIdentitiesOnly=yes",
                "-oStrictHostKeyChecking=yes",
            ),
            *(f"-oUserKnownHostsFile={self.folder / 'known_hosts'}", "-oCiphers=aes256-gcm@openssh.com"),
            *("-i", str(self.folder / "id"), "-P", str(server.port), "-b", "-", f"{server.user}@127.0.0.1"),
        ]

    def target(self, server: Server, name: str) -> str:
        """A name that no round used before."""
        return f"{server.folder}/{self.round}-{name}"

    def with_openssh(self, server: Server, files: list[Path], connections: int) -> None:
        """Send files with as many clients as connections."""
        self.round += 1
        running = []
        for number in range(connections):
            batch = "".join(f"put {path} {self.target(server, path.name)}\n" for path in files[number::connections])
            client = subprocess.Popen(self.ssh(server), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
            assert client.stdin is not None
            client.stdin.write(batch)
            client.stdin.close()
            running.append(client)
        if any(client.wait(600) for client in running):
            raise RuntimeError(f"a client failed at {server.name}")

    def with_asyncssh(self, server: Server, files: list[Path]) -> None:
        """Send files over one connection, many at once."""
        self.round += 1

        async def send() -> None:
            places = asyncio.Semaphore(AT_ONCE)
            async with (
                asyncssh.connect(
                    "127.0.0.1",
                    server.port,
                    username=server.user,
                    client_keys=[str(self.folder / "id")],
                    known_hosts=str(self.folder / "known_hosts"),
                    config=None,
                    encryption_algs=["aes256-gcm@openssh.com"],
                ) as connection,
                connection.start_sftp_client() as client,
            ):

                async def put(path: Path) -> None:
                    async with places:
                        await client.put(str(path), self.target(server, path.name))

                await asyncio.gather(*(put(path) for path in files))

        uvloop.run(send())


def main() -> None:
    """Start both servers, send, compare."""
    parser = argparse.ArgumentParser(description="The sFTP drop beside OpenSSH's sshd.")
    parser.add_argument("--mib", type=int, default=200, help="size of the large file")
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with temporary_home() as platform, tempfile.TemporaryDirectory(prefix="actuals-benchmark-") as folder:
        bench = Bench(Path(folder), asked.connections)
        large, small = _files_to_send(bench.folder, asked.mib, asked.files)
        key = _key_pair(bench.folder / "id")
        apply(platform, TENANT.format(key=key), "bench.yaml")
        with _sshd(bench.folder) as sshd, _drop(platform, bench.folder) as drop:
            tell(f"fsync of a small new file: {_sync_milliseconds(bench.folder):.2f} ms")
            tell(f"{'':44} {'sshd s':>9} {'drop s':>9} {'CPU s':>9} {'drop /s':>10} {'ratio':>7}")

            def compare(name: str, size: float, do: Callable[[Server], None]) -> None:
                before = psutil.Process(drop.process).cpu_times()
                steps = interleaved(asked.rounds, sshd=lambda: do(sshd), drop=lambda: do(drop))
                theirs, ours = steps["sshd"].wall_seconds, steps["drop"].wall_seconds
                after = psutil.Process(drop.process).cpu_times()
                cpu = (after.user + after.system - before.user - before.system) / asked.rounds
                tell(f"{name:44} {theirs:9.2f} {ours:9.2f} {cpu:9.2f} {size / ours:10,.0f} {theirs / ours:7.2f}")

            compare(f"one file of {asked.mib} MiB, sftp -b", asked.mib, lambda to: bench.with_openssh(to, [large], 1))
            compare(f"one file of {asked.mib} MiB, asyncssh", asked.mib, lambda to: bench.with_asyncssh(to, [large]))
            many = f"{asked.files} files"
            compare(f"{many}, asyncssh, {AT_ONCE} at once", asked.files, lambda to: bench.with_asyncssh(to, small))
            for count in (asked.connections, 1):
                name = f"{many}, sftp -b, {count} connection{'s' * (count > 1)}"
                compare(name, asked.files, lambda to, count=count: bench.with_openssh(to, small, count))  # type: ignore[misc]
            tell(f"fsync of a small new file: {_sync_milliseconds(bench.folder):.2f} ms")


def _files_to_send(folder: Path, mib: int, count: int) -> tuple[Path, list[Path]]:
    large = folder / "large.xml"
    with large.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1 << 20))
    many = folder / "many"
    many.mkdir()
    small = [many / f"{number:05}.xml" for number in range(count)]
    for path in small:
        path.write_bytes(os.urandom(SMALL_BYTES))
    return large, small


def _key_pair(path: Path) -> str:
    key = asyncssh.generate_private_key("ssh-ed25519")
    path.write_bytes(key.export_private_key("openssh"))
    path.chmod(0o600)
    return key.export_public_key().decode().strip()


def _sync_milliseconds(folder: Path) -> float:
    taken = []
    for number in range(50):
        begun = time.perf_counter()
        with (folder / f"sync{number}").open("wb") as file:
            file.write(bytes(SMALL_BYTES))
            file.flush()
            os.fsync(file.fileno())
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1000


@contextmanager
def _sshd(folder: Path) -> Iterator[Server]:
    """OpenSSH's server for this user alone, on loopback."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise SystemExit("OpenSSH's sshd is not installed: `make clients` does so as root.")
    host, port, target = _key_pair(folder / "host"), _free_port(), folder / "sshd"
    target.mkdir()
    (folder / "authorized_keys").write_text(asyncssh.read_private_key(folder / "id").export_public_key().decode())
    configuration = f"""\
        Port {port}
        ListenAddress 127.0.0.1
        HostKey {folder / "host"}
        PidFile none
        UsePAM no
        StrictModes no
        PermitRootLogin prohibit-password
        PasswordAuthentication no
        AuthorizedKeysFile {folder / "authorized_keys"}
        Subsystem sftp internal-sftp
        MaxStartups 200
        """
    (folder / "sshd_config").write_text(configuration)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it locks its unprivileged half in
    with (folder / "sshd.log").open("w") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    try:
        _know(folder, port, host)
        _wait_for(port)
        yield Server("sshd", port, os.environ.get("USER", "root"), str(target), process.pid)
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def _drop(platform: Platform, folder: Path) -> Iterator[Server]:
    """The drop as `up` runs it; no limit but the machine's."""
    key = base64.b64encode(platform_key(platform.provider, platform.home.uuid, "doors")).decode()
    command = [sys.executable, "-m", "actuals_pipelines.sources.sftp", "--home", str(platform.home.root)]
    limits = ["--port", "0", "--per-second", "1000", "--free-mib", "1"]
    with (folder / "drop.log").open("w") as log:
        process = subprocess.Popen(
            [*command, *limits],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "ACTUALS_DOOR_KEY": key},
        )
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        port = int(ready["url"].rpartition(":")[2])
        _know(folder, port, ready["host_key"])
        yield Server("drop", port, "bench", "/bank", process.pid)
    finally:
        process.terminate()
        process.wait(20)


def _know(folder: Path, port: int, key: str) -> None:
    with (folder / "known_hosts").open("a") as known:
        known.write(f"[127.0.0.1]:{port} {' '.join(key.split()[:2])}\n")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    main()
