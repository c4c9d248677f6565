"""`iterate: transactions[*]`: each element of a JSON list inside a record becomes a record of its own.

An element's keys are columns under their own names; its record's other columns are `parent.<name>`. Numbers keep the
digits that were sent, nested objects and lists stay JSON text, as the readers of JSON give them.
"""

from __future__ import annotations

import re

import msgspec
import pyarrow as pa

from actuals_pipelines.errors import ActualsError
from actuals_pipelines.tables import LINE, REJECTS

PARENT = "parent."
PATH = re.compile(r"(?P<column>[^.\[\]]+)(?P<keys>(\.[^.\[\]]+)*)\[\*\]")
MAX_ELEMENTS = 10_000_000
"""Elements of a whole unit; beyond it the unit is refused, because its table would not fit in memory."""

_LIST = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)


class IterateRefused(ActualsError):
    """A unit's lists cannot be taken apart at all."""

    def __init__(self, source: str, path: str, what: str) -> None:
        super().__init__(source, path, what)
        self.source, self.path, self.what = source, path, what

    def __str__(self) -> str:
        return f"Source {self.source!r}, iterate {self.path!r}: {self.what}."


def elements(raw: pa.Table, source: str, path: str) -> tuple[pa.Table, pa.Table]:
    """Take the lists at `path` apart.

    Args:
        raw: text columns and `LINE`; the path's first step is one of the columns.

    Returns:
        (the elements as raw records: their own keys, `parent.<column>`..., `LINE` of their record;
        the records that hold no list of objects there: `tables.REJECTS`). A record with no list, or an empty one, has
        no element and is no reject.

    Raises:
        IterateRefused: no such column, an element's key that is ours, more than MAX_ELEMENTS.
    """
    found = PATH.fullmatch(path)
    if found is None or found["column"] not in raw.column_names:
        what = "its first step is none of the columns" if found else "it is no path such as lines[*]"
        raise IterateRefused(source, path, what)
    keys = found["keys"].split(".")[1:]
    owners: list[int] = []
    columns: dict[str, list[str | None]] = {}
    rejected: list[int] = []
    for place, text in enumerate(raw[found["column"]].to_pylist()):
        try:
            inside = _inside(text, keys)
            records = [{key: _value(value) for key, value in each.items()} for each in inside]
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            rejected.append(place)
            continue
        if len(owners) + len(records) > MAX_ELEMENTS:
            raise IterateRefused(source, path, f"the unit holds more than {MAX_ELEMENTS} elements; send it in parts")
        for record in records:
            for key, value in record.items():
                _column(columns, key, len(owners), source, path).append(value)
            owners.append(place)
    for values in columns.values():
        values.extend([None] * (len(owners) - len(values)))
    taken = pa.array(owners, pa.int64())
    own = {key: pa.array(values, pa.string()) for key, values in columns.items()}
    parents = {PARENT + n: raw[n].take(taken) for n in raw.column_names if n not in (LINE, found["column"])}
    lines = raw[LINE].take(pa.array(rejected, pa.int64()))
    reasons = [pa.array([text] * len(lines), pa.string()) for text in (path, "not a JSON list of objects")]
    return pa.table({**own, **parents, LINE: raw[LINE].take(taken)}), pa.table([lines, *reasons], schema=REJECTS)


def _inside(text: str | None, keys: list[str]) -> list[dict[str, msgspec.Raw]]:
    value: bytes | msgspec.Raw | None = None if text is None else text.encode()
    for key in keys:
        value = None if value is None or value == b"null" else _OBJECT.decode(value).get(key)
    return [] if value is None or bytes(value).strip() in (b"", b"null") else _LIST.decode(value)


def _value(raw: msgspec.Raw) -> str | None:
    written = bytes(raw)
    if written[:1] == b'"':
        return _TEXT.decode(written).strip() or None
    return None if written == b"null" else written.decode("utf-8")


def _column(columns: dict[str, list[str | None]], key: str, filled: int, source: str, path: str) -> list[str | None]:
    """The key's column, filled up with nulls to where the next value goes."""
    column = columns.get(key)
    if column is None:
        if key == LINE or key.startswith(PARENT) or not key:
            raise IterateRefused(source, path, "an element has a key that is empty or ours (_line, parent.)")
        column = columns[key] = []
    column.extend([None] * (filled - len(column)))
    return column
