"""One upload: sealed as it arrives, under a name that no row knows, until it is whole.

Nothing is written in clear. What is not sealed yet, at most a chunk, stays in memory with the key: there a client may
write over it, and after a lost connection go on where it stopped, for as long as this process lives. A chunk that is
sealed is never sealed again (`encryption/FORMAT.md`).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from actuals_pipelines.encryption.container import CHUNK_BYTES, ContainerAad, ContainerWriter
from actuals_pipelines.sources.sftp.errors import UploadRefused
from actuals_pipelines.sources.sftp.quota import Quota

FOLDER = "drop"
HALF = ".part"  # the suffix of what is not whole; swept away at the next start


@dataclass(frozen=True, slots=True)
class Whole:
    """An upload that has come to its end; durable when `name_and_sync` and a sync of its folder have returned."""

    half: Path  # where it lies until it is delivered
    path: Path
    size_bytes: int  # of the plaintext
    container_sha256: bytes
    sealed_key: bytes
    content_mac: bytes
    sha256: bytes | None  # of the plaintext, where the source asks for it

    def name_and_sync(self) -> None:
        """Give the file its name and make its content durable. Raises OSError.

        In this order one commit of the file system's journal holds both. A file without a row is garbage, whatever
        its name.
        """
        os.rename(self.half, self.path)
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Upload:
    """Write, then `finish` or `discard`. Both may be called again and then do nothing more."""

    def __init__(
        self,
        folder: Path,
        public_key: bytes,
        aad: ContainerAad,
        mac_key: bytes,
        quota: Quota,
        *,
        mark: str = "",
        with_sha256: bool = False,
    ) -> None:
        """Begin `<folder>/<file uuid><mark>.part`, 0600. Raises QuotaReached."""
        self.path = folder / str(aad.file)
        self._half = self.path.with_name(f"{self.path.name}{mark}{HALF}")
        self._quota = quota
        self._mac = hmac.new(mac_key, digestmod="sha256")
        self._sha256 = hashlib.sha256() if with_sha256 else None
        self.failure: UploadRefused | None = None
        self.whole: Whole | None = None
        quota.begin(folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        self._file: BinaryIO | None = os.fdopen(os.open(self._half, flags, 0o600), "wb", buffering=0)
        self._writer: ContainerWriter | None = ContainerWriter(self._file, public_key, aad)
        self._tail = bytearray()
        self._sealed_bytes = 0
        self._next_disk_check = _DISK_CHECK_BYTES

    @property
    def size_bytes(self) -> int:
        """How much plaintext came so far."""
        return self._sealed_bytes + len(self._tail) if self.whole is None else self.whole.size_bytes

    def write(self, offset: int, data: bytes) -> None:
        """Take bytes in. Raises UploadRefused, from then on always: a client may go on after a failed write."""
        if self._file is None and self.failure is None:
            self.failure = UploadRefused("The upload had ended", "Send the file again.")
        if self.failure is None:
            try:
                self._write(offset, data)
            except UploadRefused as refused:
                self.fail(refused)
            except OSError:
                self.fail(_not_stored())
        if self.failure is not None:
            raise self.failure

    def fail(self, refused: UploadRefused) -> None:
        """Remember why, and leave nothing."""
        self.failure = refused
        self.discard()

    def discard(self) -> None:
        """Forget the key and remove the file: for what was not delivered alone."""
        if self._file is None and self.whole is None:
            return
        self._quota.end(self.size_bytes)
        self._close()
        self._half.unlink(missing_ok=True)
        if self.whole is not None:
            self.whole = None
            self.path.unlink(missing_ok=True)

    def finish(self) -> Whole:
        """Seal the last chunk. Raises UploadRefused, leaving nothing."""
        if self.whole is not None:
            return self.whole
        if self.failure is not None or self._writer is None:
            raise self.failure or UploadRefused("The upload had ended", "Send the file again.")
        try:
            self._seal(self._tail)
            digest = self._writer.finish()
        except OSError:
            self.fail(_not_stored())
            raise self.failure from None  # type: ignore[misc]  # set by `fail`
        self.whole = Whole(
            half=self._half,
            path=self.path,
            size_bytes=digest.size_bytes,
            container_sha256=digest.sha256,
            sealed_key=digest.sealed_key,
            content_mac=self._mac.digest(),
            sha256=self._sha256.digest() if self._sha256 else None,
        )
        self._close()
        return self.whole

    def _write(self, offset: int, data: bytes) -> None:
        at = offset - self._sealed_bytes
        if not 0 <= at <= len(self._tail):
            raise UploadRefused("The file did not come in order", "Send it again from its beginning.")
        grows_by = max(0, at + len(data) - len(self._tail))
        self._quota.grow(self.size_bytes, grows_by)
        if grows_by == len(data):
            self._tail += data
        else:
            self._tail[at : at + len(data)] = data
        while len(self._tail) > CHUNK_BYTES:  # more follows, so this one is not the last
            with memoryview(self._tail) as tail, tail[:CHUNK_BYTES] as chunk:
                self._seal(chunk)
            del self._tail[:CHUNK_BYTES]
        if self._sealed_bytes >= self._next_disk_check:
            self._next_disk_check += _DISK_CHECK_BYTES
            self._quota.refuse_full_disk(self.path.parent)

    def _seal(self, data: bytearray | memoryview) -> None:
        self._mac.update(data)
        if self._sha256:
            self._sha256.update(data)
        assert self._writer is not None  # noqa: S101 - `write` and `finish` have looked
        self._writer.write(data)
        self._sealed_bytes += len(data)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.abort()
            self._writer = None  # it holds a chunk's memory
        self._tail = bytearray()
        if self._file is not None:
            self._file.close()
            self._file = None


_DISK_CHECK_BYTES = 16 << 20


def _not_stored() -> UploadRefused:
    return UploadRefused("The file could not be stored", "Send it again later; the operator is told.")


def drop_folder(prefix: Path) -> Path:
    """The tenant's drop folder, made if it is not there (0700). Its parent is made with the tenant, not here."""
    folder = prefix / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def sweep(prefix: Path) -> set[str]:
    """Remove what a killed process left half written; return its marks. Only while no other drop runs here."""
    marks = set()
    for half in (prefix / FOLDER).glob(f"*{HALF}"):
        half.unlink(missing_ok=True)
        marks.add(half.name.removesuffix(HALF)[_UUID_CHARACTERS:])
    return marks


_UUID_CHARACTERS = 36


def relative_path(file: UUID) -> str:
    """What a row says of where the container lies, relative to the tenant's prefix."""
    return f"{FOLDER}/{file}"
