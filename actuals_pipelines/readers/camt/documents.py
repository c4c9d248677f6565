"""One stream, several XML documents: banks append one to the other and call it a file."""

from __future__ import annotations

import codecs
import re
from typing import BinaryIO

from actuals_pipelines.readers.reading import FileRefused

MAX_ELEMENT_BYTES = 8 << 20
"""Between two entries or details: one of them, or all that stands above the first."""

_PROLOG_BYTES = 64 << 10
_NAME = re.compile(rb"<([A-Za-z_][\w.:-]*)[\s/>]")
_END = re.compile(rb"\s*>")
_BLANK = b" \t\r\n"
_LONGEST_BLANK = 256  # between the name of the last tag and its ">"


class Documents:
    """A stream whose `read` ends at the end of each document; `next` goes on to the one after it.

    The end of a document is the first end tag with its root's name. Where that stands in a comment or a CDATA section
    the document ends too early for libxml2, and is refused: nothing is passed over.
    """

    def __init__(self, stream: BinaryIO, format: str) -> None:
        self._stream, self._format = stream, format
        self._waiting = b""
        self._end_tag = b""
        self._ended = True  # the document; the first one begins with `next`
        self.total = self.since_event = 0

    def next(self) -> bool:
        """Go to the next document; False where none is left.

        Raises:
            FileRefused: a document type, or what follows the last document is no other one.
        """
        while self.read(1 << 16):  # what the parser left of the last document
            pass
        self._skip_blank()
        if not self._waiting:
            return False
        root = self._root()
        if root is None:
            return False
        self._end_tag = b"</" + root if root else b""
        self._ended, self.since_event = False, 0
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes of this document, b"" at its end.

        Raises:
            FileRefused: `MAX_ELEMENT_BYTES` went by since `since_event` was last set to 0.
        """
        if self._ended:
            return b""
        data = self._take(max(size, 1 << 16))
        self.since_event += len(data)
        if self.since_event > MAX_ELEMENT_BYTES:
            what = f"{MAX_ELEMENT_BYTES} bytes hold no complete entry"
            raise FileRefused(self._format, what, "Ask the bank for smaller files.")
        return data

    def _take(self, size: int) -> bytes:
        """Bytes up to the end tag; what may be the beginning of one waits for the next read of the stream."""
        while True:
            more = self._more(size)
            data, self._waiting = self._waiting + more, b""
            end = self._end(data)
            if end:
                self._ended, self._waiting = True, data[end:]
                return data[:end]
            if not more or not self._end_tag:
                self._ended = not more  # in the middle, if there is an end tag to come: libxml2 says where
                return data
            cut = data.rfind(b"<", max(0, len(data) - len(self._end_tag) - _LONGEST_BLANK))
            if cut < 0:
                return data
            self._waiting = data[cut:]
            if cut:
                return data[:cut]

    def _end(self, data: bytes) -> int:
        """Where the end tag ends, 0 where it does not."""
        start = data.find(self._end_tag) if self._end_tag else -1
        while start >= 0:
            found = _END.match(data, start + len(self._end_tag))
            if found:
                return found.end()
            start = data.find(self._end_tag, start + 1)
        return 0

    def _more(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.total += len(data)
        return data

    def _skip_blank(self) -> None:
        self._waiting = self._waiting.lstrip(_BLANK)
        while not self._waiting:
            data = self._more(1 << 16)
            if not data:
                return
            self._waiting = data.lstrip(_BLANK)

    def _root(self) -> bytes | None:
        """The root's name as written; b"" where this is not ASCII text (one document then), None for no element.

        Raises:
            FileRefused: a document type.
        """
        while len(self._waiting) < _PROLOG_BYTES and (data := self._more(_PROLOG_BYTES)):
            self._waiting += data
        head = self._waiting[:_PROLOG_BYTES].removeprefix(codecs.BOM_UTF8)
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b"<\0", b"\0<")):
            return b""
        place = 0
        while True:
            place = len(head) - len(head[place:].lstrip(_BLANK))
            if place and head.startswith(b"<?xml", place):  # after a comment that stood between two documents
                self._waiting, head, place = head[place:] + self._waiting[_PROLOG_BYTES:], head[place:], 0
            if head.startswith(b"<?", place):
                end, after = head.find(b"?>", place), 2
            elif head.startswith(b"<!--", place):
                end, after = head.find(b"-->", place + 4), 3
            elif head[place : place + 9].upper() == b"<!DOCTYPE":
                raise doctype(self._format)
            elif place == len(head):
                self._waiting = b""
                return None
            else:
                found = _NAME.match(head, place)
                return found.group(1) if found else b""
            if end < 0:
                return b""
            place = end + after


def doctype(format: str) -> FileRefused:
    """A document type can carry entities: refused before they are read."""
    return FileRefused(format, "it has a DOCTYPE, which no bank file has", "It may be an attack; keep it.")
