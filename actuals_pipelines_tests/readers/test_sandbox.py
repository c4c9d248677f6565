"""Reading in a process of its own: the same result, nothing within reach, and every end a refusal that says why."""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from actuals_pipelines.readers import FileEmpty, FileRefused, FormatUnknown, OptionRefused, open_reader
from actuals_pipelines.readers.sandbox import Limits, ReadingLost, read_apart, read_parts_apart
from actuals_pipelines.yaml_text import YamlRefused
from actuals_pipelines_tests.readers import test_bai2, test_berlin_group, test_camt, test_mt940, test_ofx

FILES = {
    "bai2": test_bai2.statement("16,195,6000,Z,B1,C1,Invoice 1/", "16,195,12.30,,,,/"),
    "ofx": test_ofx.document(*(test_ofx.entry(f"-{n}.00", fitid=f"F{n}") for n in range(1, 9_000))),
    "berlin_group": test_berlin_group.answer(booked=[test_berlin_group.ENTRY]),
    "mt940": test_mt940.statement(*[":61:260131C1,00NTRFNONREF\n:86:166?00A?20EREF+E1 SVWZ+b?32C"] * 300).encode(),
    "camt053": test_camt.document(test_camt.statement()),
    "csv": b"id;amount\n1;2,50\n2;broken;row\n" * 2,
    "ndjson": b'{"id": 1, "amount": 2.50}\nno json\n',
}


class _Chunks:
    """A stream that gives these chunks in turn."""

    def __init__(self, chunks: Any) -> None:
        self._chunks = iter(chunks)

    def read(self, _size: int = -1) -> bytes:
        return next(self._chunks, b"")


def test_a_mistake_in_a_profile_s_expression_is_told_as_one_and_is_no_fault_of_the_file() -> None:
    profile = (
        "name: mine\ncolumns: {id: id, amount: amount}\namounts: {columns: amount, decimal: '.'}\n"
        "entry: {currency: \"'EUR'\", amount: amont * 2}\n"
    )

    with pytest.raises(YamlRefused, match=r":4:\d+: expected an expression"):
        list(read_parts_apart(io.BytesIO(b"id,amount\n1,2.00\n"), {}, profile=profile))


@pytest.mark.parametrize("format", FILES)
def test_it_reads_what_the_reader_reads(format: str) -> None:
    here = open_reader(format).read(io.BytesIO(FILES[format]), {})
    expected = here.table()

    apart = read_apart(format, io.BytesIO(FILES[format]), {})

    assert apart.table().equals(expected)
    assert apart.controls == here.controls
    assert apart.rejects == here.rejects
    assert apart.notes == here.notes


@pytest.mark.parametrize(
    ("format", "data", "options", "error"),
    [
        ("csv", b"", {}, FileEmpty),
        ("csv", b"a,b\n", {"quote": "xx"}, OptionRefused),
        ("bai2", b"no BAI2", {}, FileRefused),
        ("mt101", b"", {}, FormatUnknown),
    ],
)
def test_a_refusal_comes_back_as_the_reader_raised_it(
    format: str, data: bytes, options: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        read_apart(format, io.BytesIO(data), options).table()

    assert read_apart("csv", io.BytesIO(b"a,b\n1,2\n"), {}).table().num_rows == 1


def test_an_error_of_the_stream_is_raised_here_and_harms_no_later_reading() -> None:
    def broken() -> Any:
        yield b"a,b\n" + b"1,2\n" * 300_000
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        read_apart("csv", cast("Any", _Chunks(broken())), {}).table()

    assert read_apart("csv", io.BytesIO(b"a,b\n1,2\n"), {}).table().num_rows == 1


def test_a_reading_that_is_given_up_harms_no_later_one() -> None:
    next(read_parts_apart(io.BytesIO(FILES["ofx"]), {}))

    assert [part.format for part in read_parts_apart(io.BytesIO(FILES["bai2"]), {})] == ["bai2"]


def _kill_reading_processes() -> None:
    for child in psutil.Process().children():
        if child.status() != psutil.STATUS_ZOMBIE and any("sandbox_child" in word for word in child.cmdline()):
            child.kill()
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # gone, and not yet collected


def test_a_process_that_was_killed_while_it_waited_is_replaced() -> None:
    read_apart("csv", io.BytesIO(b"a,b\n1,2\n"), {}).table()
    _kill_reading_processes()

    assert read_apart("csv", io.BytesIO(b"a,b\n1,2\n"), {}).table().num_rows == 1


def test_a_process_that_is_killed_from_outside_is_no_fault_of_the_file() -> None:
    reading = read_apart("ofx", io.BytesIO(FILES["ofx"]), {})
    _kill_reading_processes()

    with pytest.raises(ReadingLost, match="killed by signal 9"):
        reading.table()


def test_too_much_memory_is_a_refusal() -> None:
    lines = b'{"id": 1, "amount": 2.50}\n' * 3_000_000

    with pytest.raises(FileRefused, match=r"memory|did not finish"):
        read_apart("ndjson", io.BytesIO(lines), {}, Limits(memory_bytes=64 << 20)).table()


def test_too_much_time_is_a_refusal_that_says_so() -> None:
    endless = itertools.chain([FILES["ofx"][:-40]], itertools.repeat(test_ofx.entry().encode() * 5_000))
    reading = read_apart("ofx", cast("Any", _Chunks(endless)), {}, Limits(cpu_seconds=1))

    with pytest.raises(FileRefused, match="all the CPU time"):
        for _ in reading.batches:
            pass


_ATTEMPTS = """
import json, os, socket, sys
from actuals_pipelines.readers import sandbox_child
sandbox_child._load()
sandbox_child._confine(1 << 30, 10)
def outcome(attempt):
    try:
        attempt()
    except Exception as error:
        return type(error).__name__
    return "done"
os.write(1, json.dumps({
    "open": outcome(lambda: open("/etc/passwd")),
    "open a path of ours": outcome(lambda: open(sys.argv[1])),
    "write": outcome(lambda: open(sys.argv[1] + "x", "w")),
    "connect": outcome(lambda: socket.socket()),
    "start a process": outcome(lambda: os.fork()),
    "look at the parent": outcome(lambda: open("/proc/%d/environ" % os.getppid())),
    "import": outcome(lambda: __import__("sqlite3")),
    "raise its limits": outcome(lambda: __import__("resource").setrlimit(7, (64, 64))),
    "allocate": outcome(lambda: bytearray(8 << 30)),
}).encode())
os._exit(0)
"""


def test_nothing_is_within_reach_of_the_process_that_reads(tmp_path: Path) -> None:
    """The attempts run after the same confinement; RLIMIT_NPROC does not bind root where it may not become nobody."""
    ours = tmp_path / "ours"
    ours.write_text("secret")
    done = subprocess.run(
        [sys.executable, "-c", _ATTEMPTS, str(ours)], capture_output=True, timeout=60, check=True, cwd=tmp_path
    )

    found = json.loads(done.stdout)

    assert [name for name, outcome in found.items() if outcome == "done"] == []


def test_the_process_gets_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTUALS_CANARY", "secret")
    seen = []

    def look() -> Any:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        for child in children:
            name = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"sandbox_child" in name:
                seen.append(Path(f"/proc/{child}/environ").read_bytes())
        yield b"a,b\n1,2\n"

    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        pytest.skip("this kernel does not list a process's children")
    read_apart("csv", cast("Any", _Chunks(look())), {}).table()

    assert seen
    assert not any(b"ACTUALS_CANARY" in environment or b"HOME=" in environment for environment in seen)
