"""What encryption costs: `python -m actuals_pipelines_tests.benchmarks.encryption [ROWS]`. Needs no home and no server.

Each pair does the same work with and without encryption, in turn, and the medians of three rounds are compared:

- Parquet: `store.files` against pyarrow with the same columns, row groups, compression and fsync, without encryption
  and without the digest that a catalogue row carries. What is left over is the price of the whole file's protection.
- container: `encryption.container` against a plain file with fsync and its SHA-256, which a catalogue needs anyway.
- inbox event: reading an event (parse, canonical form, card numbers) and sealing it under the minute's key, against
  reading alone, which the door does anyway; by HPKE to the public key for each event shows what the minute's key saves.

How to read it: `ratio` near 1 means that encryption is not what the time goes to. Reading is from the page cache.
On a busy machine look at CPU.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import cast
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from actuals_pipelines.encryption import hpke
from actuals_pipelines.encryption.container import ContainerAad, ContainerDigest, ContainerWriter, Kind, read_container
from actuals_pipelines.encryption.door import MinuteSealer
from actuals_pipelines.encryption.keyring import TenantKeys
from actuals_pipelines.sources.inbox.raw_transactions import read_one
from actuals_pipelines.store import files
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines_tests.benchmarks.stopwatch import Step, interleaved, tell
from actuals_pipelines_tests.benchmarks.store import payments
from actuals_pipelines_tests.store.environment import Files, a_tenant_with_files

ROUNDS = 3
CONTAINER_BYTES = 128 << 20
PIECE_BYTES = 1 << 20
EVENTS = 10_000

Pair = tuple[str, Step, Step, str]
"""What, plain, sealed, the size of it."""


def main() -> None:
    """Measure each pair and print."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    with tempfile.TemporaryDirectory(prefix="actuals-benchmark-") as folder:
        tenant = a_tenant_with_files(Path(folder))
        pairs = [*parquet(tenant, rows), *container(tenant), *events(tenant.keys)]
    tell(f"{'':28} {'plain s':>9} {'sealed s':>9} {'plain CPU':>9} {'sealed CPU':>10}  of what")
    for what, plain, sealed, size in pairs:
        wall = f"{plain.wall_seconds:9.3f} {sealed.wall_seconds:9.3f}"
        tell(f"{what:28} {wall} {plain.cpu_seconds:9.3f} {sealed.cpu_seconds:10.3f}  {size}")
    tell("ratio sealed / plain, wall (CPU): " + ", ".join(_ratio(*pair) for pair in pairs))


def _ratio(what: str, plain: Step, sealed: Step, _: str) -> str:
    return f"{what} {sealed.wall_seconds / plain.wall_seconds:.2f} ({sealed.cpu_seconds / plain.cpu_seconds:.2f})"


def parquet(tenant: Files, rows: int) -> list[Pair]:
    """Write and read one table of transactions."""
    env = cast(TenantEnvironment, tenant)  # files need its keys and folder alone
    table, owner, generation = payments(rows, "shop"), uuid4(), uuid4()
    plain = tenant.prefix / "plain.parquet"
    written: list[files.DataFile] = []

    def write_sealed() -> None:
        written.append(files.write(env, files.FileKind.TRANSACTIONS, owner, generation, table))

    wrote = interleaved(ROUNDS, plain=lambda: _write_plain(plain, table), sealed=write_sealed)
    read = interleaved(ROUNDS, plain=lambda: pq.read_table(plain), sealed=lambda: files.read(env, written[-1]))
    size = f"{rows:,} rows, {written[-1].size_bytes / 2**20:.0f} MiB"
    return [
        ("write Parquet", wrote["plain"], wrote["sealed"], size),
        ("read Parquet", read["plain"], read["sealed"], size),
    ]


def _write_plain(path: Path, table: pa.Table) -> None:
    with path.open("wb") as file:
        with pq.ParquetWriter(file, table.schema, **files._layout(table.schema)) as writer:
            writer.write_table(table, row_group_size=files._ROW_GROUP)
        file.flush()
        os.fsync(file.fileno())


def container(tenant: Files) -> list[Pair]:
    """Write and read one large file in pieces, as landing does."""
    pieces = [os.urandom(PIECE_BYTES)] * (CONTAINER_BYTES // PIECE_BYTES)
    plain, sealed = tenant.prefix / "plain", tenant.prefix / "sealed"
    aad = ContainerAad(Kind.RAW, tenant.ref, uuid4(), uuid4())
    digests: list[ContainerDigest] = []

    def write_plain() -> None:
        digest = hashlib.sha256()
        with plain.open("wb") as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    def write_sealed() -> None:
        with sealed.open("wb") as file:
            writer = ContainerWriter(file, tenant.keys.public_key, aad)
            for piece in pieces:
                writer.write(piece)
            digests.append(writer.finish())
            file.flush()
            os.fsync(file.fileno())

    def read_plain() -> None:
        digest = hashlib.sha256()
        with plain.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)

    def read_sealed() -> None:
        with read_container(
            sealed.open("rb"), tenant.keys, digests[-1].sealed_key, aad, sha256=digests[-1].sha256
        ) as stream:
            while stream.read(PIECE_BYTES):
                pass

    wrote = interleaved(ROUNDS, plain=write_plain, sealed=write_sealed)
    read = interleaved(ROUNDS, plain=read_plain, sealed=read_sealed)
    size = f"{CONTAINER_BYTES >> 20} MiB"
    return [
        ("write container", wrote["plain"], wrote["sealed"], size),
        ("read container", read["plain"], read["sealed"], size),
    ]


def events(keys: TenantKeys) -> list[Pair]:
    """Seal the events of a busy minute, beside reading them."""
    bodies = [_event(number) for number in range(EVENTS)]
    row_ids, source_id = [uuid4() for _ in bodies], uuid4()
    key = MinuteSealer(keys.public_key, keys.ref).current(datetime.now(UTC))

    def seal_each(seal: Callable[[int], object]) -> Callable[[], None]:
        def do() -> None:
            for number in range(EVENTS):
                seal(number)

        return do

    took = interleaved(
        ROUNDS,
        read=seal_each(lambda n: read_one(bodies[n])),
        read_and_seal=seal_each(lambda n: key.seal(row_ids[n], source_id, read_one(bodies[n]).canonical)),
        read_and_hpke=seal_each(lambda n: hpke.seal(keys.public_key, read_one(bodies[n]).canonical, b"benchmark")),
    )
    size = f"{EVENTS:,} events of {len(bodies[0])} bytes"
    return [
        ("inbox event", took["read"], took["read_and_seal"], size),
        ("inbox event, each by HPKE", took["read"], took["read_and_hpke"], size),
    ]


def _event(number: int) -> bytes:
    """A shop's order, as long as the demo's."""
    data = {"order_id": f"o-{number}", "reference": f"ORD-{number:010d}", "total": "49.95", "currency": "EUR"}
    body = {"source_id": "shop", "id": f"evt-{number:08d}", "timestamp": "2026-01-12T10:00:00Z", "type": "sale"}
    return json.dumps({**body, "data": {**data, "country": "NL"}}).encode()


if __name__ == "__main__":
    main()
