"""A source's mapping, compiled: which columns or expressions make which fields, once per iteration."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import duckdb
from sqlglot import exp

from actuals_pipelines.domain.source import FieldMapping, Minimisation, SignRule, Source
from actuals_pipelines.errors import ActualsError, ConfigurationError
from actuals_pipelines.expressions import ExpressionRefused, Function, literal, parse, parse_field
from actuals_pipelines.normalise.minimise import treatment
from actuals_pipelines.normalise.sql import NumberMarks

CORE = ("row_id", "transaction_id", "kind", "status", "booked_on", "value_date", "timestamp", "amount", "currency")
"""Fields with a meaning; any other mapped field is kept as text. `amount_minor_units` may stand for `amount`."""

_PAIR = ("amount_plus", "amount_minus")
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
    factor: str = "1"  # SQL: what the amount is multiplied by: 1, -1; NULL: unknown flag; 0: both of a pair are filled


def compile_mappings(source: Source, columns: Collection[str], marks: NumberMarks) -> list[CompiledMapping]:
    """Compile the mapping of each iteration against the file's columns.

    An iteration's fields, constants and sign overlay the default's; both their `where` must hold. Expressions may call
    number(column): the column as an exact decimal, by the source's decimal and thousands marks; number(column, 0)
    where an empty one is 0.

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
    try:
        found = _described(connection, mapping.fields, view)
    except duckdb.Error:
        what = (
            "its parts have types that do not go together; raw columns are text, "
            "so write number(column) or cast(column as decimal(18, 2)) where you compute"
        )
        raise MappingRefused(source, _first_unfit(connection, mapping.fields, view), what) from None
    for name in ("amount", "amount_minor_units"):
        if found.get(name) in ("DOUBLE", "FLOAT"):
            raise MappingRefused(source, name, "it is a floating-point expression; money is never a float")
    return found


def _described(connection: duckdb.DuckDBPyConnection, fields: Mapping[str, str], view: str) -> dict[str, str]:
    """In one statement: for a small unit, statements are what costs."""
    selected = ", ".join(f"{sql} AS x{place}" for place, sql in enumerate(fields.values()))
    rows = connection.execute(f"DESCRIBE SELECT {selected} FROM {view}").fetchall()  # noqa: S608 - compiled
    return {name: row[1] for name, row in zip(fields, rows, strict=True)}


def _first_unfit(connection: duckdb.DuckDBPyConnection, fields: Mapping[str, str], view: str) -> str:
    for name, sql in fields.items():
        try:
            _described(connection, {name: sql}, view)
        except duckdb.Error:
            return name
    return ", ".join(fields)


def compile_sum(source: Source, columns: Collection[str], marks: NumberMarks) -> tuple[str, frozenset[str]]:
    """Compile `adds_up`: (SQL: why gross + fee + tax is not net in a record, NULL where it is; the columns it reads).

    Exact decimals, no rounding. An empty column counts 0; one that cannot be read is a reason of its own.
    """
    used: set[str] = set()
    functions = {"number": _number(columns, marks, used)}
    parts: dict[str, str] = {}
    for name in ("gross", "fee", "tax", "net"):
        terms = [
            _term(source, name, text, columns=columns, marks=marks, functions=functions, used=used)
            for text in source.adds_up.get(name, ())
        ]
        parts[name] = f"TRY(CAST({' + '.join(terms) or '0'} AS DECIMAL(38, 10)))"
    unread = " ".join(f"WHEN {sql} IS NULL THEN '{name} is no plain decimal number'" for name, sql in parts.items())
    total = f"TRY({parts['gross']} + {parts['fee']} + {parts['tax']})"
    unequal = f"WHEN {total} IS DISTINCT FROM {parts['net']} THEN 'gross + fee + tax is not net'"
    condition = "TRUE"
    for text in source.adds_up.get("where", ()):
        parsed = parse(text, columns, f"source {source.name}, adds_up", functions=functions, is_predicate=True)
        used |= parsed.columns
        condition = f"coalesce({parsed.sql}, FALSE)"
    return f"CASE WHEN {condition} THEN CASE {unread} {unequal} END END", frozenset(used)


def _compile(source: Source, overlay: FieldMapping, columns: Collection[str], marks: NumberMarks) -> CompiledMapping:
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
    fields, pair_factor = _paired(fields)
    sign = overlay.sign or default.sign
    factor = "1" if sign is None else _factor(source, sign, columns=columns, functions=functions, used=used)
    conditions = []
    for text in (default.where, overlay.where):
        if text is not None:
            parsed = parse(text, columns, f"source {source.name}, where", functions=functions, is_predicate=True)
            used |= parsed.columns
            conditions.append(f"coalesce({parsed.sql}, FALSE)")
    if len({name.lower() for name in used}) < len(used):
        raise MappingRefused(source.name, "mapping", "it uses two columns whose names differ only in case")
    factor = factor if pair_factor == "1" else f"({factor} * {pair_factor})"
    return CompiledMapping(fields, " AND ".join(conditions) or "TRUE", frozenset(used), factor)


