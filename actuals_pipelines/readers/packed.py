"""Zip and gzip: one level, with limits, nothing ever written to disk.

An archive inside an archive is refused, and so is what unpacks to far more than a person would pack.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from actuals_pipelines.readers.detect import GZIP, HEAD_BYTES, UNKNOWN, ZIP, detect
from actuals_pipelines.readers.reading import FileEmpty, FileRefused

MAX_PACKED_BYTES = 512 << 20  # an archive's directory stands at its end, so it lies in memory whole
MAX_UNPACKED_BYTES = 8 << 30
MAX_FILES = 1_000
MAX_RATIO = 200  # statements pack to a tenth, dull XML to a fiftieth
_UNSUSPICIOUS_BYTES = 32 << 20  # a small file may be as dull as it likes
_CHUNK = 1 << 20
_ZIPPED_FORMATS = ("xlsx",)
_ADVICE = "Ask the sender for the files themselves."
_DOCUMENTS = (
    ("word/", "a Word document"),
    ("ppt/", "a PowerPoint document"),
    ("META-INF/MANIFEST.MF", "a Java program"),
    ("AndroidManifest.xml", "an Android program"),
)
_WORKBOOKS = ("xl/workbook.xml", "xl/workbook.bin")


class Peeked:
    """A stream whose beginning can be looked at before it is read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.head = _up_to(stream, HEAD_BYTES)
        self._left = memoryview(self.head)

    def read(self, size: int = -1) -> bytes:
        """As a file: `size` bytes, fewer only at the end."""
        if size < 0:
            taken, self._left = bytes(self._left), memoryview(b"")
            return taken + self._stream.read()
        taken, self._left = bytes(self._left[:size]), self._left[size:]
        return taken if len(taken) == size else taken + self._stream.read(size - len(taken))

    def whole(self) -> bytes:
        """All that there is, within the bound of what is packed, without consuming it."""
        self._left = memoryview(bytes(self._left) + _up_to(self._stream, MAX_PACKED_BYTES))
        return bytes(self._left)

    def readline(self, limit: int = -1) -> bytes:
        """As a file: up to and with the next line end."""
        line = bytearray()
        while limit < 0 or len(line) < limit:
            byte = self.read(1)
            line += byte
            if byte in (b"\n", b""):
                break
        return bytes(line)


@dataclass(frozen=True, slots=True)
class Packed:
    """One file out of what was sent: `place` from 1 within `of`; `name` is None where it was not packed."""

    stream: Peeked
    format: str  # as `detect` says; never zip or gzip
    name: str | None = None
    place: int = 1
    of: int = 1


def unpack(stream: BinaryIO, format: str | None = None) -> Iterator[Packed]:
    """The file itself, or each file that was packed into it; a workbook is a file and no archive.

    Args:
        format: what the files are said to be; None detects it for each.

    Raises:
        FileEmpty, FileRefused: another kind of file; damaged, encrypted, nested or beyond the limits. While a file is
            read too: how far it unpacks shows then.
    """
    peeked = Peeked(stream)
    if peeked.head.startswith(GZIP):
        inner = Peeked(_Gunzip(peeked))  # type: ignore[arg-type]  # it has what is used of a stream: read
        yield Packed(inner, _inner_kind(inner.head, format))
    elif peeked.head.startswith(ZIP) and format not in _ZIPPED_FORMATS:
        yield from _zipped(peeked, format)
    else:
        yield Packed(peeked, format or detect(peeked.head))


def _inner_kind(head: bytes, format: str | None) -> str:
    kind = "zip" if head.startswith(ZIP) else "gzip" if head.startswith(GZIP) else format or detect(head)
    if kind == "zip" and format in _ZIPPED_FORMATS:
        return format
    if kind == "zip" and b"[Content_Types].xml" in head[:4_096]:
        return "xlsx"
    if kind in ("zip", "gzip"):
        raise FileRefused(UNKNOWN, "it is an archive inside an archive", _ADVICE)
    return kind


