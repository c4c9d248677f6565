"""From a request's bytes to raw transactions in canonical form, or a refusal by line and field, never with a value.

Canonical: one line of JSON, keys sorted, numbers as they were written. It is what is compared, sealed and landed, so
that the same transaction sent singly, in an array, or with other spacing is the same.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import repeat
from typing import Annotated, Any, NamedTuple

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


class RawTransaction(NamedTuple):
    """One record as it will be sealed."""

    source: str  # the source's name
    id: str  # the caller's id: idempotency key
    canonical: bytes


@dataclass(slots=True)
class Batch:
    """The records of a batch that can be taken, the line of each, and what is wrong with the others."""

    records: Sequence[RawTransaction]
    lines: Sequence[int]  # 1-based; NDJSON: the line, array: the element; an empty line counts, but holds no record
    errors: list[LineError] = field(default_factory=list)

    def refuse_if_faulty(self) -> None:
        """All or nothing. Raises Refused with every faulty line, up to MAX_ERRORS."""
        if self.errors:
            code = "card_number" if any(error.code == "card_number" for error in self.errors) else "invalid"
            total = len(self.errors) + len(self.records)
            detail = f"{len(self.errors)} of {total} records are not taken; so none is."
            raise Refused(code, detail, errors=self.errors[:MAX_ERRORS])


_one = msgspec.json.Decoder(_Body, float_hook=Decimal)  # money is never a float
_many = msgspec.json.Decoder(list[_Body], float_hook=Decimal)
_array = msgspec.json.Decoder(list[msgspec.Raw])
_encoder = msgspec.json.Encoder(order="sorted", decimal_format="number")

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_PATH = re.compile(r"at `\$\.(source_id|id|timestamp|type|data)\b")
_MISSING = re.compile(r"missing required field `(source_id|id|timestamp|data)`")
# Of a card number's signs a run of at least thirteen: a pass over a whole batch that acquits nearly all of them.
_CARD_SIGNS = bytes(ord("x") if chr(byte) in "0123456789 .-" else 0 for byte in range(256))
_CARD_RUN = b"x" * 13
_MAX_VALUES_PER_RECORD = 200  # of a batch that is read again for its faults: each value may be an element


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
    if instant(read.timestamp) is None:
        raise Refused("invalid", "`timestamp` is not RFC 3339 with an offset.", field="timestamp")
    canonical = _canonical(read)
    if holds_card_number(canonical.decode()):
        raise Refused("card_number", "The record is refused whole.")
    return RawTransaction(source=read.source_id, id=read.id, canonical=canonical)


def read_batch(body: bytes, *, is_ndjson: bool, max_rows: int) -> Batch:
    """Read a batch.

    Raises:
        Refused: malformed, if it is no array; too_large; invalid, if it holds no record.
    """
    batch = _read_whole(body, is_ndjson, max_rows) or _read_singly(body, is_ndjson, max_rows)
    if not batch.records and not batch.errors:
        raise Refused("invalid", "The batch holds no record.")
    return batch


def _read_whole(body: bytes, is_ndjson: bool, max_rows: int) -> Batch | None:
    """All records at once, several times as fast; None where anything is not plainly right."""
    if body.count(b'"source_id"') > max_rows:
        return None  # before memory is taken for them
    try:
        read = _one.decode_lines(body) if is_ndjson else _many.decode(body)
        whole = _encoder.encode_lines(read)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    lines = body.count(b"\n") + (not body.endswith(b"\n")) if is_ndjson else len(read)
    if len(read) > max_rows or lines != len(read) or not all(map(instant, [each.timestamp for each in read])):
        return None
    if _CARD_RUN in whole.translate(_CARD_SIGNS) and holds_card_number(whole.decode()):
        return None
    canonical = whole.split(b"\n")[:-1]
    openings = map(int.__add__, map(bytes.count, canonical, repeat(b"{")), map(bytes.count, canonical, repeat(b"[")))
    if max(openings, default=0) > MAX_DEPTH:  # those within texts are counted too: whoever looks closely may acquit
        return None
    records = [RawTransaction(each.source_id, each.id, text) for each, text in zip(read, canonical, strict=True)]
    return Batch(records, range(1, len(records) + 1))


def _read_singly(body: bytes, is_ndjson: bool, max_rows: int) -> Batch:
    records: list[RawTransaction] = []
    lines: list[int] = []
    errors: list[LineError] = []
    for line, text in _lines(body, max_rows) if is_ndjson else _elements(body, max_rows):
        if len(lines) + len(errors) >= max_rows:
            raise Refused("too_large", f"A batch may hold {max_rows} records.")
        try:
            records.append(read_one(text))
            lines.append(line)
        except Refused as refused:
            errors.append(LineError(line, refused.code, refused.detail, refused.field))
    return Batch(records, lines, errors)


def _lines(body: bytes, max_rows: int) -> Iterable[tuple[int, bytes]]:
    if body.count(b"\n") > 10 * max_rows:
        raise Refused("too_large", f"A batch may hold {max_rows} records, and not ten times as many lines.")
    return ((line, text) for line, text in enumerate(io.BytesIO(body), start=1) if text.strip())


def _elements(body: bytes, max_rows: int) -> Iterator[tuple[int, bytes]]:
    if body.count(b",") > _MAX_VALUES_PER_RECORD * max_rows:  # each may be an element of its own, and takes memory
        raise Refused("too_large", f"A batch may hold {max_rows} records.")
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


def instant(text: str) -> datetime | None:
    """An instant in RFC 3339 with its offset, or None."""
    if not _RFC_3339.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        return None


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
