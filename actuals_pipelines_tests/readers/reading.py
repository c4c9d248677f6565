"""Bytes in, and what a reader made of them, in the form that tests compare."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

from actuals_pipelines.domain.money import Money
from actuals_pipelines.readers import FileRefused, Reading, open_reader


def read(format: str, data: bytes, **options: str) -> tuple[list[dict[str, Any]], Reading]:
    """Every row, and the reading with its controls and rejects."""
    reading = open_reader(format).read(io.BytesIO(data), options)
    return reading.table().to_pylist(), reading


def minor_units(rows: list[dict[str, Any]]) -> list[int]:
    """The rows' amounts."""
    return [Money.parse(row["amount"], row["currency"]).minor_units for row in rows]


def references(row: dict[str, Any]) -> Any:
    """The row's references as a dictionary."""
    return json.loads(row["references"] or "{}")


def outcome(format: str, data: bytes, prepare: Callable[[], None] = lambda: None) -> str:
    """What became of it: "read" or "refused". Anything else is raised, and so fails a fuzz test.

    What was read must be whole: each row has a line, and the sums of the booked rows are those of the controls.
    """
    prepare()
    try:
        rows, reading = read(format, data, details="true")
    except FileRefused:
        return "refused"
    assert all(row["_line"] >= 1 for row in rows)
    assert all(reason for _, _, reason in reading.rejects)
    return "read"
