"""What one sent file holds: one reading, or one per file of an archive; the format as stated or as found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, cast

from actuals_pipelines.readers import open_reader
from actuals_pipelines.readers.detect import TABLES, UNKNOWN
from actuals_pipelines.readers.packed import Packed, unpack
from actuals_pipelines.readers.reading import FileRefused, Reader, Reading


@dataclass(frozen=True, slots=True)
class Part:
    """One file being read: `place` from 1 within `of`; `name` as in the archive, None where there is none."""

    format: str
    reading: Reading
    name: str | None = None
    place: int = 1
    of: int = 1


def read_parts(
    stream: BinaryIO, options: Mapping[str, str], format: str | None = None, *, profile: str | None = None
) -> Iterator[Part]:
    """Begin to read each file in turn; one is read to its end before the next begins.

    Args:
        format: one of `readers.FORMATS`; None detects it for each file.
        profile: the text of a profile of one's own, by which every file is read.

    Raises:
        FormatUnknown, FileEmpty, FileRefused: names the place in an archive of several files.
    """
    for packed in unpack(stream, "csv" if profile is not None and format is None else format):
        try:
            reader = _own(profile) if profile is not None else open_reader(format or _known_by_profile(packed))
            reading = reader.read(cast("BinaryIO", packed.stream), options)
        except FileRefused as refused:
            raise in_archive(refused, packed.place, packed.of) from None
        yield Part(reader.format, reading, packed.name, packed.place, packed.of)


def _own(profile: str) -> Reader:
    from actuals_pipelines.readers.profiles import ProfileReader, load  # noqa: PLC0415 - as below

    return ProfileReader(load(profile, "the profile"))


def _known_by_profile(packed: Packed) -> str:
    """The profile that fits a table or a JSON document; the format itself where none does.

    Raises:
        FileRefused: two profiles fit alike, both named.
    """
    if packed.format not in TABLES:
        return packed.format
    # Profiles load an engine, which other formats can do without.
    from actuals_pipelines.readers.profiles import find  # noqa: PLC0415

    found = find(packed.stream.whole() if packed.format == "xlsx" else packed.stream.head)
    if len(found) > 1 and found[0].columns == found[1].columns:
        both = " and ".join(each.format for each in found if each.columns == found[0].columns)
        what = f"the profiles {both} fit it alike"
        raise FileRefused(UNKNOWN, what, f"Say which it is: --format {found[0].format}, for example.")
    if not found and packed.format == "json":
        what = "it is a JSON document of a kind that is not known here"
        raise FileRefused(UNKNOWN, what, "Write a profile for it, or ask the sender for another export.")
    return found[0].format if found else packed.format


def in_archive(refused: FileRefused, place: int, of: int) -> FileRefused:
    """The refusal with the place of its file where there are several."""
    if of == 1:
        return refused
    what = f"file {place} of {of} in the archive: {refused.what}"
    return FileRefused(refused.format, what, refused.advice, refused.line)
