"""Hostile files are read in a process of their own: no key, path or network, bounded memory and CPU, no way back.

The process is started once and reused; it forks for each file, so that nothing of one file meets another. What comes
back is checked like anything from outside.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

import msgspec
import pyarrow as pa

from actuals_pipelines.domain.controls import StatementControls
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.readers import FORMATS, FormatUnknown
from actuals_pipelines.readers.parts import Part
from actuals_pipelines.readers.reading import FileEmpty, FileRefused, OptionRefused, Reading
from actuals_pipelines.readers.wire import Frame, PipeClosed, receive, send
from actuals_pipelines.tables import LINE
from actuals_pipelines.yaml_text import Problem, YamlRefused

_CHUNK = 1 << 20
_REFUSALS: dict[str, Callable[..., ActualsError]] = {
    each.__name__: each for each in (FileRefused, FileEmpty, OptionRefused, FormatUnknown)
}
_REFUSALS["YamlRefused"] = lambda problems: YamlRefused(msgspec.convert(problems, tuple[Problem, ...]))
_ENDINGS = {
    128 + 9: "it was killed: it took all the CPU time it may have, or the system was out of memory",
    128 + 24: "it took all the CPU time it may have",
    128 + 11: "it crashed within a library",
    128 + 6: "a library gave up, mostly for want of memory",
}


class SandboxUnavailable(ActualsError):
    """The process that reads files cannot be started."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        return (
            f"The process that reads files ended at its start with exit code {self.code}. It runs "
            "python -I -m actuals_pipelines.readers.sandbox_child: check memory and the number of processes."
        )


