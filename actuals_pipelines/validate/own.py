"""The tenant's own row-level expectations, as a closed language: which types, on which columns, with which arguments.

What is open in Great Expectations and left out here: row conditions (they are evaluated as Python), JSON schemas (they
fetch references), and whatever needs a whole unit at once, because rows are judged in chunks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from actuals_pipelines.domain.source import Minimisation, Source
from actuals_pipelines.errors import ConfigurationError
from actuals_pipelines.validate.expectations import Expected, is_accepted
from actuals_pipelines.validate.outcome import Severity

NUMBERS = frozenset({"amount_minor_units", "line"})
DAYS = frozenset({"booked_on", "value_date", "timestamp"})
_TEXTS = frozenset({"row_id", "source", "kind", "status", "transaction_id", "currency"})
_NOT_KEPT = frozenset({"amount"})  # mapped, but kept as amount_minor_units
_SEVERITIES = {
    "hold": Severity.CRITICAL,
    "critical": Severity.CRITICAL,
    "warn": Severity.WARNING,
    "warning": Severity.WARNING,
}


class ExpectationRefused(ConfigurationError):
    """One of a source's own expectations cannot be run as it is written."""

    def __init__(self, source: str, place: int, type: str, what: str, allowed: str) -> None:
        super().__init__(source, place, type, what, allowed)
        self.source, self.place, self.type, self.what, self.allowed = source, place, type, what, allowed

    def __str__(self) -> str:
        return (
            f"Source {self.source!r}, expectation {self.place} ({self.type}): {self.what}. Allowed: {self.allowed}. "
            "Correct the source's `expectations`."
        )


@dataclass(frozen=True, slots=True)
class OwnExpectation:
    """One expectation that can be run. `mostly`: the share of elements that must meet it, over the whole unit."""

    subject: str  # "2 expect_column_values_to_be_in_set(kind)"
    severity: Severity
    columns: tuple[str, ...]
    expected: Expected
    mostly: float = 1.0


class _Wrong(Exception):
    """(what, allowed): completed by the caller with source, place and type."""


def check_expectations(source: Source) -> None:
    """Refuse expectations that could not run. Loads Great Expectations if the source has any.

    Raises:
        ExpectationRefused: the first that is wrong, with what is allowed in its place.
    """
    for place in range(1, len(source.expectations) + 1):
        own = parse(source, place)
        if not is_accepted(own.expected):
            raise ExpectationRefused(
                source.name, place, own.expected.type, "Great Expectations refuses its arguments", "other arguments"
            )


def parse(source: Source, place: int) -> OwnExpectation:
    """Read one of the source's expectations (place counts from 1); loads nothing.

    Raises:
        ExpectationRefused.
    """
    written = source.expectations[place - 1]
    name = shown(written.get("type"))
    try:
        return _parse(source, place, written)
    except _Wrong as wrong:
        what, allowed = wrong.args
    raise ExpectationRefused(source.name, place, name, what, allowed) from None


def severity_of(written: Mapping[str, object]) -> Severity:
    """hold or warn; what is not said or not understood holds."""
    return _SEVERITIES.get(str(written.get("severity", "hold")), Severity.CRITICAL)


def shown(name: object) -> str:
    """A type's name if it is one; a slip of the pen could put anything there."""
    return name if isinstance(name, str) and re.fullmatch(r"expect_[a-z0-9_]{1,80}", name) else "of unknown type"


