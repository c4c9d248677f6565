"""Which profiles fit a file: those whose required columns it has, the one that explains most of its columns first."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from actuals_pipelines.readers import xlsx
from actuals_pipelines.readers.profiles import json_rows
from actuals_pipelines.readers.profiles.library import NAMES, shipped
from actuals_pipelines.readers.profiles.profile import Profile
from actuals_pipelines.readers.profiles.table_rows import decoded, find_header, sheet_has
from actuals_pipelines.readers.reading import FileRefused

_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_SHEET_ROWS = 30


@dataclass(frozen=True, slots=True)
class Candidate:
    """A profile that fits. `columns` is how many of the file's columns it knows."""

    format: str
    title: str
    columns: int
    reasons: tuple[str, ...]


def find(sample: bytes, profiles: Iterable[Profile] | None = None) -> list[Candidate]:
    """Say which profiles fit a file, the best first.

    Args:
        sample: the file's beginning, some hundred kilobytes; a workbook is known by its end, so give it whole.
        profiles: those to try; the library's if none are given.

    Returns:
        Empty when none fits. When two are equally good the caller asks.
    """
    tried = list(profiles) if profiles is not None else [shipped(name) for name in NAMES]
    if sample.startswith(_WORKBOOKS):
        found = _in_workbook(sample, tried)
    elif sample.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        documents = _documents(sample)
        found = [each for p in tried if p.file == "json" and (each := _in_json(sample, documents, p))]
    else:
        found = [each for profile in tried if profile.file == "table" and (each := _in_text(sample, profile))]
    return sorted(found, key=lambda each: (-each.columns, each.format))


def _in_text(sample: bytes, profile: Profile) -> Candidate | None:
    text = decoded(sample, profile.encodings)
    header = find_header(profile, text) if text else None
    if header is None:
        return None
    where = f"the header on line {header.lines}" if header.lines else "the first record"
    return _candidate(profile, len(header.places), f"{where} has {len(header.places)} of its columns")


def _in_workbook(sample: bytes, profiles: list[Profile]) -> list[Candidate]:
    try:
        book = xlsx.open_book(sample, "xlsx")
        sheets = {name: xlsx.open_sheet(book, name) for name in book.sheet_names}
    except FileRefused:
        return []
    found = []
    for name, sheet in sheets.items():
        rows = [row for _, row in zip(range(_SHEET_ROWS), xlsx.rows_of(sheet), strict=False)]
        for profile in profiles:
            if profile.file == "table" and sheet_has(profile, rows):
                found.append(_candidate(profile, len(profile.columns), f"sheet {name!r} has its columns"))
    return found


def _in_json(sample: bytes, documents: list[object] | None, profile: Profile) -> Candidate | None:
    """A whole document is looked through; of one that is cut off, the keys are."""
    if documents is None:
        keys = set(re.findall(rb'"([^"\\]{1,100})"\s*:', sample))
        paths = [path for path in profile.records if path != "$"]
        wanted = [step for path in paths for step in _names(path)]
        for column in profile.columns:
            if column.is_required and not any(header.startswith("@") for header in column.headers):
                wanted.extend(_names(column.headers[0].removeprefix("$.")))
        if not all(name.encode() in keys for name in wanted):
            return None
        return _candidate(profile, len(profile.columns), "the document has its keys")
    size = json_rows.fit(profile, documents)
    return _candidate(profile, size, f"a record has {size} of its fields") if size else None


def _documents(sample: bytes) -> list[object] | None:
    text = sample.removeprefix(b"\xef\xbb\xbf")
    lines = [line for line in text.splitlines()[:20] if line.strip()]
    for parts in ([text], lines[:-1] or lines):  # the last line may be cut off
        try:
            return [msgspec.json.decode(part) for part in parts]
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            continue
    return None


def _names(path: str) -> list[str]:
    return [name for name in re.split(r"[.\[\]]+", path) if name and name != "*" and not name.isdecimal()]


def _candidate(profile: Profile, columns: int, reason: str) -> Candidate:
    return Candidate(profile.name, profile.title, columns, (reason,))
