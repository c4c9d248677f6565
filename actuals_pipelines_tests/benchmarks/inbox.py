"""The inbox over HTTPS: `python -m actuals_pipelines_tests.benchmarks.inbox --seconds 5`.

A throwaway home with one tenant, its inbox as `up` starts it, and callers in a second process: asyncio over TLS
connections that stay open, batches prepared beforehand. In the same run, under the same callers and over TLS too: the
same server that reads and checks but stores nothing (`nothing stored`: the limit), and FastAPI with pydantic and an
INSERT a request (`FastAPI`: the peer; of requirements-benchmarks.lock).

How to read it: rates depend on the machine and on what else it does, ratios of one run hardly do. p99 is of what a
caller waits, with all connections busy. `server us` and `database us` are CPU per row: on two cores the callers' own
CPU comes off what is left.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gzip
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

import psutil

from actuals_pipelines.encryption.providers import platform_key
from actuals_pipelines.operations.api_keys import Wanted, create_api_key
from actuals_pipelines.operations.certificates import Certificates, ensure_certificates
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.provision import apply
from actuals_pipelines_tests.benchmarks.stopwatch import server_cpu_seconds, tell
from actuals_pipelines_tests.benchmarks.temporary_home import in_a_process_of_its_own, temporary_home

_STACKS = "actuals_pipelines_tests.benchmarks.inbox_stacks"
_TENANT = """\
name: acme
time_zone: UTC
start: 2026-01-01
sources:
- name: shop
  kind: inbox
  format: ndjson
  mapping: {transaction_id: id, amount: data.amount, currency: data.currency, booked_on: timestamp}
- name: bank
  kind: upload
  format: csv
  mapping: {transaction_id: id, amount: amount, currency: currency, booked_on: day}
packages:
- name: shop_vs_bank
  soll: [{source: shop}]
  ist: [{source: bank}]
"""


@dataclass(frozen=True)
class Load:
    """What callers send: requests prepared beforehand, over connections that stay open."""

    port: int
    ca: str
    token: str
    path: str
    connections: int
    seconds: float
    rows: int  # a request; 1: single posts
    is_zipped: bool = False


@dataclass(frozen=True)
class Told:
    """What the callers saw."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float


def call(load: Load) -> Told:
    """Send for some seconds; runs in a process of its own."""
    return asyncio.run(_call(load))


