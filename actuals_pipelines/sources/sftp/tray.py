"""What one account has sent: files under way, files that wait for a rename or a side file, and those of today.

The tray outlives a connection, so an upload that lost its own goes on over the next one. It lives in memory alone: its
half files' keys are nowhere else, and end with the process. Everything here runs in the event loop's thread.
"""

from __future__ import annotations

import hmac
import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from uuid import UUID

from actuals_pipelines.domain.source import SideFile
from actuals_pipelines.sources.sftp.accounts import Account
from actuals_pipelines.sources.sftp.arrivals import Arrival, ArrivalUncertain
from actuals_pipelines.sources.sftp.errors import NotPermitted, NotThere, UploadRefused
from actuals_pipelines.sources.sftp.names import is_unfinished, without_side, without_unfinished
from actuals_pipelines.sources.sftp.quota import today
from actuals_pipelines.sources.sftp.upload import Upload

log = logging.getLogger(__name__)

MAX_OPEN = 64  # of one account, sealing or being delivered
MAX_HALF = 16  # kept of one account for a resume; each holds up to a megabyte of memory
MAX_FILES = 10_000  # of one account: what is listed stays in memory
HELD_SECONDS = 86_400.0  # how long a half or waiting file is kept
SIDE_BYTES = 4096

_SHA256 = re.compile(rb"\s*\\?([0-9A-Fa-f]{64})(?:\s|$)")  # as `sha256sum` writes it, with or without the name


class State(Enum):
    """Where a file stands."""

    OPEN = "being written"
    HALF = "its connection was lost, or its session ended"
    WAITING = "whole; a rename or a side file is to follow"
    DELIVERING = "being made durable"


class SideText:
    """A side file: read when it is whole, and kept nowhere."""

    def __init__(self) -> None:
        self.failure: UploadRefused | None = None
        self.text = bytearray()

    @property
    def size_bytes(self) -> int:
        """How much came so far."""
        return len(self.text)

    def write(self, offset: int, data: bytes) -> None:
        """Take bytes in. Raises UploadRefused."""
        if offset != len(self.text) or offset + len(data) > SIDE_BYTES:
            self.failure = UploadRefused("This is no side file", f"It has up to {SIDE_BYTES} bytes, sent in order.")
            raise self.failure
        self.text += data

    def discard(self) -> None:
        """Nothing of it is anywhere."""


@dataclass(slots=True, eq=False)
class Sent:
    """One file of an account."""

    folder: str
    name: str
    id: UUID
    source_id: UUID | None
    side_file: SideFile | None  # that it waits for
    account: Account
    content: Upload | SideText
    state: State = State.OPEN
    holder: object = None  # the session that may write it
    held_since: float = 0.0  # monotonic

    @property
    def size_bytes(self) -> int:
        """Of the plaintext, so far."""
        return self.content.size_bytes


@dataclass(frozen=True, slots=True)
class Delivered:
    """What is left to show of a file that was delivered today."""

    size_bytes: int
    day: date
    session: object  # that delivered it


