"""Many sFTP requests under way at once on one channel, and the files that are read with them.

paramiko's own read-ahead falls back to one request at a time when an answer overtakes its bookkeeping, and its limit of
requests is a 10 ms sleep; so the requests are made here, over four private names of its client (tested, and pinned by
the lock). Source: draft-ietf-secsh-filexfer-02, sections 6.3 to 6.8.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterator
from typing import Any

import paramiko
from paramiko.message import Message
from paramiko.sftp import (
    CMD_ATTRS,
    CMD_CLOSE,
    CMD_DATA,
    CMD_FSTAT,
    CMD_HANDLE,
    CMD_OPEN,
    CMD_READ,
    CMD_STATUS,
    SFTP_FLAG_READ,
    int64,
)

from actuals_pipelines.sources.remote_files.remote import FileChanged, RemoteFile

READ_BYTES = 32_768
"""What every server gives in one answer."""
UNDER_WAY = 64
"""Reads under way, over all files: 2 MB, as much as a channel's window takes."""
PARTS_AT_ONCE = 32
"""Answers that are handed on together."""
OPEN_AHEAD = 32
"""Files open at once: small ones cost no round trip each."""


class Requests:
    """Requests of one channel whose answers come in any order."""

    def __init__(self, client: paramiko.SFTPClient) -> None:
        self._client: Any = client
        self._answers: dict[int, tuple[int, Message]] = {}
        self._ignored: set[int] = set()

    def ask(self, kind: int, *arguments: object) -> int:
        """Send a request; return its number."""
        number: int = self._client._async_request(self, kind, *arguments)
        return number

    def tell(self, kind: int, *arguments: object) -> None:
        """Send a request whose answer nobody waits for."""
        self.ignore(self.ask(kind, *arguments))

    def ignore(self, number: int) -> None:
        """Nobody waits for this answer any more."""
        if self._answers.pop(number, None) is None:
            self._ignored.add(number)

    def has_answer(self, number: int) -> bool:
        """Whether an answer came in while another was waited for."""
        return number in self._answers

    def answer(self, number: int) -> tuple[int, Message]:
        """Wait for an answer: its kind and what it holds."""
        while number not in self._answers:
            self._client._read_response()
        return self._answers.pop(number)

    def status(self, message: Message) -> None:
        """Raise EOFError or OSError for a status that is not OK; its text is the server's and is not repeated."""
        self._client._convert_status(message)

    def _async_response(self, kind: int, message: Message, number: int) -> None:
        """paramiko calls this for each answer."""
        if number in self._ignored:
            self._ignored.discard(number)
        else:
            self._answers[number] = (kind, message)


