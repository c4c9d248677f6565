"""From a request's bytes to raw transactions in canonical form, or a refusal by line and field, never with a value.

Canonical: one line of JSON, keys sorted, numbers as they were written. It is what is compared, sealed and landed, so
that the same transaction sent singly, in an array, or with other spacing is the same.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from actuals_pipelines.domain.card_number import holds_card_number
from actuals_pipelines.sources.inbox.problems import LineError, Refused

MAX_DEPTH = 32
MAX_ERRORS = 100  # reported per batch; the rest is only counted

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class _Body(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    source_id: _Name
    id: _Id
    timestamp: str  # RFC 3339, with its offset
    data: dict[str, Any]
    type: _Name | None = None


@dataclass(frozen=True, slots=True)
class RawTransaction:
    """One record as it will be sealed."""

    source: str  # the source's name
    id: str  # the caller's id: idempotency key
    canonical: bytes


_one = msgspec.json.Decoder(_Body, float_hook=Decimal)  # money is never a float
_array = msgspec.json.Decoder(list[msgspec.Raw])
_encoder = msgspec.json.Encoder(order="sorted", decimal_format="number")

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_PATH = re.compile(r"at `\$\.(source_id|id|timestamp|type|data)\b")
_MISSING = re.compile(r"missing required field `(source_id|id|timestamp|data)`")


def read_one(body: bytes) -> RawTransaction:
    """Read one raw transaction.

    Raises:
        Refused: malformed | invalid | card_number; names the field, never the value.
    """
    try:
        read = _one.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused("malformed", "The body is not one JSON object in UTF-8.") from None
    except RecursionError:
        raise Refused("invalid", f"The JSON is nested deeper than {MAX_DEPTH} levels.") from None
    if not _is_instant(read.timestamp):
        raise Refused("invalid", "`timestamp` is not RFC 3339 with an offset.", field="timestamp")
    canonical = _canonical(read)
    if holds_card_number(canonical.decode()):
        raise Refused("card_number", "The record is refused whole.")
    return RawTransaction(source=read.source_id, id=read.id, canonical=canonical)


def read_batch(body: bytes, *, is_ndjson: bool, max_rows: int) -> tuple[list[RawTransaction], list[int]]:
    """Read a batch, all or nothing.

    Returns:
        the raw transactions, and the 1-based line of each (an empty line of NDJSON counts, but holds none).

    Raises:
        Refused: with every faulty line, up to MAX_ERRORS.
    """
    records: list[RawTransaction] = []
    lines: list[int] = []
    errors: list[LineError] = []
    faulty = 0
    for line, text in _lines(body) if is_ndjson else _elements(body):
        if len(lines) + faulty >= max_rows:
            raise Refused("too_large", f"A batch may hold {max_rows} records.")
        try:
            records.append(read_one(text))
            lines.append(line)
        except Refused as refused:
            faulty += 1
            if len(errors) < MAX_ERRORS:
                errors.append(LineError(line, refused.code, refused.detail, refused.field))
    if faulty:
        code = "card_number" if any(error.code == "card_number" for error in errors) else "invalid"
        raise Refused(code, f"{faulty} of {faulty + len(records)} records are not taken; so none is.", errors=errors)
    if not records:
        raise Refused("invalid", "The batch holds no record.")
    return records, lines


def inflated(body: bytes, max_bytes: int) -> bytes:
    """Inflate a gzip body of one or more members, and stop before it grows beyond the bound.

    Raises:
        Refused: too_large, or malformed if it is no gzip or was cut off.
    """
    pieces: list[bytes] = []
    room, rest = max_bytes, body
    while rest or not pieces:
        inflater = zlib.decompressobj(wbits=31)
        try:
            piece = inflater.decompress(rest, room + 1)
        except zlib.error:
            raise Refused("malformed", "The body is not gzip, though Content-Encoding says so.") from None
        if len(piece) > room:
            raise Refused("too_large", f"The body inflates to more than {max_bytes} bytes.")
        if not inflater.eof:
            raise Refused("malformed", "The gzip body ends too early.")
        pieces.append(piece)
        room, rest = room - len(piece), inflater.unused_data
    return b"".join(pieces)


def _lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    for line, text in enumerate(body.split(b"\n"), start=1):
        if text.strip():
            yield line, text


def _elements(body: bytes) -> Iterator[tuple[int, bytes]]:
    try:
        elements = _array.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused("malformed", "The body is not a JSON array in UTF-8.") from None
    for line, element in enumerate(elements, start=1):
        yield line, bytes(element)


def _invalid(message: str) -> Refused:
    """msgspec's texts hold keys of the caller's making; only our own fields' names are passed on."""
    if missing := _MISSING.search(message):
        return Refused("invalid", f"`{missing[1]}` is missing.", field=missing[1])
    if "unknown field" in message:
        return Refused("invalid", "There is a field besides source_id, id, timestamp, type and data.")
    if path := _PATH.search(message):
        return Refused("invalid", f"`{path[1]}` has not the documented type or length.", field=path[1])
    return Refused("invalid", "It is not one JSON object with source_id, id, timestamp and data.")


def _is_instant(text: str) -> bool:
    if not _RFC_3339.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text.upper())
    except ValueError:
        return False
    return True


def _canonical(read: _Body) -> bytes:
    try:
        canonical = _encoder.encode(read)
    except RecursionError:
        raise Refused("invalid", f"The JSON is nested deeper than {MAX_DEPTH} levels.") from None
    # Brackets within text are counted too, so the exact count is made only where the cheap one does not acquit.
    if canonical.count(b"{") + canonical.count(b"[") > MAX_DEPTH and _depth(read.data) > MAX_DEPTH - 1:
        raise Refused("invalid", f"The JSON is nested deeper than {MAX_DEPTH} levels.", field="data")
    return canonical


def _depth(value: Any) -> int:
    """Levels of nesting, breadth first: it must not recurse on what a caller nested."""
    level, depth = [value], 0
    while level := [inner for outer in level for inner in _inside(outer)]:
        depth += 1
    return depth


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
