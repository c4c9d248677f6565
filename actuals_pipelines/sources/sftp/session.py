"""One sFTP session: the virtual folders of one account, into which files are dropped and out of which nothing comes.

A file is delivered when its row is committed, and only then is the client told that all is well: at CLOSE, or at the
rename of a file whose name said that it was unfinished. Two traps, both found by testing:
asyncssh closes every open handle when a connection drops, as if the client had; and OpenSSH sends CLOSE after a WRITE
that failed.
"""

from __future__ import annotations

import asyncio
import logging
import stat
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import asyncssh
from asyncssh.constants import FXP_CLOSE
from asyncssh.sftp import SFTPServerHandler

from actuals_pipelines.encryption.container import ContainerAad, Kind
from actuals_pipelines.sources.sftp.accounts import Account, Login
from actuals_pipelines.sources.sftp.arrivals import Arrival, ArrivalUncertain, record
from actuals_pipelines.sources.sftp.errors import DropRefused, NotPermitted, NotThere, UploadRefused
from actuals_pipelines.sources.sftp.names import canonical, folder_and_name, is_unfinished
from actuals_pipelines.sources.sftp.upload import Room, Upload, Whole, drop_folder

log = logging.getLogger(__name__)

MAX_OPEN = 16
MAX_FILES = 10_000  # in one session: what is listed stays in memory

_client_closes: ContextVar[bool] = ContextVar("client_closes", default=False)


def _mark_client_closes() -> None:
    """Let `close` tell a client's CLOSE from asyncssh's own after a lost connection.

    asyncssh has no public way to know; a test drops a connection in the middle, so that a new version cannot undo it.
    """
    handlers = SFTPServerHandler._packet_handlers
    plain: Callable[[Any, Any], Awaitable[None]] = handlers[FXP_CLOSE]  # type: ignore[assignment]

    async def marked(handler: Any, packet: Any) -> None:
        token = _client_closes.set(True)
        try:
            await plain(handler, packet)
        finally:
            _client_closes.reset(token)

    handlers[FXP_CLOSE] = marked


_mark_client_closes()


@dataclass(slots=True, eq=False)
class _File:
    """A file of this session. What ends it runs in a thread under its lock, so that a dropped connection, which
    cancels whatever waits for the thread, can never remove a file whose row is being committed."""

    folder: str
    name: str
    id: UUID
    source_id: UUID
    account: Account
    upload: Upload
    lock: threading.Lock = field(default_factory=threading.Lock)
    whole: Whole | None = None  # set when it is on the disk
    is_delivered: bool = False

    @property
    def size_bytes(self) -> int:
        return self.whole.size_bytes if self.whole else self.upload.size_bytes

    def settle(self, name: str) -> None:
        """Finish the upload and, unless the name says that a rename follows, deliver it. In a thread.

        Raises:
            UploadRefused: nothing was kept; or, uncertain, the file was.
        """
        with self.lock:
            try:
                self.whole = self.whole or self.upload.finish()
                if not is_unfinished(name):
                    self._deliver(name, self.whole)
            except ArrivalUncertain:
                self.is_delivered = True  # the row may be there, so the file stays
                raise
            except BaseException:
                self._remove()
                raise

    def throw_away(self) -> None:
        """Leave nothing of it, unless it was delivered."""
        with self.lock:
            self._remove()

    def _deliver(self, name: str, whole: Whole) -> None:
        tenant = self.account.tenant
        record(tenant.engine, tenant.view.public_key, Arrival(self.id, self.source_id, self.account.user, name, whole))
        self.is_delivered = True
        log.info("file dropped: tenant=%s arrival=%s size_bytes=%d", tenant.ref.uuid, self.id, whole.size_bytes)

    def _remove(self) -> None:
        self.upload.discard()
        if self.whole is not None and not self.is_delivered:
            self.whole.path.unlink(missing_ok=True)


