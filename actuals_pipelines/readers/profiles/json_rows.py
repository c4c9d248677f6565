"""A JSON document, or one document a line, as records under a profile's own words.

A profile's `records` are the paths of its lists (or of single objects) in the document: `data`, `_embedded.payments`,
`periods.*.*.costs`, `$` for the document itself. A column is a path inside the record (`amount.value`,
`statusHistory[0].settlementBatchId`), `$.` and a path for a field of the document, or `@records` for the path that the
record was found at. Numbers keep the digits that were sent; an object or a list stays JSON text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow as pa

from actuals_pipelines.readers.profiles.profile import Profile
from actuals_pipelines.readers.profiles.table_rows import Records, Rewound, not_found
from actuals_pipelines.readers.reading import FileEmpty, FileRefused, Reading, note_reject, raw_schema

_MAX_BYTES = 256 << 20  # a document lies in memory whole
_RECORDS_PER_BATCH = 65_536
_DECODE = msgspec.json.Decoder(float_hook=str).decode
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def read_json(profile: Profile, stream: Rewound, reading: Reading) -> Records:
    """Decode and find the records; LINE is a record's number, or its line where each line is a document.

    Raises:
        FileEmpty, FileRefused: no JSON, beyond the bound, or without one record that has the required columns.
    """
    data = stream.read(_MAX_BYTES + 1)
    if not data.strip():
        raise FileEmpty(profile.name)
    if len(data) > _MAX_BYTES:
        raise FileRefused(profile.name, f"it is larger than {_MAX_BYTES} bytes", "Export it in parts.")
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        documents, is_lines = [(1, _DECODE(data))], False
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        documents, is_lines = _lines(profile, data, reading), True
    found = _found(profile, documents, is_lines, reading)
    if not found and not any(_has_lists(profile, document) for _, document in documents):
        raise not_found(profile)
    words = tuple(column.word for column in profile.columns)
    return Records(words, dict.fromkeys(profile.metadata), _batches(profile, found))


def _has_lists(profile: Profile, document: object) -> bool:
    """An empty list at a path that is not the document itself is a file without records, which is fine."""
    return any(path != "$" and _present(document, path) for path in profile.records)


def _present(document: object, path: str) -> bool:
    steps = path.split(".")
    holder = at(document, ".".join(steps[:-1])) if steps[:-1] else document
    return isinstance(holder, dict) and isinstance(holder.get(steps[-1]), list)


def _lines(profile: Profile, data: bytes, reading: Reading) -> list[tuple[int, Any]]:
    documents: list[tuple[int, Any]] = []
    for line, text in enumerate(data.split(b"\n"), 1):
        if not text.strip():
            continue
        try:
            documents.append((line, _DECODE(text)))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            note_reject(reading, line, "", "not a JSON object", profile.name)
    if not documents:
        reading.rejects.clear()
        raise FileRefused(
            profile.name, "it is no JSON document, or half of one", "Ask for it again, or choose another format."
        )
    return documents


def _found(
    profile: Profile, documents: list[tuple[int, Any]], is_lines: bool, reading: Reading
) -> list[tuple[int, str, dict[str, Any], Any]]:
    """(line, path of its list, record, document) of each record that has what the profile requires."""
    found = []
    number = 0
    for line, document in documents:
        for path in profile.records or ("$",):
            for record, is_listed in _records(document, path.split(".") if path != "$" else []):
                number += 1
                place = line if is_lines else number
                if isinstance(record, dict) and has_columns(profile, record, document):
                    found.append((place, path, record, document))
                elif is_listed and path != "$":
                    note_reject(reading, place, "", "lacks a field that the profile requires", profile.name)
    return found


def has_columns(profile: Profile, record: dict[str, Any], document: object) -> bool:
    """Whether the record has a value, be it null, for each required column."""
    return all(
        any(_is_there(record, document, header) for header in column.headers)
        for column in profile.columns
        if column.is_required
    )


def fit(profile: Profile, documents: list[Any]) -> int:
    """How many of the profile's columns the best of the records has; 0 where none has all that are required."""
    best = 0
    for document in documents:
        for path in profile.records or ("$",):
            for record, _ in _records(document, path.split(".") if path != "$" else []):
                if isinstance(record, dict) and has_columns(profile, record, document):
                    had = [any(_is_there(record, document, each) for each in c.headers) for c in profile.columns]
                    best = max(best, sum(had))
    return best


def _records(document: Any, steps: list[str]) -> Iterator[tuple[Any, bool]]:
    """What stands at a path, and whether it stands in a list: a single object there may be something else."""
    if not steps and isinstance(document, list):
        yield from ((record, True) for record in document)
    elif not steps:
        yield document, False
    elif steps[0] == "*":
        for child in document.values() if isinstance(document, dict) else []:
            yield from _records(child, steps[1:])
    elif isinstance(document, dict) and steps[0] in document:
        yield from _records(document[steps[0]], steps[1:])


def at(record: Any, path: str) -> Any:
    """The value at a path inside a record; None where there is none."""
    if isinstance(record, dict) and path in record:
        return record[path]
    for name, index in _STEP.findall(path):
        if index:
            record = record[int(index)] if isinstance(record, list) and int(index) < len(record) else None
        else:
            record = record.get(name) if isinstance(record, dict) else None
    return record


def _is_there(record: dict[str, Any], document: object, header: str) -> bool:
    if header.startswith("@records"):
        return True
    whole, path = (document, header[2:]) if header.startswith("$.") else (record, header)
    first = path.split(".")[0].split("[")[0]
    if isinstance(whole, dict) and (path in whole or first in whole):
        return path in whole or path == first or at(whole, path) is not None
    return False


def _batches(profile: Profile, found: list[tuple[int, str, dict[str, Any], Any]]) -> Iterator[pa.RecordBatch]:
    schema = raw_schema([column.word for column in profile.columns])
    for start in range(0, max(len(found), 1), _RECORDS_PER_BATCH):
        part = found[start : start + _RECORDS_PER_BATCH]
        arrays = [
            pa.array([_text(_value(each, column.headers)) for each in part], pa.string()) for column in profile.columns
        ]
        yield pa.RecordBatch.from_arrays([*arrays, pa.array([each[0] for each in part], pa.int64())], schema=schema)


def _value(found: tuple[int, str, dict[str, Any], Any], headers: tuple[str, ...]) -> Any:
    _, path, record, document = found
    for header in headers:
        if header == "@records":
            return path
        value = at(document, header[2:]) if header.startswith("$.") else at(record, header)
        if value is not None:
            return value
    return None


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()
