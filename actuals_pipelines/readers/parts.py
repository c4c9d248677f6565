"""What one sent file holds: one reading, or one per file of an archive; the format as stated or as found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, cast

from actuals_pipelines.readers import open_reader
from actuals_pipelines.readers.packed import unpack
from actuals_pipelines.readers.reading import FileRefused, Reading


@dataclass(frozen=True, slots=True)
class Part:
    """One file being read: `place` from 1 within `of`; `name` as in the archive, None where there is none."""

    format: str
    reading: Reading
    name: str | None = None
    place: int = 1
    of: int = 1


def read_parts(stream: BinaryIO, options: Mapping[str, str], format: str | None = None) -> Iterator[Part]:
    """Begin to read each file in turn; one is read to its end before the next begins.

    Args:
        format: one of `readers.FORMATS`; None detects it for each file.

    Raises:
        FormatUnknown, FileEmpty, FileRefused: names the place in an archive of several files.
    """
    for packed in unpack(stream, format):
        reader = open_reader(packed.format)
        try:
            reading = reader.read(cast("BinaryIO", packed.stream), options)
        except FileRefused as refused:
            raise in_archive(refused, packed.place, packed.of) from None
        yield Part(reader.format, reading, packed.name, packed.place, packed.of)


def in_archive(refused: FileRefused, place: int, of: int) -> FileRefused:
    """The refusal with the place of its file where there are several."""
    if of == 1:
        return refused
    what = f"file {place} of {of} in the archive: {refused.what}"
    return FileRefused(refused.format, what, refused.advice, refused.line)