def _field(
    source: Source,
    name: str,
    text: str,
    *,
    columns: Collection[str],
    functions: dict[str, Function],
    used: set[str],
) -> str:
    try:
        parsed = parse_field(text, columns, f"source {source.name}, field {name}", functions=functions)
    except ExpressionRefused:
        if _PLAIN.fullmatch(text):
            raise MappedColumnMissing(source.name, name, text, tuple(columns)) from None
        raise
    used |= parsed.columns
    return parsed.sql


def _paired(fields: dict[str, str]) -> tuple[dict[str, str], str]:
    """A pair of amount columns as one amount, and its factor: of each record one is filled with more than zeros."""
    if not set(_PAIR) <= set(fields):
        return fields, "1"
    plus, minus = (f"nullif(trim(CAST({fields[name]} AS VARCHAR)), '')" for name in _PAIR)
    is_plus, is_minus = (f"coalesce(regexp_matches({text}, '[^-+0.,]'), FALSE)" for text in (plus, minus))
    amount = f"CASE WHEN {is_minus} THEN {minus} ELSE coalesce({plus}, {minus}) END"
    factor = f"CASE WHEN {is_minus} AND {is_plus} THEN 0 WHEN {is_minus} THEN -1 ELSE 1 END"
    return {name: sql for name, sql in fields.items() if name not in _PAIR} | {"amount": amount}, factor


def _factor(
    source: Source, sign: SignRule, *, columns: Collection[str], functions: dict[str, Function], used: set[str]
) -> str:
    if sign.flag is None:
        return "-1"
    sql = _field(source, "sign", sign.flag, columns=columns, functions=functions, used=used)
    flag = f"trim(CAST({sql} AS VARCHAR))"
    plus, minus = (", ".join(literal(word) for word in words) for words in (sign.plus, sign.minus))
    return f"CASE WHEN {flag} IN ({plus}) THEN 1 WHEN {flag} IN ({minus}) THEN -1 END"


def _term(
    source: Source,
    name: str,
    text: str,
    *,
    columns: Collection[str],
    marks: NumberMarks,
    functions: dict[str, Function],
    used: set[str],
) -> str:
    sql = _field(source, f"adds_up {name}", text, columns=columns, functions=functions, used=used)
    return _number_or_zero(marks, sql) if text in columns else f"({sql})"


def _number_or_zero(marks: NumberMarks, sql: str) -> str:
    return f"CASE WHEN nullif(trim({sql}), '') IS NULL THEN 0 ELSE {marks.number(sql)} END"


def _number(columns: Collection[str], marks: NumberMarks, used: set[str]) -> Function:
    """number(column) and number(column, 0) for the expression language."""

    def number(arguments: Sequence[exp.Expression]) -> str:
        if len(arguments) not in (1, 2) or not isinstance(arguments[0], exp.Column):
            raise ValueError("one of the file's columns")
        try:
            found = parse(arguments[0].sql(dialect="duckdb"), columns, "number")
        except ExpressionRefused:
            raise ValueError("one of the file's columns") from None
        used.update(found.columns)
        if len(arguments) == 1:
            return marks.number(found.sql)
        if arguments[1].sql() != "0":
            raise ValueError("a column, 0")
        return _number_or_zero(marks, found.sql)

    return number


def _check_names(source: Source, names: set[str]) -> None:
    for name in sorted(names):
        if name in _OURS or name.startswith(("key_", "keys_")) or not _PLAIN.fullmatch(name):
            raise MappingRefused(source.name, name, "that name is ours or no plain name; choose another")
        if name in _CLEAR and treatment(source, name) is not Minimisation.KEEP:
            raise MappingRefused(source.name, name, "the engine needs it readable: it can only be kept")
    if not is_amount_mapped_once(names):
        raise MappingRefused(
            source.name,
            "amount",
            "map amount, or amount_plus and amount_minus, or amount_minor_units where the file counts those",
        )
    if "currency" not in names:
        raise MappingRefused(source.name, "currency", "map it, or give it as a constant")


def is_amount_mapped_once(names: Collection[str]) -> bool:
    """Whether an amount is mapped in exactly one of its three forms."""
    forms = [{"amount"}, set(_PAIR), {"amount_minor_units"}]
    return [form & set(names) for form in forms if form & set(names)] in [[form] for form in forms]