async def _call(load: Load) -> Told:
    context = ssl.create_default_context(cafile=load.ca)
    waits: list[float] = []
    # Prepared beforehand, so that the callers' CPU is little; singles are made as they are sent.
    prepared = [_request(load) for _ in range(int(40 * load.seconds))] if load.rows > 1 else []
    ends = time.perf_counter() + load.seconds

    async def one_caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", load.port, ssl=context)
        while (began := time.perf_counter()) < ends:
            writer.write(prepared.pop() if prepared else _request(load))
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
                raise SystemExit(f"the server answered {head[:40]!r}: its time would be no measurement")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            waits.append(time.perf_counter() - began)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(one_caller() for _ in range(load.connections)))
    seconds = time.perf_counter() - began
    waits.sort()
    return Told(len(waits), seconds, 1000 * waits[len(waits) // 2], 1000 * waits[len(waits) * 99 // 100])


def _request(load: Load) -> bytes:
    records = [
        {
            "source_id": "shop",
            "id": f"order-{uuid4()}",
            "timestamp": "2026-11-22T10:00:00Z",
            "type": "order",
            "data": {"amount": "12.34", "currency": "EUR", "customer": "c-1042", "reference": "R00001042"},
        }
        for _ in range(load.rows)
    ]
    body = b"\n".join(json.dumps(record).encode() for record in records)
    packed = gzip.compress(body, 1) if load.is_zipped else body
    head = [f"POST {load.path} HTTP/1.1", "host: 127.0.0.1", f"token: {load.token}", f"content-length: {len(packed)}"]
    head.append("content-type: " + ("application/json" if load.rows == 1 else "application/x-ndjson"))
    head += ["content-encoding: gzip"] if load.is_zipped else []
    return "\r\n".join([*head, "", ""]).encode() + packed


def main() -> None:
    """Measure each stack under the same callers."""
    parser = argparse.ArgumentParser(description="The inbox over HTTPS, with its limit and a peer.")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rows", type=int, default=5000, help="a batch")
    asked = parser.parse_args()
    with temporary_home() as platform:
        apply(platform, _TENANT, "acme.yaml")
        key = create_api_key(platform, "acme", Wanted("prod")).text
        files = ensure_certificates(platform.home, platform.provider, datetime.now(UTC))
        single = partial(
            Load, ca=str(files.ca_certificate), token=key, connections=asked.connections, seconds=asked.seconds
        )
        rates: dict[str, float] = {}
        rate, wait = f"{'requests/s':>11} {'rows/s':>10}", f"{'p50 ms':>8} {'p99 ms':>8}"
        tell(f"{'':34} {rate} {wait} {'server us':>10} {'database us':>12}")
        for stack in ("inbox", "nothing stored", "FastAPI"):
            with _running(platform, stack, files) as (port, pid):
                if port is None:
                    tell(f"{stack}: not installed; pip install -r requirements-benchmarks.lock")
                    continue
                measured = partial(_measured, platform, pid)
                rates[stack] = measured(stack, single(port=port, path="/v1/raw_transactions", rows=1))
                if stack == "FastAPI":
                    continue
                for packed in ("", " gzip"):
                    batch = single(port=port, path="/v1/raw_transactions/batch", rows=asked.rows)
                    name = f"{stack}, batches{packed}"
                    rates[name] = measured(name, replace(batch, connections=4, is_zipped=bool(packed)))
        tell(f"single posts: {rates['inbox'] / rates['nothing stored']:.2f} of the same server without storage")
        if "FastAPI" in rates:
            tell(f"single posts: {rates['inbox'] / rates['FastAPI']:.2f} times FastAPI with an INSERT a request")
        ratio = rates["inbox, batches gzip"] / rates["nothing stored, batches gzip"]
        tell(f"batches: {ratio:.2f} of the same server without storage")


@contextmanager
def _running(platform: Platform, stack: str, files: Certificates) -> Iterator[tuple[int | None, int]]:
    """Run a stack as a process of its own, as `up` runs the inbox; its port, None if it is not installed, and pid."""
    doors = base64.b64encode(platform_key(platform.provider, platform.home.uuid, "doors")).decode()
    environment = {**os.environ, "ACTUALS_DOOR_KEY": doors, "ACTUALS_TLS_PASSPHRASE": files.passphrase}
    options = ["--certificate", str(files.certificate), "--key", str(files.key), "--port", "0", "--rate", "1000000"]
    command = [sys.executable, "-m", _STACKS, stack, "--home", str(platform.home.root), *options]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        yield (int(json.loads(line)["url"].rpartition(":")[2]) if line else None), process.pid
    finally:
        process.terminate()
        process.wait(20)


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _measured(platform: Platform, pid: int, name: str, load: Load) -> float:
    in_a_process_of_its_own(call, replace(load, seconds=1.0))  # warm
    server, database = _cpu(pid), server_cpu_seconds(platform.home)
    told = in_a_process_of_its_own(call, load)
    rows = told.requests * load.rows
    server, database = (_cpu(pid) - server) / rows, (server_cpu_seconds(platform.home) - database) / rows
    rate = told.requests / told.seconds
    tell(
        f"{name:34} {rate:11,.0f} {rate * load.rows:10,.0f} {told.p50_ms:8.1f} {told.p99_ms:8.1f} "
        f"{server * 1e6:10.1f} {database * 1e6:12.1f}"
    )
    return rate


if __name__ == "__main__":
    main()
