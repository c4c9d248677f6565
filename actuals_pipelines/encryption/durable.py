"""Small files that must be whole or absent: written aside, synced, then named."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_durably(path: Path, content: bytes, *, mode: int, replace: bool = False) -> None:
    """Write a small file so that a crash leaves the old state or the new one, never half a file.

    Args:
        mode: permissions, set before the first byte is written.
        replace: take the place of an existing file; without it an existing file is left alone.

    Raises:
        FileExistsError: the file is there and `replace` is false; also when another process was quicker.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}~")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)  # whatever the umask says
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(aside, path)
        else:
            os.link(aside, path)  # unlike rename, refuses to take an existing file's place
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a folder's names durable: without this a crash can undo a rename or bring a deleted file back."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