@contextmanager
def _answering() -> Iterator[None]:
    """Turn our refusals into sFTP's, and a library's error into its class in the log and a plain failure outside."""
    try:
        yield
    except asyncssh.SFTPError:
        raise
    except NotPermitted as refused:
        raise asyncssh.SFTPPermissionDenied(str(refused)) from None
    except NotThere as refused:
        raise asyncssh.SFTPNoSuchFile(str(refused)) from None
    except DropRefused as refused:  # version 3 has no code of its own for quotas
        raise asyncssh.SFTPFailure(str(refused)) from None
    except Exception as error:
        log.error("sftp request failed: kind=%s", type(error).__name__)
        raise asyncssh.SFTPFailure("The drop failed. Send the file again.") from None


class DropSession(asyncssh.SFTPServer):
    """What asyncssh calls for each request. Every public method of the base is overridden: it works on our disk."""

    def __init__(self, channel: Any, login: Login, room: Room, touch: Callable[[], None]) -> None:
        super().__init__(channel)
        self._login, self._room, self._touch = login, room, touch
        self._files: dict[tuple[str, str], _File] = {}

    # --- Uploading ----------------------------------------------------------------------------------------------------

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        """Begin an upload."""
        with _answering():
            self._touch()
            if pflags & (asyncssh.FXF_READ | asyncssh.FXF_APPEND) or not pflags & asyncssh.FXF_WRITE:
                raise NotPermitted("This drop is write-only", "Send files whole: they are not read or appended to.")
            account = self._login.account()
            folder, name = folder_and_name(path)
            source_id = _source_id(account, folder)
            self._refuse_taken(folder, name)
            if sum(file.whole is None for file in self._files.values()) >= MAX_OPEN or len(self._files) >= MAX_FILES:
                raise UploadRefused("This session has too many files", "Finish some, or connect again.")
            file = _begin(account, folder, name, source_id, self._room)
            self._files[folder, name] = file
            return file

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        """Seal the next bytes."""
        with _answering():
            self._touch()
            return _file(file_obj).upload.write(offset, data)

    async def close(self, file_obj: object) -> None:
        """Finish an upload that the client closed; throw away any other."""
        with _answering():
            self._touch()
            file = _file(file_obj)
            if not _client_closes.get():  # nobody is there to be told, and asyncssh's cleaning up must go on
                self._forget(file)
                return
            try:
                if file.upload.failure is not None:
                    raise file.upload.failure
                await asyncio.to_thread(file.settle, file.name)
            except BaseException:
                self._forget(file)
                raise

    async def rename(self, oldpath: bytes, newpath: bytes) -> None:
        """Deliver a file whose name said that it was unfinished, under its final name."""
        with _answering():
            self._touch()
            file = self._files.get(folder_and_name(oldpath))
            folder, name = folder_and_name(newpath)
            if file is None or file.whole is None:
                raise NotThere("No file of this name was sent in this session", "Send it again.")
            if file.is_delivered:
                raise NotPermitted("The file was delivered already", "Send it under the new name.")
            if folder != file.folder:
                raise NotPermitted("A file stays in its folder", "Send it to the other folder.")
            self._refuse_taken(folder, name)
            self._files[folder, name] = self._files.pop((file.folder, file.name))
            file.name = name
            try:
                await asyncio.to_thread(file.settle, name)
            except BaseException:
                self._forget(file)
                raise

    async def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        """As `rename`: the extension may overwrite, this drop does not."""
        await self.rename(oldpath, newpath)

    def exit(self) -> None:
        """The session is over: what was not delivered goes."""
        for file in list(self._files.values()):
            self._forget(file)

    def _forget(self, file: _File) -> None:
        """In a thread that nobody waits for: another may hold the file's lock, and waiting may be cancelled."""
        if self._files.get((file.folder, file.name)) is file:
            del self._files[file.folder, file.name]
        asyncio.get_running_loop().run_in_executor(None, file.throw_away)

    # --- Looking ------------------------------------------------------------------------------------------------------

    def stat(self, path: bytes) -> asyncssh.SFTPAttrs:
        """A folder, or a file of this session with its size in clear: clients compare it with what they sent."""
        with _answering():
            self._touch()
            text = canonical(path)
            if text == "/" or text.strip("/") in self._login.account().folders:
                return _folder_attrs()
            file = self._files.get(folder_and_name(path))
            if file is None:
                raise NotThere("There is no such file or folder", "Only what this session sent is seen.")
            return _file_attrs(file)

    lstat = stat

    def fstat(self, file_obj: object) -> asyncssh.SFTPAttrs:
        """An open file."""
        with _answering():
            return _file_attrs(_file(file_obj))

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        """The account's folders, or the files of this session in one of them."""
        with _answering():
            self._touch()
            folder = canonical(path).strip("/")
            folders = self._login.account().folders
            if folder and folder not in folders:
                raise NotThere("There is no such folder", "Use the folder of a source.")
            entries = [(name, _folder_attrs()) for name in (".", "..")]
            if not folder:
                entries += [(name, _folder_attrs()) for name in sorted(folders)]
            entries += [(file.name, _file_attrs(file)) for file in self._files.values() if file.folder == folder]
        for name, attrs in entries:
            yield asyncssh.SFTPName(name.encode(), _longname(name, attrs).encode(), attrs)

    def realpath(self, path: bytes) -> bytes:
        """The path without `.` and `..`."""
        with _answering():
            return canonical(path).encode()

    # --- Harmless: clients set modes and times after an upload, and would report a failure ---------------------------

    def setstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        """Ignored."""

    lsetstat = setstat

    def fsetstat(self, file_obj: object, attrs: asyncssh.SFTPAttrs) -> None:
        """Ignored."""

    def fsync(self, file_obj: object) -> None:
        """Ignored: the file is synced before CLOSE is answered."""

    # --- Never --------------------------------------------------------------------------------------------------------

    def _never(self, *_arguments: Any, **_named: Any) -> Any:
        raise asyncssh.SFTPPermissionDenied("This drop only takes files: nothing is read, changed, linked or deleted.")

    open56 = read = remove = mkdir = rmdir = readlink = symlink = link = lock = unlock = _never
    statvfs = fstatvfs = map_path = reverse_map_path = _never

    def _refuse_taken(self, folder: str, name: str) -> None:
        if (folder, name) in self._files:
            raise NotPermitted("A file of this name was sent in this session", "Send it under another name.")


