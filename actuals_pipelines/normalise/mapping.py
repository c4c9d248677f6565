"""A source's mapping, compiled: which columns or expressions make which fields, once per iteration."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import duckdb
from sqlglot import exp

from actuals_pipelines.domain.source import FieldMapping, Minimisation, Source
from actuals_pipelines.errors import ActualsError, ConfigurationError
from actuals_pipelines.expressions import ExpressionRefused, Function, literal, parse, quoted
from actuals_pipelines.normalise.sql import NumberMarks

CORE = ("row_id", "transaction_id", "kind", "status", "booked_on", "value_date", "timestamp", "amount", "currency")
"""Fields with a meaning; any other mapped field is kept as text. `amount_minor_units` may stand for `amount`."""

_CLEAR = {"kind", "status", "booked_on", "value_date", "timestamp", "amount", "amount_minor_units", "currency"}
_OURS = {"row_uid", "row_digest", "source", "unit_id", "line", "iteration"}
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class MappingRefused(ConfigurationError):
    """A mapping cannot be used as it stands, whatever the file holds."""

    def __init__(self, source: str, field: str, what: str) -> None:
        super().__init__(source, field, what)
        self.source, self.field, self.what = source, field, what

    def __str__(self) -> str:
        return f"Source {self.source!r}, field {self.field!r}: {self.what}."


class MappedColumnMissing(ActualsError):
    """A landed file lacks a column that its source's field mapping names."""

    def __init__(self, source: str, field: str, column: str, found: Sequence[str]) -> None:
        super().__init__(source, field, column, tuple(found))
        self.source, self.field, self.column, self.found = source, field, column, tuple(found)

    def __str__(self) -> str:
        return (
            f"Source {self.source!r} maps {self.field} to the column {self.column!r}, which this file does not have. "
            f"Its columns are: {', '.join(self.found)}. "
            "Correct the field mapping, or ask the sender whether the export changed."
        )


@dataclass(frozen=True, slots=True)
class CompiledMapping:
    """One iteration over the raw records: SQL over the named raw columns."""

    fields: dict[str, str]  # field -> SQL
    where: str  # SQL predicate; never NULL
    columns: frozenset[str]  # raw columns that the SQL texts name


def compile_mappings(source: Source, columns: Sequence[str], marks: NumberMarks) -> list[CompiledMapping]:
    """Compile the mapping of each iteration against the file's columns.

    An iteration's fields and constants overlay the default's; both their `where` must hold. Expressions may call
    number(column): the column as an exact decimal, by the source's decimal and thousands marks.

    Raises:
        MappingRefused, MappedColumnMissing, ExpressionRefused.
    """
    overlays = source.iterations or (FieldMapping(fields={}),)
    return [_compile(source, overlay, columns, marks) for overlay in overlays]


def field_names(mappings: Sequence[CompiledMapping]) -> list[str]:
    """Every field that some iteration makes, core first, the others as written."""
    named = list(dict.fromkeys(name for mapping in mappings for name in mapping.fields))
    return [name for name in CORE if name in named] + [name for name in named if name not in CORE]


def kinds(connection: duckdb.DuckDBPyConnection, source: str, mapping: CompiledMapping, view: str) -> dict[str, str]:
    """The DuckDB type of each field's SQL; floating point is refused where money is made."""
    found: dict[str, str] = {}
    for name, sql in mapping.fields.items():
        try:
            described = connection.execute(f"DESCRIBE SELECT {sql} AS x FROM {view}")  # noqa: S608 - compiled
            found[name] = described.fetchall()[0][1]
        except duckdb.Error:
            what = (
                "its parts have types that do not go together; raw columns are text, "
                "so write number(column) or cast(column as decimal(18, 2)) where you compute"
            )
            raise MappingRefused(source, name, what) from None
        if found[name] in ("DOUBLE", "FLOAT") and name in ("amount", "amount_minor_units"):
            raise MappingRefused(source, name, "it is a floating-point expression; money is never a float")
    return found


def _compile(source: Source, overlay: FieldMapping, columns: Sequence[str], marks: NumberMarks) -> CompiledMapping:
    default = source.mapping
    texts = {name: text for name, text in default.fields.items() if name not in overlay.constants} | dict(
        overlay.fields
    )
    constants = {name: text for name, text in default.constants.items() if name not in overlay.fields} | dict(
        overlay.constants
    )
    _check_names(source, {*texts, *constants})
    used: set[str] = set()
    functions = {"number": _number(columns, marks, used)}
    fields = {
        name: _field(source, name, text, columns=columns, functions=functions, used=used)
        for name, text in texts.items()
        if name not in constants
    }
    fields |= {name: literal(text) for name, text in constants.items()}
    conditions = []
    for text in (default.where, overlay.where):
        if text is not None:
            parsed = parse(text, columns, f"source {source.name}, where", functions=functions, is_predicate=True)
            used |= parsed.columns
            conditions.append(f"coalesce({parsed.sql}, FALSE)")
    if len({name.lower() for name in used}) < len(used):
        raise MappingRefused(source.name, "mapping", "it uses two columns whose names differ only in case")
    return CompiledMapping(fields, " AND ".join(conditions) or "TRUE", frozenset(used))


def _field(
    source: Source,
    name: str,
    text: str,
    *,
    columns: Sequence[str],
    functions: dict[str, Function],
    used: set[str],
) -> str:
    if text in columns:
        used.add(text)
        return quoted(text)
    try:
        parsed = parse(text, columns, f"source {source.name}, field {name}", functions=functions)
    except ExpressionRefused:
        if _PLAIN.fullmatch(text):
            raise MappedColumnMissing(source.name, name, text, columns) from None
        raise
    used |= parsed.columns
    return parsed.sql


def _number(columns: Collection[str], marks: NumberMarks, used: set[str]) -> Function:
    """number(column) for the expression language."""

    def number(arguments: Sequence[exp.Expression]) -> str:
        node = arguments[0] if len(arguments) == 1 else None
        name = node.name if isinstance(node, exp.Column) else None
        same = [column for column in columns if name is not None and column.lower() == name.lower()]
        chosen = name if name in columns else same[0] if len(same) == 1 else None
        if chosen is None:
            raise ValueError("one of the file's columns")
        used.add(chosen)
        return marks.number(quoted(chosen))

    return number


def _check_names(source: Source, names: set[str]) -> None:
    for name in sorted(names):
        if name in _OURS or name.startswith(("key_", "keys_")) or not _PLAIN.fullmatch(name):
            raise MappingRefused(source.name, name, "that name is ours or no plain name; choose another")
        if name in _CLEAR and source.columns.get(name, Minimisation.KEEP) is not Minimisation.KEEP:
            raise MappingRefused(source.name, name, "the engine needs it readable: it can only be kept")
    if len(names & {"amount", "amount_minor_units"}) != 1:
        raise MappingRefused(source.name, "amount", "map amount, or amount_minor_units where the file counts those")
    if "currency" not in names:
        raise MappingRefused(source.name, "currency", "map it, or give it as a constant")
