"""Bytes of unknown encoding -> UTF-8 with LF line ends, in a stream that never holds more than a chunk.

What it decides once, it keeps: a byte order mark, else UTF-8, else the code page that the source states. Nothing is
guessed and nothing is dropped: text that is neither is refused with its line.
"""

from __future__ import annotations

import codecs
from typing import BinaryIO

from actuals_pipelines.readers.reading import FileEmpty, FileRefused, OptionRefused

_CHUNK = 1 << 20
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_XML = "an XML document"
_NOT_TEXT = (
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook or another Office document"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"PAR1", "a Parquet file"),
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<?xml", _XML),
)


class Utf8Stream:
    """A readable binary stream of UTF-8 with LF line ends over `stream`, whatever its encoding and line ends.

    Args:
        encoding: what the source states: a code page for what is not UTF-8, "utf-8" for nothing else, None if it
            states nothing.
        is_markup: XML is what is asked for, and no foreign kind.
    """

    def __init__(
        self, stream: BinaryIO, encoding: str | None, format: str, quote: str = '"', *, is_markup: bool = False
    ) -> None:
        self.format, self.lines = format, 0  # line ends read so far
        self.quotes = 0  # quote characters read so far: an odd number tells of one that is not closed
        self._quote = quote.encode("ascii")
        self._stream = stream
        self._stated = _codec(encoding, format)
        self._name: str | None = None  # decided at the first byte that is not ASCII
        self._decoder: codecs.IncrementalDecoder | None = None
        self._waiting = b""
        self._carriage = False
        self._ended = False
        self._last = b""
        first = stream.read(_CHUNK)
        if not first.strip():
            raise FileEmpty(format)
        kind = _not_text(first)
        if kind and not (is_markup and kind == _XML):
            raise FileRefused(format, f"it is {kind}", "Ask the sender for the export in the agreed format.")
        mark, name = next(((m, n) for m, n in _MARKS if first.startswith(m)), (b"", None))
        if name:
            self._decide(name)
            first = first[len(mark) :]
        self._take(first)

    @property
    def encoding(self) -> str:
        """The encoding that was taken; plain ASCII so far counts as UTF-8."""
        return self._name or "utf-8"

    @property
    def closed(self) -> bool:
        return False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def peek(self, size: int) -> bytes:
        """Up to `size` bytes from here, without consuming them."""
        while len(self._waiting) < size and not self._ended:
            self._more()
        return self._waiting[:size]

    def read(self, size: int = -1) -> bytes:
        """As a file: `size` bytes, fewer only at the end."""
        while (size < 0 or len(self._waiting) < size) and not self._ended:
            self._more()
        cut = len(self._waiting) if size < 0 else size
        data, self._waiting = self._waiting[:cut], self._waiting[cut:]
        return data

    def last_line(self) -> str:
        """What stands after the last line end, for who asks whether the file stops in the middle."""
        return self._last.decode("utf-8", "replace")

    def _more(self) -> None:
        chunk = self._stream.read(_CHUNK)
        if chunk:
            self._take(chunk)
        else:
            self._ended = True
            self._add(self._decode(b"", final=True))

    def _take(self, chunk: bytes) -> None:
        self._add(self._decode(chunk, final=False))

    def _add(self, text: bytes) -> None:
        if self._carriage:  # a CR ended the last chunk: it may have been half of CR LF
            text, self._carriage = b"\r" + text, False
        if text.endswith(b"\r") and not self._ended:
            text, self._carriage = text[:-1], True
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\0" in text:
            line = self.lines + text[: text.index(b"\0")].count(b"\n") + 1
            raise FileRefused(
                self.format, "it holds NUL bytes: it is binary, or UTF-16 without its mark", "Export it as text.", line
            )
        self.lines += text.count(b"\n")
        self.quotes += text.count(self._quote)
        cut = text.rfind(b"\n")
        self._last = self._last + text if cut < 0 else text[cut + 1 :]
        self._waiting += text

    def _decode(self, chunk: bytes, final: bool) -> bytes:
        """The chunk as UTF-8 bytes; an incomplete character at its end waits for the next."""
        if self._decoder is None:
            if chunk.isascii():
                return chunk
            self._decide(self._fitting(chunk))
        assert self._decoder is not None  # noqa: S101 - _decide has just made it
        try:
            return self._decoder.decode(chunk, final).encode("utf-8")
        except UnicodeDecodeError as error:
            line = self.lines + error.object[: error.start].count(b"\n") + 1
        if self._stated:
            what = f"it begins as {self._name}, and this line is not {self._name}"
            advice = "One file has one encoding; ask the sender which."
        else:
            what = "this line is not UTF-8"
            advice = "State the code page in the source's reader options, for example encoding: cp1252."
        raise FileRefused(self.format, what, advice, line) from None

    def _fitting(self, chunk: bytes) -> str:
        """UTF-8 if the first chunk with something to tell is UTF-8, else the stated code page."""
        if self._stated and self._stated != "utf-8":
            try:
                codecs.getincrementaldecoder("utf-8")().decode(chunk)
            except UnicodeDecodeError:
                return self._stated
        return "utf-8"

    def _decide(self, name: str) -> None:
        self._name = name
        self._decoder = codecs.getincrementaldecoder(name)()


def _codec(encoding: str | None, format: str) -> str | None:
    if encoding is None:
        return None
    try:
        info = codecs.lookup(encoding)
    except LookupError:
        info = None
    if info is None or not getattr(info, "_is_text_encoding", True):
        raise OptionRefused(format, "encoding", "a name such as utf-8, cp1252, iso-8859-15 or cp1250")
    return "utf-8" if info.name in ("utf-8", "utf-8-sig", "ascii") else info.name


def _not_text(head: bytes) -> str | None:
    trimmed = head.removeprefix(codecs.BOM_UTF8).lstrip()[:64]
    return next((name for mark, name in _NOT_TEXT if head.startswith(mark) or trimmed.lower().startswith(mark)), None)