def _zipped(peeked: Peeked, format: str | None) -> Iterator[Packed]:
    data = _up_to(peeked, MAX_PACKED_BYTES + 1)
    if len(data) > MAX_PACKED_BYTES:
        raise FileRefused(UNKNOWN, f"the archive is larger than {MAX_PACKED_BYTES} bytes", "Send it in parts.")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = [each for each in archive.infolist() if not each.is_dir() and not _is_litter(each.filename)]
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError):
        raise FileRefused(UNKNOWN, "it is half a ZIP archive, or damaged", "Ask for it again.") from None
    names = {each.filename for each in members}
    if names.intersection(_WORKBOOKS) or _is_sheet(archive, names):
        yield Packed(Peeked(io.BytesIO(data)), "xlsx")
        return
    kind = next((words for mark, words in _DOCUMENTS if any(name.startswith(mark) for name in names)), None)
    if kind:
        raise FileRefused(UNKNOWN, f"it is {kind}", "Ask the sender for the export that a program can read.")
    if not members:
        raise FileEmpty(UNKNOWN)
    if len(members) > MAX_FILES:
        raise FileRefused(UNKNOWN, f"the archive holds more than {MAX_FILES} files", "Send it in parts.")
    if any(each.flag_bits & 1 for each in members):
        raise FileRefused(UNKNOWN, "it is a ZIP archive protected by a password", _ADVICE)
    ratio = _Ratio()  # of the whole archive: its files may share their packed bytes
    ratio.packed = len(data)
    for place, member in enumerate(members, 1):
        inner = Peeked(_Member(archive, member, ratio))  # type: ignore[arg-type]  # as above
        yield Packed(inner, _inner_kind(inner.head, format), member.filename, place, len(members))


def _is_litter(name: str) -> bool:
    """What operating systems add."""
    return name.startswith("__MACOSX/") or name.rsplit("/", 1)[-1] in (".DS_Store", "Thumbs.db", "desktop.ini")


def _is_sheet(archive: zipfile.ZipFile, names: set[str]) -> bool:
    """An OpenDocument spreadsheet says so in its first file; another OpenDocument is refused."""
    if "mimetype" not in names or "content.xml" not in names:
        return False
    try:
        with archive.open("mimetype") as file:
            said = file.read(200)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError):
        return False
    if b"opendocument.spreadsheet" not in said:
        raise FileRefused(UNKNOWN, "it is an OpenDocument text or picture", "Ask the sender for the table.")
    return True


class _Ratio:
    """Counts what goes in and what comes out."""

    def __init__(self) -> None:
        self.packed = self.unpacked = 0

    def add(self, packed: int, unpacked: int) -> None:
        self.packed += packed
        self.unpacked += unpacked
        if self.unpacked > MAX_UNPACKED_BYTES:
            raise FileRefused(UNKNOWN, f"it unpacks to over {MAX_UNPACKED_BYTES} bytes", "Send it in parts.")
        if self.unpacked > _UNSUSPICIOUS_BYTES and self.unpacked > MAX_RATIO * max(self.packed, 1):
            raise FileRefused(
                UNKNOWN, f"it unpacks to over {MAX_RATIO} times its size", "It may be an attack; keep it."
            )


class _Gunzip:
    """The content of a gzip stream, of all its members."""

    def __init__(self, stream: Peeked) -> None:
        self._stream, self._ratio = stream, _Ratio()
        self._inflate = zlib.decompressobj(wbits=31)
        self._waiting = b""
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        """As a file; never more in memory than was asked for."""
        parts: list[bytes] = []
        missing = size if size >= 0 else MAX_UNPACKED_BYTES
        while missing > 0 and not self._ended:
            part = self._some(min(missing, _CHUNK))
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _some(self, most: int) -> bytes:
        if self._inflate.eof:
            rest = self._inflate.unused_data or self._stream.read(_CHUNK)
            if not rest.strip(b"\0"):  # padding after the last member is usual
                self._ended = True
                return b""
            self._inflate, self._waiting = zlib.decompressobj(wbits=31), rest
        given = self._waiting or self._stream.read(_CHUNK)
        if not given:
            raise FileRefused(UNKNOWN, "it is half a gzip file", "It was cut off; ask for it again.")
        try:
            out = self._inflate.decompress(given, most)
        except zlib.error:
            raise FileRefused(UNKNOWN, "it is a damaged gzip file", "Ask for it again.") from None
        self._waiting = self._inflate.unconsumed_tail
        self._ratio.add(len(given) - len(self._waiting), len(out))
        return out


class _Member:
    """One file of an archive."""

    def __init__(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, ratio: _Ratio) -> None:
        self._ratio = ratio
        try:
            self._file = archive.open(member)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError):
            raise _damaged() from None

    def read(self, size: int = -1) -> bytes:
        """As a file; never more in memory than was asked for."""
        parts: list[bytes] = []
        missing = size if size >= 0 else MAX_UNPACKED_BYTES
        while missing > 0:
            try:
                part = self._file.read(min(missing, _CHUNK))
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError):
                raise _damaged() from None
            if not part:
                break
            self._ratio.add(0, len(part))
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def _damaged() -> FileRefused:
    return FileRefused(UNKNOWN, "a file in the archive is damaged, or packed in a way that is not read", _ADVICE)


def _up_to(stream: BinaryIO | Peeked, size: int) -> bytes:
    """`size` bytes, fewer only at the end: a pipe may give less at a time."""
    parts: list[bytes] = []
    missing = size
    while missing > 0:
        part = stream.read(min(missing, _CHUNK))
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