def _parse(source: Source, place: int, written: Mapping[str, object]) -> OwnExpectation:
    shape = _SHAPES.get(str(written.get("type")))
    if shape is None:
        raise _Wrong("there is no row-level expectation of this type", ", ".join(_SHAPES))
    names = [*shape.columns, *shape.required, *shape.optional]
    allowed = ", ".join(["type", *names, "mostly", "severity"])
    if set(written) - {"type", *names, "mostly", "severity"}:
        raise _Wrong("it has an argument that this type does not take", allowed)
    missing = [name for name in (*shape.columns, *shape.required) if name not in written]
    if missing:
        raise _Wrong(f"it lacks {', '.join(missing)}", allowed)
    if str(written.get("severity", "hold")) not in _SEVERITIES:
        raise _Wrong("its severity is none", "hold, warn")
    columns = _columns(source, shape, written)
    arguments: dict[str, object] = {name: written[name] for name in shape.columns}
    for name, reads in {**shape.required, **shape.optional}.items():
        if name in written:
            arguments[name] = _argument(name, written[name], reads, columns[0])
    if shape.bounds and not set(shape.bounds) & set(arguments):
        raise _Wrong("it has no bound", " or ".join(shape.bounds))
    mostly = written.get("mostly", 1.0)
    if isinstance(mostly, bool) or not isinstance(mostly, int | float) or not 0 <= mostly <= 1:
        raise _Wrong("mostly is no share", "a number from 0 to 1")
    severity = severity_of(written)
    return OwnExpectation(
        subject=f"{place} {written['type']}({', '.join(columns)})",
        severity=severity,
        columns=columns,
        expected=Expected(str(written["type"]), {**arguments, "severity": severity.value}),
        mostly=float(mostly),
    )


def _columns(source: Source, shape: _Shape, written: Mapping[str, object]) -> tuple[str, ...]:
    known = _known_columns(source)
    fitting = sorted(name for name in known if _kind(name) in shape.kinds)
    found: list[str] = []
    for argument in shape.columns:
        value = written[argument]
        listed: Sequence[object] = value if isinstance(value, list) and argument == "column_list" else [value]
        for each in listed:
            if not isinstance(each, str) or each not in fitting:
                raise _Wrong(f"{argument} names no column that it can judge", ", ".join(fitting))
            found.append(each)
    if len(found) < shape.at_least:
        raise _Wrong("it names too few columns", f"{shape.at_least} or more")
    if len({_kind(name) for name in found}) > 1:
        raise _Wrong("its columns are of different kinds", "columns that are all text, all numbers or all days")
    return tuple(found)


def _known_columns(source: Source) -> set[str]:
    mapped = {
        name for mapping in (source.mapping, *source.iterations) for name in (*mapping.fields, *mapping.constants)
    }
    dropped = {name for name, treatment in source.columns.items() if treatment is Minimisation.DROP}
    return {*NUMBERS, *DAYS, *_TEXTS, *(mapped - dropped - _NOT_KEPT)}


def _kind(column: str) -> str:
    return "number" if column in NUMBERS else "day" if column in DAYS else "text"


def _argument(name: str, value: object, reads: _Reads, column: str) -> object:
    try:
        return reads.read(value, _kind(column))
    except (ValueError, TypeError, pa.ArrowInvalid):
        pass
    raise _Wrong(f"its {name} cannot be used on {column}", reads.allowed)


def _scalar(value: object, kind: str) -> str | int:
    if kind == "number" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind == "text" and isinstance(value, str):
        return value
    raise TypeError


def _scalars(value: object, kind: str) -> list[str | int]:
    if not isinstance(value, list) or not 1 <= len(value) <= 10_000:
        raise TypeError
    return [_scalar(each, kind) for each in value]


def _pairs(value: object, kind: str) -> list[tuple[str | int, str | int]]:
    if not isinstance(value, list) or not 1 <= len(value) <= 10_000:
        raise TypeError
    pairs = [_scalars(each, kind) for each in value]
    return [(first, second) for first, second in pairs]


def _bound(value: object, kind: str) -> datetime | str | int:
    if kind != "day":
        return _scalar(value, kind)
    day = date.fromisoformat(str(value))
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001 - as the frames have days: midnight, UTC, naive