@dataclass(slots=True)
class Tray:
    """The files of one account, by folder and name."""

    clock: Callable[[], float] = time.monotonic
    day: Callable[[], date] = today
    _files: dict[tuple[str, str], Sent] = field(default_factory=dict)  # that are not delivered
    _delivered: dict[tuple[str, str], Delivered] = field(default_factory=dict)  # oldest first

    def find(self, folder: str, name: str) -> Sent | None:
        """The file of this name that is not delivered yet."""
        return self._files.get((folder, name))

    def size_of(self, folder: str, name: str) -> int | None:
        """The plaintext's size, of what is sent today; None if there is no such file."""
        place = folder, name
        if place in self._files:
            return self._files[place].size_bytes
        return self._delivered[place].size_bytes if place in self._delivered else None

    def listed(self, folder: str) -> Iterator[tuple[str, int]]:
        """Names and sizes of a folder's files."""
        under_way = {place: file.size_bytes for place, file in self._files.items()}
        sizes = {place: one.size_bytes for place, one in self._delivered.items()} | under_way
        return ((name, size_bytes) for (where, name), size_bytes in sizes.items() if where == folder)

    def admit(self, folder: str, name: str, session: object) -> None:
        """Make place for a new file of this name. Raises NotPermitted, UploadRefused."""
        earlier, delivered = self.find(folder, name), self._delivered.get((folder, name))
        is_under_way = earlier is not None and (earlier.state is State.DELIVERING or earlier.holder is session)
        if is_under_way or (delivered is not None and delivered.session is session):
            raise NotPermitted("A file of this name was sent in this session", "Send it under another name.")
        if earlier is not None:
            self.drop(earlier)  # the sender begins anew; who held it is told at its next write
        under_way = sum(file.state in (State.OPEN, State.DELIVERING) for file in self._files.values())
        if under_way >= MAX_OPEN or len(self._files) >= MAX_FILES:
            raise UploadRefused("This account has too many unfinished files", "Finish some first.")

    def add(self, file: Sent) -> None:
        """A new file."""
        self._files[file.folder, file.name] = file

    def take_over(self, folder: str, name: str, session: object) -> Sent | None:
        """The half file of this name, now this session's; None if there is none. Raises NotPermitted."""
        file = self.find(folder, name)
        if file is None:
            return None
        if file.state not in (State.HALF, State.OPEN) or file.holder is session:
            raise NotPermitted("A file of this name was sent whole", "Send it under another name.")
        file.state, file.holder = State.OPEN, session
        return file

    def close(self, file: Sent, session: object) -> Sent | None:
        """The client closed a file; return what is to be delivered now, if anything. Raises DropRefused."""
        if file.holder is not session:
            raise taken_over()
        file.holder = None
        if file.content.failure is not None:
            self.drop(file)
            raise file.content.failure
        try:
            return self._settled(file, session)
        except BaseException:
            self.drop(file)
            raise

    def rename(self, file: Sent, folder: str, name: str, session: object) -> Sent | None:
        """Give a whole file its final name; return what is to be delivered now, if anything. Raises DropRefused."""
        if file.state is not State.WAITING:
            raise NotPermitted("The file is not whole", "Send the rest of it first.")
        if folder != file.folder:
            raise NotPermitted("A file stays in its folder", "Send it to the other folder.")
        self.admit(folder, name, session)
        del self._files[file.folder, file.name]
        file.name = name
        self.add(file)
        return self._settled(file, session)

    async def deliver(self, file: Sent, session: object) -> None:
        """Make a file an arrival; not to be cancelled.

        Raises:
            UploadRefused: nothing was kept; or, uncertain, the file was.
        """
        file.state = State.DELIVERING
        upload, tenant = file.content, file.account.tenant
        assert isinstance(upload, Upload)  # noqa: S101 - a side file is never delivered
        arrival = Arrival(file.id, file.source_id, file.account.user, file.name, upload.finish())
        try:
            await tenant.deliveries.deliver(arrival, more_follow=self._has_open)
        except ArrivalUncertain:
            self._show_delivered(file, session)  # the row may be there, so the file stays
            raise
        except BaseException:
            self.drop(file)
            raise
        self._show_delivered(file, session)
        log.info("file dropped: tenant=%s arrival=%s size_bytes=%d", tenant.ref.uuid, file.id, file.size_bytes)

    def leave(self, session: object) -> None:
        """A session ended: what it was writing waits for the next one."""
        for file in [file for file in self._files.values() if file.holder is session]:
            file.holder = None
            if file.content.failure is not None or not file.size_bytes or isinstance(file.content, SideText):
                self.drop(file)
            else:
                file.state, file.held_since = State.HALF, self.clock()
        halves = [file for file in self._files.values() if file.state is State.HALF]
        for file in sorted(halves, key=lambda half: half.held_since)[: max(0, len(halves) - MAX_HALF)]:
            self.drop(file)

    def drop_old(self) -> int:
        """Delete what was held too long, and forget what was delivered before today; return how many were deleted."""
        limit, dropped = self.clock() - HELD_SECONDS, 0
        for file in list(self._files.values()):
            if file.state in (State.HALF, State.WAITING) and file.held_since < limit:
                self.drop(file)
                dropped += 1
        self._delivered = {place: one for place, one in self._delivered.items() if one.day == self.day()}
        return dropped

    def close_all(self) -> None:
        """The process ends, and with it the keys of what is not delivered."""
        for file in list(self._files.values()):
            if file.state is not State.DELIVERING:
                self.drop(file)

    def drop(self, file: Sent) -> None:
        """Leave nothing of a file that was not delivered."""
        if self.find(file.folder, file.name) is file:
            del self._files[file.folder, file.name]
        file.holder = None
        file.content.discard()

    @property
    def _has_open(self) -> bool:
        return any(file.state is State.OPEN for file in self._files.values())

    def _settled(self, file: Sent, session: object) -> Sent | None:
        """What a whole file leads to: its delivery, that of the file it stands beside, or a wait."""
        if isinstance(file.content, Upload):
            file.content.finish()
        file.state, file.held_since = State.WAITING, self.clock()
        if is_unfinished(file.name):
            return None
        if isinstance(file.content, Upload):
            return None if file.side_file else file
        return self._confirmed(file, file.content, session)

    def _confirmed(self, side: Sent, content: SideText, session: object) -> Sent:
        assert side.side_file is not None  # noqa: S101 - else it were no side file
        file = self.find(side.folder, without_side(side.name, side.side_file) or "")
        if file is None or file.state is not State.WAITING or not isinstance(file.content, Upload):
            raise NotThere("The file that this one stands beside is not there", "Send it first, then its side file.")
        if side.side_file is SideFile.SHA256:
            stated = _SHA256.match(content.text)
            sha256 = file.content.finish().sha256
            if stated is None or sha256 is None or not hmac.compare_digest(bytes.fromhex(stated[1].decode()), sha256):
                self.drop(file)
                raise UploadRefused("The file is not what its .sha256 says, and was not kept", "Send both again.")
        self._show_delivered(side, session)
        return file

    def _show_delivered(self, file: Sent, session: object) -> None:
        del self._files[file.folder, file.name]
        self._delivered.pop((file.folder, file.name), None)  # so that the newest stand last
        self._delivered[file.folder, file.name] = Delivered(file.size_bytes, self.day(), session)
        if len(self._delivered) > MAX_FILES:
            del self._delivered[next(iter(self._delivered))]


def is_side(name: str, side_file: SideFile | None) -> bool:
    """Whether this is the name of a side file of that kind, its unfinished form included."""
    return side_file is not None and without_side(without_unfinished(name), side_file) is not None


def taken_over() -> UploadRefused:
    """What a session is told whose file another one went on with."""
    return UploadRefused("This upload went on over another connection", "Look whether the file is there.")
