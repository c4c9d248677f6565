"""A remote sFTP folder: listed, read with many requests under way, resumed where a connection dropped."""

from __future__ import annotations

import logging
import posixpath
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeVar

import paramiko
from paramiko.sftp import CMD_CLOSE, CMD_HANDLE, CMD_NAME, CMD_OPENDIR, CMD_READDIR
from paramiko.ssh_exception import SSHException

from actuals_pipelines.sources.remote_files.remote import (
    ConnectionLost,
    FileChanged,
    FolderRefused,
    RemoteFile,
    SettlingRefused,
)
from actuals_pipelines.sources.retry import Sleep, persistently
from actuals_pipelines.sources.sftp_remote.requests import UNDER_WAY, Requests, Window, is_listed, version_of
from actuals_pipelines.sources.sftp_remote.session import Account, Session, open_session

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

ENTRIES_LIMIT = 200_000
_UNDER_WAY_AFTER_A_STALL = 4  # some servers answer only so many at a time and forget the rest


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a dropped connection is made again without a byte gained in between."""

    attempts: int = 5
    longest_pause_seconds: float = 30.0


class SftpRemote:
    """A `Remote` (`sources.remote_files.remote`) over one connection, made at the first use and again when it drops."""

    def __init__(self, account: Account, *, patience: Patience = Patience(), sleep: Sleep = time.sleep) -> None:
        self._account, self._patience, self._sleep = account, patience, sleep
        self._session: Session | None = None
        self._window: Window | None = None
        self._under_way = UNDER_WAY

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._drop()

    def connect(self) -> None:
        """Log in now instead of at the first use. Raises what `open_session` does, after trying again."""
        self._persistently(lambda session: None)

    def read(self, files: Iterable[RemoteFile]) -> Iterator[tuple[RemoteFile, Iterator[bytes]]]:
        """See `Remote.read`."""
        following = iter(files)
        ahead: deque[RemoteFile] = deque()  # opened already, the current file first
        while ahead or self._take(ahead, following):
            yield ahead[0], self._chunks(ahead, following)
            done = ahead.popleft()
            if self._window is not None:
                self._leave(done)

    def move(self, file: RemoteFile, folder: str) -> None:
        """See `Remote.move`. A file of the same name there stays: this one gets its time behind its name."""
        target = posixpath.join(posixpath.join(file.folder, folder), file.name)

        def moved(session: Session) -> None:
            self._check_version(session, file)
            try:
                session.client.rename(file.path, target)
            except (PermissionError, FileNotFoundError):
                raise
            except OSError:
                session.client.rename(file.path, f"{target}.{file.version}")

        self._settled(moved)

    def delete(self, file: RemoteFile) -> None:
        """See `Remote.delete`."""

        def deleted(session: Session) -> None:
            self._check_version(session, file)
            session.client.remove(file.path)

        self._settled(deleted)

    def _settled(self, settle: Callable[[Session], None]) -> None:
        def once(session: Session) -> None:
            try:
                settle(session)
            except FileNotFoundError:
                raise FileChanged(self._account.where, "it is gone, or there is no such folder") from None
            except TimeoutError:
                raise
            except OSError as error:
                raise SettlingRefused(self._account.where, type(error).__name__) from None

        self._persistently(once)

    def _check_version(self, session: Session, file: RemoteFile) -> None:
        found = session.client.lstat(file.path)
        if not is_listed(found, file):
            raise FileChanged(self._account.where, "another file has its name now")

    def _listed(self, folder: str, session: Session) -> list[RemoteFile]:
        requests = Requests(session.client)
        kind, message = requests.answer(requests.ask(CMD_OPENDIR, folder.encode()))
        if kind != CMD_HANDLE:
            raise FolderRefused(self._account.where, "it is missing, or we may not read it")
        handle = message.get_binary()
        found: list[RemoteFile] = []
        seen = 0
        while True:
            kind, message = requests.answer(requests.ask(CMD_READDIR, handle))
            if kind != CMD_NAME:
                break
            for _ in range(message.get_int()):
                seen += 1
                if seen > ENTRIES_LIMIT:
                    raise FolderRefused(self._account.where, f"it has more than {ENTRIES_LIMIT} entries")
                file = _entry(folder, message)
                if file is not None:
                    found.append(file)
        requests.tell(CMD_CLOSE, handle)
        try:
            requests.status(message)
        except EOFError:
            return found
        except OSError:
            pass
        raise ConnectionLost(self._account.where, "the listing broke off")

    def _leave(self, file: RemoteFile) -> None:
        def left(_: Session) -> None:
            if self._window is not None:
                self._window.close(file)

        self._persistently(left)

    @staticmethod
    def _take(ahead: deque[RemoteFile], following: Iterator[RemoteFile]) -> bool:
        file = next(following, None)
        if file is not None:
            ahead.append(file)
        return file is not None

    def _chunks(self, ahead: deque[RemoteFile], following: Iterator[RemoteFile]) -> Iterator[bytes]:
        offset = 0
        while chunk := self._persistently(partial(self._next, ahead, following, offset)):
            offset += len(chunk)
            yield chunk

    def _next(self, ahead: deque[RemoteFile], following: Iterator[RemoteFile], offset: int, session: Session) -> bytes:
        if self._window is None:
            self._window = Window(Requests(session.client), self._account.where, self._under_way)
        return self._window.next(ahead, following, offset)

    def _persistently(self, use: Callable[[Session], Answer]) -> Answer:
        """Use the connection; make it again where it dropped."""

        def once() -> Answer:
            try:
                if self._session is None:
                    self._session = open_session(self._account)
                return use(self._session)
            except TimeoutError:
                self._drop()
                self._under_way = _UNDER_WAY_AFTER_A_STALL
                raise ConnectionLost(self._account.where, "no answer in time") from None
            except (SSHException, EOFError, OSError) as error:
                self._drop()
                raise ConnectionLost(self._account.where, type(error).__name__) from None

        return persistently(once, self._patience, self._sleep)

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = self._window = None

    def list(self, folder: str) -> list[RemoteFile]:  # last: its name hides the builtin in annotations below it
        """See `Remote.list`. Raises FolderRefused."""
        return self._persistently(partial(self._listed, folder))


def _entry(folder: str, message: Any) -> RemoteFile | None:
    """The next entry of a READDIR answer; None for no regular file. An undecodable name is kept, to be refused."""
    name = message.get_string().decode("utf-8", "surrogateescape")
    message.get_string()  # the line as `ls -l` would print it
    attributes = paramiko.SFTPAttributes._from_msg(message)  # type: ignore[attr-defined]  # not in its stubs
    is_regular = attributes.st_mode is None or stat.S_ISREG(attributes.st_mode) or not stat.S_IFMT(attributes.st_mode)
    if not is_regular or name in (".", ".."):
        return None
    return RemoteFile(folder, name, attributes.st_size or 0, version_of(attributes))