def _pattern(value: object, kind: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 1000:
        raise TypeError
    pc.match_substring_regex(pa.array([""]), value)  # RE2: no pattern of a tenant's can hang us
    return value


def _patterns(value: object, kind: str) -> list[str]:
    if not isinstance(value, list) or not 1 <= len(value) <= 100:
        raise TypeError
    return [_pattern(each, kind) for each in value]


def _whole(value: object, kind: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError
    return value


def _truth(value: object, kind: str) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _any_all(value: object, kind: str) -> str:
    if value not in ("any", "all"):
        raise ValueError
    return str(value)


def _date_format(value: object, kind: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 100 or "%" not in value:
        raise TypeError
    return value


@dataclass(frozen=True, slots=True)
class _Reads:
    """How an argument is read, and what a person may write there."""

    read: Callable[[object, str], object]
    allowed: str


@dataclass(frozen=True, slots=True)
class _Shape:
    """One expectation type: the arguments that name columns, the kinds those may have, the other arguments."""

    kinds: frozenset[str]
    required: Mapping[str, _Reads]
    optional: Mapping[str, _Reads]
    columns: tuple[str, ...] = ("column",)
    bounds: tuple[str, ...] = ()  # optional arguments of which one must be there
    at_least: int = 1  # columns


_VALUES = _Reads(_scalars, "a list of texts, for an amount or line of whole numbers")
_PAIRS = _Reads(_pairs, "a list of pairs of texts, for amounts of whole numbers")
_BOUND = _Reads(_bound, "a whole number (amounts in minor units), for a day an ISO date as 2026-01-31")
_RE2 = _Reads(_pattern, "a regular expression (RE2)")
_RE2S = _Reads(_patterns, "a list of regular expressions (RE2)")
_COUNT = _Reads(_whole, "a whole number from 0")
_TRUTH = _Reads(_truth, "true or false")
_ANY_KIND = frozenset({"text", "number", "day"})
_TEXT = frozenset({"text"})
_LISTED = frozenset({"text", "number"})
_ORDERED = frozenset({"number", "day"})
_RANGE = ("min_value", "max_value")
_PAIR = ("column_A", "column_B")

_SHAPES: dict[str, _Shape] = {
    "expect_column_values_to_not_be_null": _Shape(_ANY_KIND, {}, {}),
    "expect_column_values_to_be_null": _Shape(_ANY_KIND, {}, {}),
    "expect_column_values_to_be_in_set": _Shape(_LISTED, {"value_set": _VALUES}, {}),
    "expect_column_values_to_not_be_in_set": _Shape(_LISTED, {"value_set": _VALUES}, {}),
    "expect_column_values_to_be_between": _Shape(
        _ORDERED,
        {},
        {"min_value": _BOUND, "max_value": _BOUND, "strict_min": _TRUTH, "strict_max": _TRUTH},
        bounds=_RANGE,
    ),
    "expect_column_values_to_match_regex": _Shape(_TEXT, {"regex": _RE2}, {}),
    "expect_column_values_to_not_match_regex": _Shape(_TEXT, {"regex": _RE2}, {}),
    "expect_column_values_to_match_regex_list": _Shape(
        _TEXT, {"regex_list": _RE2S}, {"match_on": _Reads(_any_all, "any or all")}
    ),
    "expect_column_values_to_not_match_regex_list": _Shape(_TEXT, {"regex_list": _RE2S}, {}),
    "expect_column_value_lengths_to_be_between": _Shape(
        _TEXT, {}, {"min_value": _COUNT, "max_value": _COUNT}, bounds=_RANGE
    ),
    "expect_column_value_lengths_to_equal": _Shape(_TEXT, {"value": _COUNT}, {}),
    "expect_column_values_to_match_strftime_format": _Shape(
        _TEXT, {"strftime_format": _Reads(_date_format, "a format as %Y-%m-%d")}, {}
    ),
    "expect_column_values_to_be_json_parseable": _Shape(_TEXT, {}, {}),
    "expect_column_values_to_be_dateutil_parseable": _Shape(_TEXT, {}, {}),
    "expect_column_pair_values_to_be_equal": _Shape(_ANY_KIND, {}, {}, columns=_PAIR),
    "expect_column_pair_values_a_to_be_greater_than_b": _Shape(_ORDERED, {}, {"or_equal": _TRUTH}, columns=_PAIR),
    "expect_column_pair_values_to_be_in_set": _Shape(_LISTED, {"value_pairs_set": _PAIRS}, {}, columns=_PAIR),
    "expect_select_column_values_to_be_unique_within_record": _Shape(
        _TEXT, {}, {}, columns=("column_list",), at_least=2
    ),
}
"""Anything not listed is refused; uniqueness over a unit is judged by the house's own check `ids`."""
