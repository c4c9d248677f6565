"""One sFTP session: the virtual folders of one account, into which files are dropped and out of which nothing comes.

A file is delivered when its row is committed, and only then is the client told that all is well: at CLOSE, or at the
rename of a file whose name said that it was unfinished, or at the CLOSE of its side file. OpenSSH sends CLOSE after a
WRITE that failed: that delivers nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import asyncssh

from actuals_pipelines.encryption.container import NIL, ContainerAad, Kind
from actuals_pipelines.sources.sftp import packets
from actuals_pipelines.sources.sftp.accounts import Account, Folder, Login
from actuals_pipelines.sources.sftp.errors import DropRefused, NotPermitted, NotThere
from actuals_pipelines.sources.sftp.names import canonical, folder_and_name
from actuals_pipelines.sources.sftp.quota import Quota
from actuals_pipelines.sources.sftp.shown import entry, file_attrs, folder_attrs
from actuals_pipelines.sources.sftp.tray import Sent, SideText, Tray, is_side, taken_over
from actuals_pipelines.sources.sftp.upload import Upload, drop_folder

log = logging.getLogger(__name__)

packets.install()

_WRITE_ONLY = NotPermitted("This drop is write-only", "Send files: they are not read back.")


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


class _Handle:
    """What an open file is to asyncssh."""

    __slots__ = ("file", "is_appending")

    def __init__(self, file: Sent, is_appending: bool) -> None:
        self.file, self.is_appending = file, is_appending


class DropSession(asyncssh.SFTPServer):
    """What asyncssh calls for each request. Every public method of the base is overridden: it works on our disk."""

    def __init__(
        self, channel: Any, login: Login, *, tray: Tray, quota: Quota, lost: set[str], touch: Callable[[], None]
    ) -> None:
        """`lost`: the marks of half files that an earlier process left (`Account.mark`)."""
        super().__init__(channel)
        self._login, self._tray, self._quota, self._lost, self._touch = login, tray, quota, lost, touch

    # --- Uploading ----------------------------------------------------------------------------------------------------

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        """Begin an upload; without TRUNC go on with the half file of this name, if there is one."""
        with _answering():
            self._touch()
            if pflags & asyncssh.FXF_READ or not pflags & (asyncssh.FXF_WRITE | asyncssh.FXF_APPEND):
                raise _WRITE_ONLY
            account = self._login.account()
            folder, name = self._place(account, path)
            is_appending = bool(pflags & asyncssh.FXF_APPEND)
            file = None
            if not pflags & (asyncssh.FXF_TRUNC | asyncssh.FXF_EXCL):
                file = self._tray.take_over(folder.name, name, self)
            if file is None:
                self._tray.admit(folder.name, name, self)
                file = self._begin(account, folder, name)
                self._tray.add(file)
            return _Handle(file, is_appending)

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        """Seal the next bytes; of a file opened for appending they go to its end, wherever the client says."""
        with _answering():
            self._touch()
            handle = _handle(file_obj)
            file = handle.file
            if file.content.failure is None and file.holder is not self:
                raise taken_over()
            file.content.write(file.size_bytes if handle.is_appending else offset, data)
            return len(data)

    async def close(self, file_obj: object) -> None:
        """Finish an upload that the client closed; leave any other for a resume."""
        with _answering():
            if not packets.client_closes.get():
                return  # asyncssh cleans up; `exit` follows
            self._touch()
            file = _handle(file_obj).file
            await self._deliver(self._tray.close(file, self))

    async def rename(self, oldpath: bytes, newpath: bytes) -> None:
        """Deliver a file whose name said that it was unfinished, under its final name."""
        with _answering():
            self._touch()
            account = self._login.account()
            folder, name = self._place(account, oldpath)
            file = self._tray.find(folder.name, name)
            if file is None and self._tray.size_of(folder.name, name) is not None:
                raise NotPermitted("The file was delivered already", "Send it under the new name.")
            if file is None:
                raise NotThere("No file of this name was sent", "Send it first.")
            to_folder, to_name = self._place(account, newpath)
            await self._deliver(self._tray.rename(file, to_folder.name, to_name, self))

    async def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        """As `rename`: the extension may overwrite, this drop does not."""
        await self.rename(oldpath, newpath)

    def exit(self) -> None:
        """The session is over: what was not whole waits for the next."""
        self._tray.leave(self)

    async def _deliver(self, file: Sent | None) -> None:
        if file is not None:
            # Shielded: a connection that drops now cancels this wait, and never what becomes of the file.
            await asyncio.shield(asyncio.ensure_future(self._tray.deliver(file, self)))

    def _begin(self, account: Account, folder: Folder, name: str) -> Sent:
        tenant, file_id, source = account.tenant, uuid4(), folder.source
        self._lost.discard(account.mark(folder.name, name))
        side_file = source.side_file if source else None
        content: Upload | SideText
        if is_side(name, side_file):
            content = SideText()
        else:
            source_id = source.uuid if source else NIL
            content = Upload(
                drop_folder(tenant.prefix),
                tenant.view.public_key,
                ContainerAad(Kind.ARRIVAL, tenant.ref, file_id, source_id),
                tenant.mac_key,
                self._quota,
                mark=account.mark(folder.name, name),
                with_sha256=side_file is not None and side_file.value == "sha256",
            )
        return Sent(
            folder.name, name, file_id, source.uuid if source else None, side_file, account, content, holder=self
        )

    def _place(self, account: Account, path: bytes) -> tuple[Folder, str]:
        folder, name = folder_and_name(path)
        return account.folder(folder), name

    # --- Looking ------------------------------------------------------------------------------------------------------

    def stat(self, path: bytes) -> asyncssh.SFTPAttrs:
        """A folder, or a file of this account's with its size in clear: clients compare it with what they sent."""
        with _answering():
            self._touch()
            account = self._login.account()
            text = canonical(path)
            if text == "/" or text.strip("/") in account.folders:
                return folder_attrs()
            folder, name = self._place(account, path)
            size_bytes = self._tray.size_of(folder.name, name)
            if size_bytes is None and account.mark(folder.name, name) in self._lost:
                size_bytes = 0  # its key went with the process that took its half: the sender begins anew
            if size_bytes is None:
                raise NotThere("There is no such file or folder", "Only what this account sent today is seen.")
            return file_attrs(size_bytes)

    lstat = stat

    def fstat(self, file_obj: object) -> asyncssh.SFTPAttrs:
        """An open file."""
        with _answering():
            return file_attrs(_handle(file_obj).file.size_bytes)

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        """The account's folders, or what it sent to one of them today."""
        with _answering():
            self._touch()
            account = self._login.account()
            asked = canonical(path).strip("/")
            if asked and asked not in account.folders:
                raise NotThere("There is no such folder", "Use the folder of a source.")
            entries = [entry(name, folder_attrs()) for name in (".", "..")]
            if not asked:
                entries += [entry(name, folder_attrs()) for name in sorted(account.shown_folders)]
            files = self._tray.listed(account.folder(asked).name)
            if asked or not account.has_one_source:
                entries += [entry(name, file_attrs(size_bytes)) for name, size_bytes in files]
        for one in entries:
            yield one

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


def _handle(file_obj: object) -> _Handle:
    assert isinstance(file_obj, _Handle)  # noqa: S101 - asyncssh hands back what `open` gave
    return file_obj
