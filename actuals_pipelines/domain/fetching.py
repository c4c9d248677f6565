"""How files are fetched, as a source's `connection` says it: which, when, of what day, and what becomes of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

KEYS = (
    *("files", "ready", "manifest", "stable_seconds", "day_pattern", "archive"),
    *("after", "move_to", "limit_mb", "connections"),
)
"""The keys of a `connection` that are read here; the rest say where the folder is and how to get in."""


class Ready(StrEnum):
    """How a whole file is told from one that is still being written."""

    STABLE = "stable"  # size and time of change are the same in two looks, `stable_seconds` apart
    RENAMED = "renamed"  # the sender writes under another name and renames: what has its name is whole
    MANIFEST = "manifest"  # a side file (report.csv.done), or a list of names, says so


class After(StrEnum):
    """What becomes of a file over there once it is in the catalogue here."""

    KEEP = "keep"
    MOVE = "move"
    DELETE = "delete"


Word = TypeVar("Word", bound=StrEnum)


class FetchingRefused(ValueError):
    """A `connection` holds what cannot be used. The parser says where it stands."""

    def __init__(self, key: str, expected: str) -> None:
        super().__init__(key, expected)
        self.key, self.expected = key, expected


@dataclass(frozen=True, slots=True)
class Fetching:
    """How one source's files are fetched."""

    files: str = "*"  # shell pattern of names
    ready: Ready = Ready.STABLE
    manifest: str = ".done"  # ".done": a file's name with this behind it; else the pattern of files that list names
    stable_seconds: int = 30
    day_pattern: str | None = None  # regular expression with the groups year, month and day
    archive: str | None = None  # a second folder: where days asked for by hand are looked for too
    after: After = After.KEEP
    move_to: str | None = None
    limit_bytes: int = 4096 << 20  # a larger file is refused, unread
    connections: int = 3  # at most so many files of a source come at once

    @classmethod
    def of(cls, connection: Mapping[str, str]) -> Fetching:
        """Read a `connection`. Raises FetchingRefused."""
        after = _one_of(After, connection, "after", After.KEEP)
        move_to = connection.get("move_to")
        if (after is After.MOVE) != (move_to is not None):
            raise FetchingRefused("after", "`after: move` together with `move_to: FOLDER`, or neither")
        return cls(
            files=connection.get("files", "*"),
            ready=_one_of(Ready, connection, "ready", Ready.STABLE),
            manifest=connection.get("manifest", ".done"),
            stable_seconds=_number(connection, "stable_seconds", 30, least=0, most=3600),
            day_pattern=_day_pattern(connection),
            archive=connection.get("archive"),
            after=after,
            move_to=move_to,
            limit_bytes=_number(connection, "limit_mb", 4096, least=1, most=1 << 22) << 20,
            connections=_number(connection, "connections", 3, least=1, most=16),
        )


def _one_of(words: type[Word], connection: Mapping[str, str], key: str, default: Word) -> Word:
    found = connection.get(key, default.value)
    if found not in [word.value for word in words]:
        raise FetchingRefused(key, f"one of {', '.join(word.value for word in words)}")
    return words(found)


def _number(connection: Mapping[str, str], key: str, default: int, *, least: int, most: int) -> int:
    text = connection.get(key, str(default))
    if not text.isdecimal() or not least <= int(text) <= most:
        raise FetchingRefused(key, f"a whole number from {least} to {most}")
    return int(text)


def _day_pattern(connection: Mapping[str, str]) -> str | None:
    pattern = connection.get("day_pattern")
    if pattern is None:
        return None
    expected = (
        r"a regular expression with the groups year, month and day, as (?P<day>\d\d)(?P<month>\d\d)(?P<year>\d{4})"
    )
    try:
        groups = re.compile(pattern).groupindex
    except re.error:
        raise FetchingRefused("day_pattern", expected) from None
    if not {"year", "month", "day"} <= groups.keys():
        raise FetchingRefused("day_pattern", expected)
    return pattern
