"""What a remote folder is to us, whatever the protocol: files with a version, read to their end or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, Self

from actuals_pipelines.sources.failures import SourceFailed, Terminal, Transient


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file over there, as a listing showed it. Its name may hold personal data: no repr, log or error shows it."""

    folder: str = field(repr=False)
    name: str = field(repr=False)
    size_bytes: int
    version: str  # when it was changed, in the other side's words; with the size it tells one content from the next

    @property
    def path(self) -> str:
        """Where it lies."""
        return f"{self.folder.rstrip('/')}/{self.name}"


class Remote(Protocol):
    """One connection to a remote folder. Not for several threads at once."""

    def list(self, folder: str) -> list[RemoteFile]:
        """The regular files right in a folder; links, folders and devices are left out. Raises Transient, Terminal."""
        ...

    def read(self, files: Iterable[RemoteFile]) -> Iterator[tuple[RemoteFile, Iterator[bytes]]]:
        """Each file with its bytes, in order; read one to its end, or leave it, before the next.

        The bytes end only if they are as many as the listing said and the file is still that version; a connection that
        drops is made again and the reading goes on where it was.

        Raises while reading: FileChanged (that file alone); Transient, Terminal (all of them).
        """
        ...

    def move(self, file: RemoteFile, folder: str) -> None:
        """Move a file into another folder of the same server; it must not take another file's place there."""
        ...

    def delete(self, file: RemoteFile) -> None:
        """Delete a file; one that is gone already is deleted."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


class FileChanged(SourceFailed):
    """A file is not what the listing showed: still being written, replaced or gone."""

    what = "A remote file changed while it was read"
    advice = "Nothing of it was taken in; it is looked at again by the next run."


class FolderRefused(Terminal):
    """The folder is missing, may not be read, or holds more than we list."""

    what = "The remote folder cannot be listed"
    advice = "Correct `folder` in the source's connection, or ask the server's owner for the right to read it."


class SettlingRefused(Terminal):
    """A file that was taken in could not be moved or deleted over there."""

    what = "A remote file could not be moved or deleted after it was taken in"
    advice = "Its content is safe here. Ask the server's owner for the right, or set `after: keep`."


class ConnectionLost(Transient):
    """No connection, or it broke off, or nothing came in time."""

    what = "The remote server could not be reached"
    advice = "What was not whole was not taken in; the fetch is tried again. If it stays so, check host and network."


class AddressRefused(Terminal):
    """The home does not let sources reach this host, or this address."""

    what = "The remote server's address is not allowed"
    advice = (
        'Correct the host, or let the home reach it: `"remote": {"hosts": [...], "allow_private": true}` in home.json.'
    )