class ReadingLost(ActualsError):
    """The reading process ended for a reason that is not the file's: it may be read again."""

    def __init__(self, place: str, code: int) -> None:
        super().__init__(place, code)
        self.place, self.code = place, code

    def __str__(self) -> str:
        how = f"was killed by signal {-self.code}" if self.code < 0 else f"ended with code {self.code}"
        return f"The process that read a file as {self.place} {how}. The file is kept: read it again."


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost."""

    memory_bytes: int = 2 << 30  # beyond what the libraries take
    cpu_seconds: int = 900


def read_apart(format: str, stream: BinaryIO, options: Mapping[str, str], limits: Limits | None = None) -> Reading:
    """Read one file as `format` in a process of its own; gzip, and a zip of one file, are unpacked there.

    Like a reader's own `read`: it refuses at once or while the batches are taken; `controls`, `rejects` and `notes`
    are complete when the batches are exhausted. What reading `stream` raises is raised here.

    Raises:
        FormatUnknown, FileEmpty, OptionRefused, FileRefused: also where the process was killed for what the file took.
        SandboxUnavailable, ReadingLost: for no fault of the file.
        YamlRefused: a profile of one's own has an expression that cannot be read.
    """
    parts = read_parts_apart(stream, options, format, limits)
    part = next(parts)
    if part.of > 1:
        parts.close()
        raise FileRefused(format, f"it is an archive of {part.of} files", "A unit is one file: send them one by one.")
    reading = part.reading
    batches = reading.batches

    def whole() -> Iterator[pa.RecordBatch]:
        yield from batches
        for _ in parts:
            raise FileRefused(format, "the reading process said more than it was asked", "Report it.")

    reading.batches = whole()
    return reading


def read_parts_apart(
    stream: BinaryIO,
    options: Mapping[str, str],
    format: str | None = None,
    limits: Limits | None = None,
    *,
    profile: str | None = None,
) -> Generator[Part]:
    """As `parts.read_parts`, in a process of its own."""
    if format is not None and format not in FORMATS:
        raise FormatUnknown(format)
    bounds = limits or Limits()
    worker = _take()
    try:
        request = {
            "format": format,
            "options": dict(options),
            "profile": profile,
            "memory_bytes": bounds.memory_bytes,
            "cpu_seconds": bounds.cpu_seconds,
        }
        yield from worker.read(stream, json.dumps(request).encode(), format or "a known format")
    finally:
        _give_back(worker)


class _Worker:
    """One reading process, waiting or at work."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "actuals_pipelines.readers.sandbox_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what a library prints may hold the file's content
            bufsize=0,
            cwd="/",
            env={"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1"},
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise SandboxUnavailable(0)
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        try:
            receive(self._from)
        except PipeClosed:
            raise SandboxUnavailable(self._process.wait()) from None
        self.is_waiting = True

    def read(self, stream: BinaryIO, request: bytes, place: str) -> Generator[Part]:
        """The parts of one file; a part that is not exhausted is, before the next."""
        self.is_waiting = False
        try:
            send(self._to, Frame.REQUEST, request)
            while (frame := self._next(stream))[0] is Frame.PART:
                part = self._part(stream, frame[1])
                place, batches = part.format, part.reading.batches
                yield part
                for _ in batches:
                    pass
            if frame[0] is not Frame.DONE:
                raise PipeClosed
            self._rest()
        except (PipeClosed, msgspec.ValidationError, json.JSONDecodeError, pa.ArrowException, TypeError, KeyError):
            raise self._ended(place) from None

    def _part(self, stream: BinaryIO, about: bytes) -> Part:
        facts = json.loads(about)
        kind, payload = self._next(stream)
        if kind is not Frame.SCHEMA:
            raise PipeClosed
        reading = Reading(schema=_checked(pa.ipc.read_schema(pa.py_buffer(payload))), batches=iter(()))
        reading.batches = self._batches(stream, reading, str(facts["format"]))
        return Part(str(facts["format"]), reading, facts["name"], int(facts["place"]), int(facts["of"]))

    def _batches(self, stream: BinaryIO, reading: Reading, place: str) -> Iterator[pa.RecordBatch]:
        try:
            while (frame := self._next(stream))[0] is Frame.BATCH:
                batch = pa.ipc.read_record_batch(pa.py_buffer(frame[1]), reading.schema)
                batch.validate(full=True)  # offsets that point elsewhere would read our memory
                yield batch
            if frame[0] is not Frame.PART_END:
                raise PipeClosed
            found = msgspec.convert(json.loads(frame[1]), _Found)
        except (PipeClosed, msgspec.ValidationError, json.JSONDecodeError, pa.ArrowException):
            raise self._ended(place) from None
        reading.controls += found.controls
        reading.rejects += found.rejects
        reading.notes.update(found.notes)

    def _next(self, stream: BinaryIO) -> tuple[Frame, bytes]:
        """The next frame that is no question for bytes; a refusal is raised."""
        while True:
            kind, payload = receive(self._from)
            if kind is Frame.NEED:
                send(self._to, Frame.DATA, stream.read(min(int.from_bytes(payload, "little"), _CHUNK) or 1))
            elif kind is Frame.REFUSED:
                said = json.loads(payload)
                refusal = _REFUSALS[said["kind"]](*said["facts"])
                self._rest()
                raise refusal
            else:
                return kind, payload

    def _rest(self) -> None:
        """After the last word: the process waits for the next file."""
        kind, _ = receive(self._from)
        if kind is not Frame.EXIT:
            raise PipeClosed
        self.is_waiting = True

    def _ended(self, place: str) -> ActualsError:
        """Why the process ended: a refusal of the file, where the file may be the reason."""
        self.close()
        code = self._process.returncode
        why = _ENDINGS.get(code)
        if why is None:
            return ReadingLost(place, code)
        advice = "The file may be hostile, or too large: keep it, and ask for it in parts."
        return FileRefused(place, f"the process that read it did not finish: {why}", advice)

    @property
    def is_alive(self) -> bool:
        """Whether the process is still there: it may have been killed while it waited."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process, whatever it does."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        if self.owner != os.getpid():
            return  # a fork of ours: the process is its parent's
        try:
            self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Found(msgspec.Struct):
    controls: list[StatementControls]
    rejects: list[tuple[int, str, str]]
    notes: dict[str, str]


def _checked(schema: pa.Schema) -> pa.Schema:
    """Every reader gives text columns and the line, and nothing else is taken."""
    texts, line = list(schema)[:-1], list(schema)[-1]
    if line.name != LINE or line.type != pa.int64() or not all(each.type == pa.string() for each in texts):
        raise PipeClosed
    return schema.remove_metadata()


_waiting: list[_Worker] = []
_lock = threading.Lock()


def _take() -> _Worker:
    with _lock:
        while _waiting:
            worker = _waiting.pop()
            if worker.owner == os.getpid() and worker.is_alive:
                return worker
            worker.close()
    return _Worker()


def _give_back(worker: _Worker) -> None:
    if worker.is_waiting:
        with _lock:
            _waiting.append(worker)
    else:
        worker.close()


@atexit.register
def _close_all() -> None:
    with _lock:
        while _waiting:
            _waiting.pop().close()
