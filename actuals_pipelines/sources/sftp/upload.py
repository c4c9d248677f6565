"""One upload: sealed as it arrives, under a name that no row knows, until it is whole and on the disk.

Nothing is written in clear. A dropped connection or a failed write leaves no file: what was half written cannot be
resumed under its key (`encryption/FORMAT.md`), so the customer sends the file again.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from actuals_pipelines.encryption.container import ContainerAad, ContainerDigest, ContainerWriter
from actuals_pipelines.encryption.durable import sync_folder
from actuals_pipelines.sources.sftp.errors import QuotaReached, UploadRefused

FOLDER = "drop"
HALF = ".part"  # the suffix of what is not whole; swept away at the next start


@dataclass(frozen=True, slots=True)
class Room:
    """How much there is for one upload."""

    file_bytes: int = 2 << 30
    free_disk_bytes: int = 1 << 30  # stays free, whatever is sent


@dataclass(frozen=True, slots=True)
class Whole:
    """An upload that is whole and on the disk, though no row names it yet."""

    path: Path
    size_bytes: int  # of the plaintext
    container_sha256: bytes
    sealed_key: bytes
    content_mac: bytes


class Upload:
    """Write in order, then `finish` or `discard`. Both may be called again and then do nothing more."""

    def __init__(self, folder: Path, public_key: bytes, aad: ContainerAad, mac_key: bytes, room: Room) -> None:
        """Begin `<folder>/<file uuid>.part`, 0600."""
        self.path = folder / str(aad.file)
        self._half = self.path.with_name(self.path.name + HALF)
        self._room = room
        self._mac = hmac.new(mac_key, digestmod="sha256")
        self.failure: UploadRefused | None = None
        self._refuse_full_disk(folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        self._file: BinaryIO | None = os.fdopen(os.open(self._half, flags, 0o600), "wb", buffering=0)
        self._writer = ContainerWriter(self._file, public_key, aad)
        self._next_disk_check = _DISK_CHECK_BYTES

    @property
    def size_bytes(self) -> int:
        """How much plaintext came so far."""
        return self._writer.size_bytes

    def write(self, offset: int, data: bytes) -> int:
        """Seal the next bytes. Raises UploadRefused, from then on always: a client may go on after a failed write."""
        if self.failure is None:
            try:
                self._write(offset, data)
            except UploadRefused as refused:
                self.fail(refused)
            except OSError:
                self.fail(UploadRefused("The file could not be stored", "Send it again later."))
        if self.failure is not None:
            raise self.failure
        return len(data)

    def fail(self, refused: UploadRefused) -> None:
        """Remember why, and leave nothing."""
        self.failure = refused
        self.discard()

    def discard(self) -> None:
        """Forget the key and remove the half file."""
        if self._file is None:
            return
        self._writer.abort()
        self._file.close()
        self._file = None
        self._half.unlink(missing_ok=True)

    def finish(self) -> Whole:
        """Seal the last chunk; return when file and name are on the disk. Raises UploadRefused, leaving nothing."""
        if self.failure is not None or self._file is None:
            raise self.failure or UploadRefused("The upload had ended", "Send the file again.")
        try:
            digest = self._synced(self._file)
        except OSError:
            self.fail(UploadRefused("The file could not be stored", "Send it again later."))
            raise self.failure from None  # type: ignore[misc]  # set by `fail`
        self._file.close()
        self._file = None
        return Whole(self.path, digest.size_bytes, digest.sha256, digest.sealed_key, self._mac.digest())

    def _synced(self, file: BinaryIO) -> ContainerDigest:
        digest = self._writer.finish()
        os.fsync(file.fileno())
        os.rename(self._half, self.path)
        sync_folder(self.path.parent)
        return digest

    def _write(self, offset: int, data: bytes) -> None:
        if offset != self.size_bytes:
            raise UploadRefused("The file did not come in order", "Send it again from its beginning.")
        if offset + len(data) > self._room.file_bytes:
            raise QuotaReached(f"A file may have {self._room.file_bytes} bytes", "Send smaller files.")
        self._mac.update(data)
        self._writer.write(data)
        if self.size_bytes >= self._next_disk_check:
            self._next_disk_check += _DISK_CHECK_BYTES
            self._refuse_full_disk(self.path.parent)

    def _refuse_full_disk(self, folder: Path) -> None:
        disk = os.statvfs(folder)
        if disk.f_bavail * disk.f_frsize < self._room.free_disk_bytes:
            raise QuotaReached("There is no room now", "Send the file again later; the operator is told.")


_DISK_CHECK_BYTES = 16 << 20


def drop_folder(prefix: Path) -> Path:
    """The tenant's drop folder, made if it is not there (0700). Its parent is made with the tenant, not here."""
    folder = prefix / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def sweep(prefix: Path) -> int:
    """Remove what a killed process left half written; return how many. Only while no other drop runs here."""
    halves = list((prefix / FOLDER).glob(f"*{HALF}"))
    for half in halves:
        half.unlink(missing_ok=True)
    return len(halves)


def relative_path(file: UUID) -> str:
    """What a row says of where the container lies, relative to the tenant's prefix."""
    return f"{FOLDER}/{file}"
