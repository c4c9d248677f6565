"""The tags of OFX: 1.x is SGML with values that no tag closes, 2.x is XML; one tolerant pass reads both.

No DTD and no entity of the file's own: a DOCTYPE refuses the file.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from actuals_pipelines.readers.packed import Peeked
from actuals_pipelines.readers.reading import MAX_FIELD_BYTES, FileRefused
from actuals_pipelines.readers.text import Utf8Stream

_CHUNK = 1 << 20
_HEADER_BYTES = 4_096
_STATED = re.compile(rb"(?:CHARSET\s*:\s*|encoding\s*=\s*[\"'])([\w.:-]+)", re.IGNORECASE)
_TOKEN = re.compile(
    r"<(/?)([A-Za-z][\w.:-]*)(?:\s[^<>]*)?(/?)>([^<]*)|<!\[CDATA\[(.*?)\]\]>([^<]*)|<!--.*?-->|<\?.*?\?>|<!(DOCTYPE|ENTITY)",
    re.DOTALL | re.IGNORECASE,
)
_OPEN_ENDED = (("<![CDATA[", "]]>"), ("<!--", "-->"), ("<?", "?>"))
_ENTITY = re.compile(r"&(amp|lt|gt|quot|apos|nbsp|#\d{1,7}|#x[0-9a-fA-F]{1,6});")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'", "nbsp": " "}


@dataclass(slots=True)
class Tag:
    """One tag: its name in capitals, the text up to the next tag (trimmed), the line it stands on."""

    name: str
    is_end: bool
    text: str
    line: int


def open_text(stream: BinaryIO) -> Utf8Stream:
    """The file as UTF-8. What its header says about its encoding counts only where the bytes are not UTF-8."""
    peeked = Peeked(stream)
    stated = _STATED.search(peeked.head[:_HEADER_BYTES])
    name = stated[1].decode("ascii", "replace") if stated else ""
    try:
        found = codecs.lookup(f"cp{name}" if name.isdecimal() else name).name if name else "cp1252"
    except LookupError:
        found = "cp1252"  # NONE, CSUNICODE and what else is written there
    fits = found.startswith(("cp", "iso8859", "windows")) and found != "cp65001"
    return Utf8Stream(cast("BinaryIO", peeked), found if fits else "cp1252", "ofx", is_markup=True)


def tags(text: Utf8Stream) -> Iterator[Tag]:  # noqa: PLR0912 - the branches are the kinds of one token
    """The tags in order, flat in memory.

    Raises:
        FileRefused: a DOCTYPE, or one value beyond the bound.
    """
    rest, line = "", 1
    held: Tag | None = None  # text in pieces (CDATA, a stray "<") still adds to it
    for buffer, is_last in _buffers(text):
        data = rest + buffer
        cut = len(data) if is_last else _safe_end(data)
        if len(data) - cut > MAX_FIELD_BYTES:
            raise FileRefused("ofx", f"a value is longer than {MAX_FIELD_BYTES} bytes", "Check the format.", line)
        place = 0
        for found in _TOKEN.finditer(data, 0, cut):
            start = found.start()
            if start > place and held is not None:
                held.text += data[place:start]
            line += data.count("\n", place, start)
            slash, name, empty, value, cdata, after, bad = found.groups()
            if bad:
                what = "it has a DOCTYPE or an entity of its own, which no bank file has"
                raise FileRefused("ofx", what, "It may be an attack; keep it.", line)
            if name:
                if held is not None:
                    yield _finished(held)
                held = Tag(name.upper(), bool(slash), value, line)
                if empty:
                    held.text = ""
            elif cdata is not None and held is not None:
                # What looks like an entity within CDATA is text.
                held.text += cdata.replace("&", "&amp;") + after
            line += data.count("\n", start, found.end())
            place = found.end()
        if place < cut:
            if held is not None:
                held.text += data[place:cut]
            line += data.count("\n", place, cut)
        rest = data[cut:]
        if held is not None and len(held.text) > MAX_FIELD_BYTES:
            raise FileRefused("ofx", f"a value is longer than {MAX_FIELD_BYTES} bytes", "Check the format.", line)
    if held is not None:
        yield _finished(held)


def _finished(tag: Tag) -> Tag:
    text = tag.text.strip()
    tag.text = _ENTITY.sub(_character, text) if "&" in text else text
    return tag


def _character(found: re.Match[str]) -> str:
    word = found[1]
    if not word.startswith("#"):
        return _ENTITIES[word]
    number = int(word[2:], 16) if word[1:2] in ("x", "X") else int(word[1:])
    is_character = 0x20 <= number < 0x110000 and not 0xD800 <= number < 0xE000
    return chr(number) if is_character else " "


def _buffers(text: Utf8Stream) -> Iterator[tuple[str, bool]]:
    """The text in pieces, each with whether it is the last."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    while chunk := text.read(_CHUNK):
        yield decoder.decode(chunk), False
    yield decoder.decode(b"", final=True), True


def _safe_end(data: str) -> int:
    """Up to where the tags are whole with their texts: before the last tag, and before what is still open."""
    cut = max(data.rfind("<"), 0)
    for start, end in _OPEN_ENDED:
        place = data.rfind(start, 0, cut + len(start))
        if place >= 0 and data.find(end, place) < 0:
            cut = min(cut, place)
        elif place >= 0 and data.find(end, place) >= cut:
            cut = place
    return cut
