"""Text -> fields: `:61:` and all that follows up to the next one. SWIFT FIN, and files that have lost their blocks."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO, cast

from actuals_pipelines.readers.reading import MAX_FIELD_BYTES, FileRefused
from actuals_pipelines.readers.text import Utf8Stream

_CHUNK = 256 << 10
_HEAD = 1 << 20  # what tells the code page
_TAGS = frozenset(
    "20 21 25 25P 28 28C 13 13D 34F 60F 60M 61 62F 62M 64 65 86 90C 90D NS 940 942".split()  # noqa: SIM905 - as in the standard
)
# A message ends with "-" alone, "-}" before the trailer, ETX, or ING's "-XXX"; a new block may come without any.
_END = re.compile(r"\n(?:-(?:\}[^\n]*|XXX[^\n]*|[ \t\x03]*)(?=\n|$)|\{1:)")


Field = tuple[str, str, int, str | None]
"""Tag, value with LF between its lines, the line it begins on, what follows the message's end or None if it goes on."""


def text_stream(stream: BinaryIO, encoding: str | None, format: str) -> Utf8Stream:
    """The stream as UTF-8: what it is, else the code page stated, else CP1252 or, with bytes that it lacks, ISO-8859-1.

    Amounts, dates and references are ASCII whatever the code page: only names and texts can come out wrong.
    """
    if encoding is not None:
        return Utf8Stream(stream, encoding, format)
    head = stream.read(_HEAD)
    try:
        head.decode("cp1252")
    except UnicodeDecodeError:
        return Utf8Stream(cast("BinaryIO", _From(head, stream)), "iso-8859-1", format)
    return Utf8Stream(cast("BinaryIO", _From(head, stream)), "cp1252", format)


class _From:
    """A stream whose beginning was looked at."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = head, rest

    def read(self, size: int) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._rest.read(size)


def fields(stream: Utf8Stream, format: str) -> Iterator[Field]:
    """Give the fields in order. What stands before the first and after a message's end are banks' own headers.

    A line that begins like a field with a tag that no statement has is part of the text before it.

    Raises:
        FileRefused: a field beyond the bound, or an encoding that does not fit.
    """
    tag, value, line = "", "", 0
    more: list[str] = []  # what goes on in the field's text, put together once
    size = 0
    for part, at in _parts(stream, format):
        begins, colon, rest = part.partition(":")
        if colon and begins in _TAGS:
            if tag:
                yield _field(tag, value, more, line)
            tag, value, line, more, size = begins, rest, at, [], 0
        elif tag:
            more.append(part)
            size += len(part) + 2
            if size > MAX_FIELD_BYTES:
                raise _too_long(format, line)
    if tag:
        yield _field(tag, value, more, line)


def _parts(stream: Utf8Stream, format: str) -> Iterator[tuple[str, int]]:
    """What stands between line ends that are followed by a colon, with the line it begins on."""
    decode = codecs.getincrementaldecoder("utf-8")().decode
    waiting, line = "\n", 0  # so that a colon on the first line begins a part too
    while True:
        data = stream.read(_CHUNK)
        waiting += decode(data, final=not data)
        *whole, rest = waiting.split("\n:")
        for part in whole:
            yield part, line
            line += part.count("\n") + 1
        if not data:
            yield rest, line
            return
        if len(rest) > MAX_FIELD_BYTES + _CHUNK:
            raise _too_long(format, line)
        waiting = rest


def _field(tag: str, value: str, more: list[str], line: int) -> Field:
    if more:
        value = "\n:".join((value, *more))
    if "\n-" not in value and "\n{" not in value:
        return tag, value, line, None
    end = _END.search(value)
    return (tag, value[: end.start()], line, value[end.start() :]) if end else (tag, value, line, None)


def _too_long(format: str, line: int) -> FileRefused:
    what = f"a field is longer than {MAX_FIELD_BYTES} bytes"
    return FileRefused(format, what, "Check that this is a statement in SWIFT's format.", line)