def _begin(account: Account, folder: str, name: str, source_id: UUID, room: Room) -> _File:
    tenant, file_id = account.tenant, uuid4()
    aad = ContainerAad(Kind.ARRIVAL, tenant.ref, file_id, source_id)
    upload = Upload(drop_folder(tenant.prefix), tenant.view.public_key, aad, tenant.mac_key, room)
    return _File(folder, name, file_id, source_id, account, upload)


def _source_id(account: Account, folder: str) -> UUID:
    if folder:
        if folder not in account.folders:
            raise NotThere("There is no such folder", "Use the folder of a source.")
        return account.folders[folder]
    if len(account.folders) != 1:
        raise NotPermitted("A file must lie in the folder of its source", "Change into a folder first.")
    return next(iter(account.folders.values()))


def _file(file_obj: object) -> _File:
    assert isinstance(file_obj, _File)  # noqa: S101 - asyncssh hands back what `open` gave
    return file_obj


def _folder_attrs() -> asyncssh.SFTPAttrs:
    now = int(time.time())
    return asyncssh.SFTPAttrs(size=0, uid=0, gid=0, permissions=stat.S_IFDIR | 0o700, atime=now, mtime=now)


def _file_attrs(file: _File) -> asyncssh.SFTPAttrs:
    now = int(time.time())
    return asyncssh.SFTPAttrs(
        size=file.size_bytes, uid=0, gid=0, permissions=stat.S_IFREG | 0o200, atime=now, mtime=now
    )


def _longname(name: str, attrs: asyncssh.SFTPAttrs) -> str:
    return f"{stat.filemode(attrs.permissions or 0)}    1 drop     drop     {attrs.size or 0:>12} Jan 01 00:00 {name}"
