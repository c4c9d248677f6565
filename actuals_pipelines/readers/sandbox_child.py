"""The process that reads hostile files: started bare by `sandbox.py`, it forks a confined child for each file.

The first process only loads libraries and forks. Its child cannot open a file or a socket any more (no descriptor is
left to it), start a process, write a file or outgrow its memory and CPU; as root it becomes nobody first. Where the
kernel has Landlock, other processes are out of its reach too. All that it has is the file's bytes, which it asks for.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import encodings
import importlib
import io
import json
import os
import pkgutil
import resource
import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Any, BinaryIO, cast

import pyarrow as pa
from pyarrow import csv as arrow_csv

from actuals_pipelines import readers
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.readers.parts import Part, read_parts
from actuals_pipelines.readers.reading import FileRefused
from actuals_pipelines.readers.wire import Frame, PipeClosed, receive, send

_LOADED_LATE = ("numpy.ma", "_strptime", "stringprep")  # by other modules, when first asked for
_SMALLEST_PROFILE = """
name: smallest
title: what loads the engine
columns: {id: id, day: day, amount: amount}
amounts: {columns: amount, decimal: "."}
dates: {columns: day, formats: "%Y-%m-%d"}
entry: {currency: "'EUR'", transaction_id: id, booked_on: day, kind: payment, amount: amount}
"""
_IN, _OUT = 0, 1
_CHUNK = 1 << 20
_NOBODY = 65_534
_FAILED = 1
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38  # linux/prctl.h
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446  # the same on every architecture
_LANDLOCK_FILES = (1 << 13) - 1  # all that the first version handles


def main() -> None:
    """Wait for requests until the parent is gone; one child reads one file."""
    _load()
    send(_OUT, Frame.READY)
    while True:
        try:
            kind, request = receive(_IN)
        except PipeClosed:
            return
        if kind is not Frame.REQUEST:
            sys.exit(_FAILED)
        asked = json.loads(request)
        if _needs_profiles(asked):
            _load_profiles()
        child = os.fork()
        if child == 0:
            _read_and_leave(asked)
        _, status = os.waitpid(child, 0)
        if status != 0:  # it may have died within a frame, so nothing can be said any more
            os._exit(os.waitstatus_to_exitcode(status) % 256 if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
        send(_OUT, Frame.EXIT)


def _load() -> None:
    """Import all that a reader could ask for: the child will not be able to."""
    for module in pkgutil.walk_packages(readers.__path__, f"{readers.__name__}."):
        if not module.name.startswith((f"{readers.__name__}.sandbox", f"{readers.__name__}.profiles")):
            importlib.import_module(module.name)
    for codec in pkgutil.iter_modules(encodings.__path__):
        with contextlib.suppress(LookupError):
            codecs.lookup(codec.name)
    for name in _LOADED_LATE:
        importlib.import_module(name)


@cache
def _load_profiles() -> None:
    """The same for profiles, with the engine behind them: it makes each fork dearer, so only where it is needed."""
    from actuals_pipelines.readers import profiles  # noqa: PLC0415

    for name in profiles.NAMES:
        profiles.shipped(name)
    # The engine loads its parts with its first query.
    profile = profiles.ProfileReader(profiles.load(_SMALLEST_PROFILE, "sandbox_child"))
    profile.read(io.BytesIO(b"id,day,amount\n1,2026-01-31,1.00\n"), {"zone": "UTC"}).table()


def _needs_profiles(request: Mapping[str, Any]) -> bool:
    return request["profile"] is not None or request["format"] is None or request["format"] in readers.PROFILES


def _read_and_leave(request: Mapping[str, Any]) -> None:
    """The child: confine, read, end. Never returns."""
    status = _FAILED
    try:
        if _needs_profiles(request):
            from actuals_pipelines import engine  # noqa: PLC0415 - as above

            engine.prepare(("preserve_insertion_order = true",))
        _confine(request["memory_bytes"], request["cpu_seconds"])
        _answer(request)
        status = 0
    except PipeClosed:
        pass  # the parent asks no more
    finally:
        os._exit(status)


def _confine(memory_bytes: int, cpu_seconds: int) -> None:
    # What is not loaded is not there (pyarrow looks for pandas, for one), as no file can be opened.
    sys.meta_path.clear()
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/statm", encoding="ascii") as file:
        mapped_bytes = int(file.read().split()[0]) * resource.getpagesize()
    libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0)
    if os.geteuid() == 0:
        with contextlib.suppress(PermissionError):  # root within a container may be denied it
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # Arrow's pools start their threads when first used, and that is the last time a thread can start.
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    arrow_csv.read_csv(io.BytesIO(b"a\n1\n"))
    handled = ctypes.c_uint64(_LANDLOCK_FILES)
    ruleset = libc.syscall(_LANDLOCK_CREATE, ctypes.byref(handled), ctypes.sizeof(handled), 0)
    if ruleset >= 0:
        libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0)
        os.close(ruleset)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))  # the first ends it by its own signal
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_AS: mapped_bytes + memory_bytes,
        resource.RLIMIT_NOFILE: 0,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))


def _answer(request: Mapping[str, Any]) -> None:
    stream = cast("BinaryIO", _Asked())
    place = request["format"] or "a known format"
    try:
        for part in read_parts(stream, request["options"], request["format"], profile=request["profile"]):
            place = part.format
            _send_part(part)
        send(_OUT, Frame.DONE)
    except PipeClosed:
        raise
    except MemoryError:  # pyarrow's own descends from it
        what = f"it needs more than {request['memory_bytes'] >> 20} MB of memory"
        _refuse(FileRefused(place, what, "Ask for it in smaller files."))
    except ActualsError as refused:
        _refuse(refused)
    except Exception as failure:
        # Its text may hold the file's content, so only its kind and its place are told.
        frame = traceback.extract_tb(failure.__traceback__)[-1]
        where = f"{os.path.basename(frame.filename)}, line {frame.lineno}"
        what = f"the reader failed on it with {type(failure).__name__} at {where}"
        _refuse(FileRefused(place, what, "This is a fault of the reader: report it with that place."))


def _send_part(part: Part) -> None:
    about = {"format": part.format, "name": part.name, "place": part.place, "of": part.of}
    send(_OUT, Frame.PART, json.dumps(about).encode())
    reading = part.reading
    send(_OUT, Frame.SCHEMA, reading.schema.serialize())
    for batch in reading.batches:
        send(_OUT, Frame.BATCH, batch.serialize())
    found = {
        "controls": [asdict(each) for each in reading.controls],
        "rejects": reading.rejects,
        "notes": reading.notes,
    }
    send(_OUT, Frame.PART_END, json.dumps(found, default=str).encode())


def _refuse(refused: ActualsError) -> None:
    made, facts = cast("tuple[type[ActualsError], tuple[Any, ...]]", refused.__reduce__()[:2])  # as it pickles
    said = {"kind": made.__name__, "facts": facts}
    send(_OUT, Frame.REFUSED, json.dumps(said, default=asdict).encode())


class _Asked:
    """The file, a piece at a time from the parent."""

    def __init__(self) -> None:
        self._left = b""
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        """As a file; may give less than was asked for before the end."""
        if size < 0:
            parts = []
            while part := self.read(_CHUNK):
                parts.append(part)
            return b"".join(parts)
        if not self._left and not self._ended:
            send(_OUT, Frame.NEED, max(size, 1).to_bytes(8, "little"))
            kind, self._left = receive(_IN)
            if kind is not Frame.DATA:
                raise PipeClosed
            self._ended = not self._left
        taken, self._left = self._left[:size], self._left[size:]
        return taken


if __name__ == "__main__":
    main()
