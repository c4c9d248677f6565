"""How much a tenant may leave: bytes of a file, files and bytes of a day, and what stays free on the disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from actuals_pipelines.sources.sftp.errors import QuotaReached


@dataclass(frozen=True, slots=True)
class Room:
    """How much there is."""

    file_bytes: int = 2 << 30
    free_disk_bytes: int = 1 << 30  # stays free, whatever is sent
    day_bytes: int = 50 << 30  # of one tenant
    day_files: int = 100_000


def today() -> date:
    """The day that quotas and listings go by: UTC, for tenants of many zones share a drop."""
    return datetime.now(UTC).date()


@dataclass(slots=True)
class Quota:
    """What one tenant has left today, sealed files of before this process began included. For one thread at a time.

    Bytes count where they lie on the disk: what is thrown away is given back.
    """

    room: Room
    clock: Callable[[], date] = today
    _day: date | None = None
    _files: int = 0
    _bytes: int = field(default=0)

    def begin(self, folder: Path) -> None:
        """One more file. Raises QuotaReached."""
        self._turn(folder)
        self.refuse_full_disk(folder)
        if self._files >= self.room.day_files:
            raise QuotaReached(f"There may be {self.room.day_files} files a day", "Send the rest tomorrow.")
        self._files += 1

    def grow(self, size_bytes: int, by: int) -> None:
        """A file of `size_bytes` gets `by` more. Raises QuotaReached."""
        if size_bytes + by > self.room.file_bytes:
            raise QuotaReached(f"A file may have {self.room.file_bytes} bytes", "Send smaller files.")
        if self._bytes + by > self.room.day_bytes:
            raise QuotaReached(f"There may be {self.room.day_bytes} bytes a day", "Send the rest tomorrow.")
        self._bytes += by

    def end(self, size_bytes: int) -> None:
        """A file was thrown away."""
        self._files = max(0, self._files - 1)
        self._bytes = max(0, self._bytes - size_bytes)

    def refuse_full_disk(self, folder: Path) -> None:
        """Raise QuotaReached where the disk is nearly full."""
        disk = os.statvfs(folder)
        if disk.f_bavail * disk.f_frsize < self.room.free_disk_bytes:
            raise QuotaReached("There is no room now", "Send the file again later; the operator is told.")

    def _turn(self, folder: Path) -> None:
        """At the first file of a day, and of this process: what lies there of today counts."""
        day = self.clock()
        if day == self._day:
            return
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
        with os.scandir(folder) as entries:
            sizes = [found.st_size for entry in entries if (found := entry.stat()).st_mtime >= midnight]
        self._day, self._files, self._bytes = day, len(sizes), sum(sizes)