class Reading:
    """One file that is being read: opened, asked for, answered, and looked at once more at its end."""

    def __init__(self, requests: Requests, file: RemoteFile, offset: int, where: str) -> None:
        self.file, self._requests, self._where = file, requests, where
        self._opening = requests.ask(CMD_OPEN, file.path.encode(), SFTP_FLAG_READ, paramiko.SFTPAttributes())
        self._handle: bytes | None = None
        self._asked = self._given = offset
        self._parts: deque[tuple[int, int]] = deque()  # bytes asked for, number; in the file's order
        self._look: int | None = None
        self._is_whole = False
        self._failure: FileChanged | None = None

    @property
    def under_way(self) -> int:
        """How many reads are not answered yet, or not handed on."""
        return len(self._parts)

    @property
    def is_asked(self) -> bool:
        """Whether all of the file was asked for."""
        return self._look is not None or self._is_whole or self._failure is not None

    def ask(self, room: int, *, wait: bool) -> int:
        """Ask for as much as there is room for; return how many reads that were. `wait`: until the file is open."""
        if self.is_asked or not (wait or self._handle or self._requests.has_answer(self._opening)):
            return 0
        if self._handle is None:
            try:
                self._handle = self._opened()
            except FileChanged as failure:
                self._failure = failure
                return 0
        asked = 0
        while asked < room and self._asked < self.file.size_bytes:
            count = min(READ_BYTES, self.file.size_bytes - self._asked)
            self._parts.append((count, self._read(self._asked, count)))
            self._asked += count
            asked += 1
        if self._asked == self.file.size_bytes:
            self._look = self._requests.ask(CMD_FSTAT, self._handle)
        return asked

    def next(self) -> bytes:
        """The next bytes, b"" at the end of a file that is still what the listing said. Raises FileChanged."""
        if self._failure is not None:
            raise self._failure
        if not self._parts:
            self._check_end()
            return b""
        count, number = self._parts.popleft()
        kind, message = self._requests.answer(number)
        if kind != CMD_DATA:
            raise self._changed(message, kind)
        data: bytes = message.get_string()
        self._given += len(data)
        if not 0 < len(data) <= count:
            raise FileChanged(self._where, "an answer has another size than was asked for")
        if len(data) < count:  # a server may give less at a time
            rest = count - len(data)
            self._parts.appendleft((rest, self._read(self._given, rest)))
        return data

    def close(self) -> None:
        """Let go of the file; what is under way is not waited for."""
        for number in [number for _, number in self._parts] + ([] if self._look is None else [self._look]):
            self._requests.ignore(number)
        self._parts.clear()
        if self._handle is None and self._failure is None:
            self._failure = FileChanged(self._where, "it was left")
            self._handle = self._opened()
        if self._handle is not None:
            self._requests.tell(CMD_CLOSE, self._handle)

    def _opened(self) -> bytes:
        kind, message = self._requests.answer(self._opening)
        if kind != CMD_HANDLE:
            raise self._changed(message, kind)
        handle: bytes = message.get_binary()
        return handle

    def _read(self, offset: int, count: int) -> int:
        return self._requests.ask(CMD_READ, self._handle, int64(offset), count)

    def _check_end(self) -> None:
        if self._is_whole:
            return
        assert self._look is not None  # noqa: S101 - all was asked for
        kind, message = self._requests.answer(self._look)
        self._look = None
        if kind != CMD_ATTRS:
            raise self._changed(message, kind)
        after = paramiko.SFTPAttributes._from_msg(message)  # type: ignore[attr-defined]  # not in its stubs
        if not is_listed(after, self.file):
            raise FileChanged(self._where, "its size or time is not the listed one any more")
        self._is_whole = True

    def _changed(self, message: Message, kind: int) -> FileChanged:
        found = "the server answered out of turn"
        if kind == CMD_STATUS:
            try:
                self._requests.status(message)
            except EOFError:
                found = "it is shorter than listed"
            except OSError as error:
                reasons = {errno.ENOENT: "it is gone", errno.EACCES: "we may not read it"}
                found = reasons.get(error.errno or 0, "the server failed to read it")
        return FileChanged(self._where, found)


def version_of(found: paramiko.SFTPAttributes) -> str:
    """The time of change, in whole seconds since 1970; empty where the server states none."""
    return "" if found.st_mtime is None else str(found.st_mtime)


def is_listed(found: paramiko.SFTPAttributes, file: RemoteFile) -> bool:
    """Whether a file is still the listed one. A server that lists without times is believed by the size."""
    return found.st_size == file.size_bytes and file.version in ("", version_of(found))


class Window:
    """The files that are read on one channel: the current one, and those after it as far as there is room."""

    def __init__(self, requests: Requests, where: str, under_way: int) -> None:
        self._requests, self._where, self._limit = requests, where, under_way
        self._readings: dict[RemoteFile, Reading] = {}

    def next(self, ahead: deque[RemoteFile], following: Iterator[RemoteFile], offset: int) -> bytes:
        """Up to a megabyte of the first file of `ahead` from `offset` on; b"" at its end. Raises FileChanged.

        Args:
            ahead: the files that were taken from `following`, the current one first; where there is room, more are.
        """
        current = ahead[0]
        if current not in self._readings:
            self._readings[current] = Reading(self._requests, current, offset, self._where)
        parts: list[bytes] = []
        while len(parts) < PARTS_AT_ONCE:
            self._ask(ahead, following)
            data = self._readings[current].next()
            if not data:
                break
            parts.append(data)
        return b"".join(parts)

    def close(self, file: RemoteFile) -> None:
        """Let go of a file, read to its end or not."""
        reading = self._readings.pop(file, None)
        if reading is not None:
            reading.close()

    def _ask(self, ahead: deque[RemoteFile], following: Iterator[RemoteFile]) -> None:
        """Ask for all there is room for: of the current file first, which is waited for, then of those after it."""
        room = self._limit - sum(reading.under_way for reading in self._readings.values())
        for number, file in enumerate(ahead):
            if file not in self._readings:
                self._readings[file] = Reading(self._requests, file, 0, self._where)
            reading = self._readings[file]
            room -= reading.ask(room, wait=number == 0)
            if room <= 0 or not reading.is_asked:
                return
        while len(ahead) < OPEN_AHEAD:
            another = next(following, None)
            if another is None:
                return
            ahead.append(another)
            self._readings[another] = Reading(self._requests, another, 0, self._where)
