"""Fetching by sFTP: `python -m actuals_pipelines_tests.benchmarks.sftp_remote --mb 200 --files 2000`.

One sshd of ours serves a large file and many small ones. `sftp` is OpenSSH's client, which writes them plain and
unsynced; `fetch` is ours: listed, read, hashed, sealed, synced, and in the catalogue with its book, so that OK means
durable; `read` is ours without all that, the bytes thrown away.

How to read it: wall and CPU seconds of the client, median of the rounds, which take turns; `ratio` is OpenSSH's wall
over ours, so more than 1 is faster. Connecting is in all of them. On a busy machine look at CPU.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from actuals_pipelines.database import units
from actuals_pipelines.domain.source import Source
from actuals_pipelines.operations.fetch import fetch
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.operations.provision import apply
from actuals_pipelines.operations.remotes import accept_host_key, open_remote, public_key
from actuals_pipelines.settings import RemoteAccess
from actuals_pipelines.sources.sftp_remote import fingerprint
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines_tests.benchmarks.stopwatch import tell
from actuals_pipelines_tests.benchmarks.temporary_home import temporary_home
from actuals_pipelines_tests.sources.sftp_remote.servers import AServer, make_key, openssh

HERE = RemoteAccess(allow_private=True)
SMALL_BYTES = 10_000
TENANT = """\
name: acme
sources:
- name: bank
  kind: sftp_remote
  format: csv
  connection: {{host: 127.0.0.1, port: {port}, user: {user}, ready: renamed}}
  mapping: {{row_id: Id, transaction_id: Order, booked_on: Day, amount: Amount, currency: Currency}}
"""


def main() -> None:
    """Measure both shapes and print."""
    parser = argparse.ArgumentParser(description="Fetching by sFTP, against OpenSSH's client.")
    parser.add_argument("--mb", type=int, default=200)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="actuals-benchmark-") as folder, openssh(Path(folder)) as server:
        (server.folder / "large").mkdir()
        (server.folder / "large" / "large.csv").write_bytes(os.urandom(asked.mb << 20))
        (server.folder / "small").mkdir()
        for number in range(asked.files):
            (server.folder / "small" / f"{number:06}.csv").write_bytes(os.urandom(SMALL_BYTES))
        with temporary_home() as platform:
            apply(platform, TENANT.format(port=server.port, user=server.user), "acme.yaml")
            with load_tenant(platform.home, "acme").opened("benchmark") as environment:
                [source] = environment.tenant.sources
                accept_host_key(environment, source, fingerprint(server.host_key), access=HERE)
                client_key = make_key(Path(folder) / "client_key")
                keys = f"{public_key(environment, source)}\n{client_key}\n"
                (Path(folder) / "authorized_keys").write_text(keys)
                for name, many in (("large", f"{asked.mb} MB"), ("small", f"{asked.files:,} files of 10 kB")):
                    _compare(server, environment, source, name, many, rounds=asked.rounds)


def _compare(
    server: AServer, environment: TenantEnvironment, source: Source, name: str, many: str, *, rounds: int
) -> None:
    folder = str(server.folder / name)
    source = replace(source, connection={**source.connection, "folder": folder})
    ways: dict[str, Callable[[int], None]] = {
        "sftp": lambda number: _openssh(server, folder),
        "fetch": lambda number: _fetch(environment, source, folder, number),
        "read": lambda number: _read(environment, source),
    }
    took: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for number in range(rounds):
        for way, run in ways.items():
            wall, cpu = time.perf_counter(), _cpu_seconds()
            run(number)
            took[way].append((time.perf_counter() - wall, _cpu_seconds() - cpu))
    tell(f"{many}, median of {rounds}")
    peer = statistics.median(wall for wall, _ in took["sftp"])
    for way, each in took.items():
        wall, cpu = (statistics.median(column) for column in zip(*each, strict=True))
        tell(f"  {way:6} {wall:8.2f} s wall {cpu:8.2f} s CPU   ratio {peer / wall:5.2f}")


def _openssh(server: AServer, folder: str) -> None:
    with tempfile.TemporaryDirectory(dir=server.folder.parent) as target:
        known = Path(target) / "known_hosts"
        known.write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
        command = [
            *("sftp", "-q", "-F", "/dev/null", "-oStrictHostKeyChecking=yes", f"-oUserKnownHostsFile={known}"),
            *(
                "-oIdentitiesOnly=yes",
                "-oCiphers=aes128-gcm@openssh.com",
                "-i",
                str(server.folder.parent / "client_key"),
            ),
            *("-P", str(server.port), "-b", "-", f"{server.user}@127.0.0.1"),
        ]
        batch = f"lcd {target}\nget {folder}/*.csv\n"
        subprocess.run(command, input=batch, text=True, check=True, capture_output=True)


def _fetch(environment: TenantEnvironment, source: Source, folder: str, number: int) -> None:
    for path in Path(folder).iterdir():  # another version, which the book does not know
        os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))
    now = datetime.now(UTC)
    landed = fetch(environment, source, (now.date(),), access=HERE, now=now)
    assert len(landed) == len(os.listdir(folder))


def _read(environment: TenantEnvironment, source: Source) -> None:
    with environment.engine.begin() as connection:
        source_id = units.source_id(connection, source.name)
    opened = open_remote(environment, source, source_id, HERE)
    with opened.connect() as remote:
        for _, chunks in remote.read(remote.list(opened.folder)):
            for _ in chunks:
                pass


def _cpu_seconds() -> float:
    """Of this process and of the children it has waited for: OpenSSH's client, with its ssh."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main()
