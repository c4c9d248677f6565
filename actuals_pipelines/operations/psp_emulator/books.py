"""The PSP's books: NDJSON files per endpoint and booking day, read in pages without ever being held in memory."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import itertools
import json
import secrets
from dataclasses import dataclass
from datetime import date
from pathlib import Path

_TAG_BYTES = 12


class CursorRefused(Exception):
    """A cursor that this server did not give out, or gave out for another question."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a caller asks for: the rows of an endpoint that were booked in a range of days, both included."""

    folder: str
    endpoint: str
    booked_from: date
    booked_to: date


class Books:
    """Pages of rows. A cursor is where the next page begins (file, byte), signed, and good for its question only."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._key = secrets.token_bytes(32)

    def page(self, question: Question, limit: int, cursor: str | None) -> bytes:
        """Return the body of one page: `{"data": [...], "has_more": bool, "next_cursor": text or null}`."""
        files = self._files(question)
        number, offset = self._position(question, cursor) if cursor else (0, 0)
        rows: list[bytes] = []
        while number < len(files):
            with files[number].open("rb") as file:
                file.seek(offset)
                lines = list(itertools.islice(file, limit - len(rows)))
                rows += [line.rstrip(b"\n") for line in lines]
                offset += sum(map(len, lines))
                if offset < files[number].stat().st_size:
                    break  # the page is full and this file has more
            number, offset = number + 1, 0
        more = number < len(files)
        tail = {"has_more": more, "next_cursor": self._cursor(question, number, offset) if more else None}
        return b'{"data":[' + b",".join(rows) + b"]," + json.dumps(tail, separators=(",", ":")).encode()[1:]

    def _files(self, question: Question) -> list[Path]:
        folder = self._root / question.folder
        first, last = (f"{question.endpoint}-{day}.ndjson" for day in (question.booked_from, question.booked_to))
        # ISO days sort as text. An empty file would make a page that only points on.
        found = sorted(path for path in folder.glob(f"{question.endpoint}-*.ndjson") if first <= path.name <= last)
        return [path for path in found if path.stat().st_size]

    def _cursor(self, question: Question, number: int, offset: int) -> str:
        place = f"{number}:{offset}".encode()
        return base64.urlsafe_b64encode(self._tag(question, place) + place).decode()

    def _position(self, question: Question, cursor: str) -> tuple[int, int]:
        try:
            decoded = base64.urlsafe_b64decode(cursor)
        except (binascii.Error, ValueError):
            raise CursorRefused from None
        tag, place = decoded[:_TAG_BYTES], decoded[_TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(question, place)):
            raise CursorRefused
        number, _, offset = place.decode().partition(":")
        return int(number), int(offset)

    def _tag(self, question: Question, place: bytes) -> bytes:
        asked = f"{question.folder}|{question.endpoint}|{question.booked_from}|{question.booked_to}|".encode()
        return hmac.new(self._key, asked + place, hashlib.sha256).digest()[:_TAG_BYTES]
