"""The closed expression language of mappings, `take` predicates and explanation rules: a small part of SQL.

A text is parsed by sqlglot and compiled by the table below, node by node. What the table does not know is refused,
so nothing that is not written here ever reaches an engine: the table is the injection guard and the documentation.
The output is DuckDB SQL inside the subset that means the same on other engines.

Reading never fails on a value: casts, dates and JSON that cannot be read give NULL, and the caller rejects the record.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from actuals_pipelines.errors import ConfigurationError

MAX_LENGTH = 10_000
"""Characters an expression may have; generous for people, a bound for machines."""

ALLOWED = (
    "columns, 'text', numbers, true, false, null, dates (date '2026-01-31'); "
    "and, or, not, = <> < <= > >=, in (...), between, is null, is distinct from, like, ilike, || + - *; "
    "case, coalesce, nullif, abs, greatest, least, upper, lower, trim, ltrim, rtrim, lpad, substr, left, right, "
    "replace, concat, split_part, length, contains, starts_with, ends_with, regexp_extract, regexp_matches, "
    "regexp_replace, json_extract_path_text, date_diff, strptime, to_timestamp, "
    "cast to text, date, timestamp, bigint or decimal"
)

Function = Callable[[Sequence[exp.Expression]], str]
"""A caller's function: gets the arguments as parsed nodes, returns DuckDB SQL, raises ValueError with what to write."""

# sqlglot warns when a JSON path is odd, and quotes the text; we refuse such a path ourselves.
logging.getLogger("sqlglot").setLevel(logging.ERROR)


class ExpressionRefused(ConfigurationError):
    """An expression holds something outside the language. Its text is configuration, never a customer's value."""

    def __init__(self, where: str, what: str, allowed: str = ALLOWED) -> None:
        super().__init__(where, what, allowed)
        self.where, self.what, self.allowed = where, what, allowed

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. Allowed: {self.allowed}."


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression: what was written, the DuckDB SQL it means, and the columns it reads."""

    text: str
    sql: str
    columns: frozenset[str]


def parse(
    text: str,
    columns: Collection[str],
    where: str,
    *,
    functions: Mapping[str, Function] | None = None,
    amounts: Collection[str] = (),
    is_predicate: bool = False,
) -> Expression:
    """Check `text` against the language and compile it to DuckDB SQL.

    Args:
        columns: the names it may read. Exact spelling wins, then any case. `__column2__` is the second of them
            (give them in file order), unless a column has that very name.
        where: the place, for the error: "package orders_vs_psp, explanation 'fee kept', when".
        functions: the caller's own functions by lower-case name, e.g. money('0.35 EUR').
        amounts: names of columns and functions that are amounts in minor units; a bare number other than 0 beside
            one of them is refused, because nobody can tell 0.35 from 35.
        is_predicate: it must be a condition, not a value.

    Raises:
        ExpressionRefused: names the place, the offending piece and what is allowed.
    """
    names = columns if isinstance(columns, tuple) else tuple(columns)
    compiler = _Compiler(where, names, functions or {}, frozenset(amounts))
    tree = compiler.tree(text)
    if is_predicate and not isinstance(_bare(tree), _CONDITIONS):
        raise ExpressionRefused(where, f"`{text.strip()}` is a value, not a condition", "a condition: kind = 'sale'")
    sql = compiler.sql(tree)
    return Expression(text=text, sql=sql, columns=frozenset(compiler.used))


def parse_field(
    text: str, columns: Collection[str], where: str, *, functions: Mapping[str, Function] | None = None
) -> Expression:
    """Compile a mapping's field: a column's header, whatever its characters; a path into a JSON column; an expression.

    A path is the column and its steps: references.order, details.lines[0].amount.
    """
    return _named(text, columns) or parse(text, columns, where, functions=functions)


def _named(text: str, columns: Collection[str]) -> Expression | None:
    """A header or a path as it stands; None where the text is neither."""
    if text in columns:
        return Expression(text=text, sql=quoted(text), columns=frozenset([text]))
    path = _PATH.fullmatch(text)
    if path is None or path["column"] not in columns:
        return None
    steps = re.sub(r"\.([^.\[]+)", r'."\1"', path["steps"])
    return Expression(text, _json_text(quoted(path["column"]), "$" + steps), frozenset([path["column"]]))


def quoted(name: str) -> str:
    """A column's name as a DuckDB identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def text_of(node: exp.Expression) -> str:
    """The text of a function's argument that must be a quoted text; ValueError if it is anything else."""
    if isinstance(node, exp.Literal) and node.is_string:
        return str(node.this)
    raise ValueError("a text in single quotes")


# What each node becomes: the SQL name or operator, and which of the node's parts it takes, in order.
_OPERATORS: dict[type[exp.Expression], str] = {
    exp.And: "AND",
    exp.Or: "OR",
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.DPipe: "||",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM",
    exp.NullSafeNEQ: "IS DISTINCT FROM",
}
_CALLS: dict[type[exp.Expression], tuple[str, tuple[str, ...]]] = {
    exp.Abs: ("abs", ("this",)),
    exp.Upper: ("upper", ("this",)),
    exp.Lower: ("lower", ("this",)),
    exp.Length: ("length", ("this",)),
    exp.Coalesce: ("coalesce", ("this", "expressions")),
    exp.Greatest: ("greatest", ("this", "expressions")),
    exp.Least: ("least", ("this", "expressions")),
    exp.Nullif: ("nullif", ("this", "expression")),
    exp.Substring: ("substr", ("this", "start", "length")),
    exp.Left: ("left", ("this", "expression")),
    exp.Right: ("right", ("this", "expression")),
    exp.Replace: ("replace", ("this", "expression", "replacement")),
    exp.Concat: ("concat", ("expressions",)),
    exp.SplitPart: ("split_part", ("this", "delimiter", "part_index")),
    exp.Contains: ("contains", ("this", "expression")),
    exp.StartsWith: ("starts_with", ("this", "expression")),
    exp.EndsWith: ("ends_with", ("this", "expression")),
    exp.RegexpExtract: ("regexp_extract", ("this", "expression", "group")),
    exp.RegexpLike: ("regexp_matches", ("this", "expression", "flag")),
    exp.RegexpReplace: ("regexp_replace", ("this", "expression", "replacement", "modifiers")),
    exp.StrToTime: ("try_strptime", ("this", "format")),
    exp.UnixToTime: ("to_timestamp", ("this",)),
}
_TYPES = {
    exp.DType.TEXT: "VARCHAR",
    exp.DType.VARCHAR: "VARCHAR",
    exp.DType.DATE: "DATE",
    exp.DType.TIMESTAMP: "TIMESTAMP",
    exp.DType.TIMESTAMPNTZ: "TIMESTAMP",
    exp.DType.TIMESTAMPTZ: "TIMESTAMPTZ",
    exp.DType.BIGINT: "BIGINT",
    exp.DType.INT: "BIGINT",
}
_CONDITIONS = (
    exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ,
    exp.Is, exp.In, exp.Between, exp.Like, exp.ILike, exp.Escape, exp.Contains, exp.StartsWith, exp.EndsWith,
    exp.RegexpLike, exp.Boolean, exp.Case, exp.If, exp.Coalesce, exp.Anonymous,
)  # fmt: skip
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_PATH = re.compile(r"(?P<column>[A-Za-z_][A-Za-z0-9_]*)(?P<steps>(\.[A-Za-z_][A-Za-z0-9_]*|\[[0-9]{1,4}\])+)")
_POSITIONAL = re.compile(r"__column([0-9]+)__", re.IGNORECASE)
# Parts that sqlglot fills in by itself and that say nothing about what was written.
_NOISE = {
    "safe", "coalesce", "ignore_nulls", "null_if_pos_overflow", "scalar_only", "only_json_types", "date_part_boundary",
    "_type", "typed",
}  # fmt: skip


class _Compiler:
    """One walk over one expression; collects the columns it met."""

    def __init__(
        self, where: str, columns: tuple[str, ...], functions: Mapping[str, Function], amounts: frozenset[str]
    ) -> None:
        self.where, self.columns, self.functions, self.amounts = where, columns, functions, amounts
        self.used: set[str] = set()

    def tree(self, text: str) -> exp.Expression:
        """Parse; everything that is not one expression is refused here."""
        if not text.strip():
            raise ExpressionRefused(self.where, "the expression is empty")
        if len(text) > MAX_LENGTH:
            raise ExpressionRefused(self.where, f"it is longer than {MAX_LENGTH} characters", "a shorter expression")
        try:
            tree = sqlglot.parse_one(text, dialect="duckdb")
        except RecursionError:
            raise ExpressionRefused(self.where, "it is nested too deeply", "fewer levels") from None
        except SqlglotError as error:
            raise ExpressionRefused(self.where, f"`{text.strip()}` cannot be read{_position(error)}") from None
        assert isinstance(tree, exp.Expression)  # noqa: S101 - parse_one's type is wider than what it returns
        return tree

    def sql(self, node: exp.Expression) -> str:
        """The node as DuckDB SQL, in parentheses where precedence could matter."""
        try:
            return self._sql(node)
        except RecursionError:
            raise ExpressionRefused(self.where, "it is nested too deeply", "fewer levels") from None

    def _sql(self, node: exp.Expression) -> str:
        kind = type(node)
        if kind in _OPERATORS:
            self._only(node, "this", "expression")
            self._refuse_bare_numbers(node, node.this, node.expression)
            return f"({self._sql(node.this)} {_OPERATORS[kind]} {self._sql(node.expression)})"
        if kind in _CALLS:
            name, parts = _CALLS[kind]
            self._only(node, *parts)
            return f"{name}({', '.join(self._sql(part) for part in _parts(node, parts))})"
        form = _FORMS.get(kind)
        if form is None:
            raise self._refused(node)
        return form(self, node)

    def column(self, node: exp.Expression) -> str:
        self._only(node, "this", "table", "db", "catalog")
        steps = [node.args[part] for part in ("catalog", "db", "table", "this") if node.args.get(part)]
        if not all(isinstance(step, exp.Identifier) for step in steps):
            raise self._refused(node)
        if len(steps) > 1:  # "parent.id" is one header, references.order a path into a JSON column
            found = _named(".".join(str(step.this) for step in steps), self.columns)
            if found is None:
                listed = ", ".join(self.columns) or "none"
                what = f"there is no column `{_shown(node)}`, and none that its first step names"
                raise ExpressionRefused(self.where, what, f"the columns are: {listed}")
            self.used |= found.columns
            return found.sql
        name = self._resolve(str(node.this.this), bool(node.this.args.get("quoted")))
        self.used.add(name)
        return quoted(name)

    def _resolve(self, name: str, was_quoted: bool) -> str:
        if name in self.columns:
            return name
        same = [column for column in self.columns if column.lower() == name.lower()]
        if len(same) == 1:
            return same[0]
        positional = _POSITIONAL.fullmatch(name)
        if positional and 1 <= int(positional[1]) <= len(self.columns):
            return self.columns[int(positional[1]) - 1]
        hint = " (text is written in single quotes)" if was_quoted else ""
        listed = ", ".join(self.columns) or "none"
        raise ExpressionRefused(self.where, f"there is no column `{name}`{hint}", f"the columns are: {listed}")

    def literal(self, node: exp.Expression) -> str:
        text = str(node.this)
        if node.is_string:
            return literal(text)
        if not _NUMBER.fullmatch(text):
            raise ExpressionRefused(self.where, f"`{text}` is not a plain number", "12 or 12.34")
        return text

    def boolean(self, node: exp.Expression) -> str:
        return "TRUE" if node.this else "FALSE"

    def null(self, _node: exp.Expression) -> str:
        return "NULL"

    def paren(self, node: exp.Expression) -> str:
        self._only(node, "this")
        return self._sql(node.this)

    def negative(self, node: exp.Expression) -> str:
        self._only(node, "this")
        return f"(- {self._sql(node.this)})"

    def no(self, node: exp.Expression) -> str:
        self._only(node, "this")
        return f"(NOT {self._sql(node.this)})"

    def null_test(self, node: exp.Expression) -> str:
        self._only(node, "this", "expression")
        if not isinstance(node.expression, exp.Null | exp.Boolean):
            raise self._refused(node)
        return f"({self._sql(node.this)} IS {self._sql(node.expression)})"

    def among(self, node: exp.Expression) -> str:
        self._only(node, "this", "expressions")
        options = node.expressions
        if not options:
            raise self._refused(node)
        self._refuse_bare_numbers(node, node.this, *options)
        return f"({self._sql(node.this)} IN ({', '.join(self._sql(option) for option in options)}))"

    def between(self, node: exp.Expression) -> str:
        self._only(node, "this", "low", "high")
        low, high = node.args["low"], node.args["high"]
        self._refuse_bare_numbers(node, node.this, low, high)
        return f"({self._sql(node.this)} BETWEEN {self._sql(low)} AND {self._sql(high)})"

    def like(self, node: exp.Expression) -> str:
        self._only(node, "this", "expression", "negate")
        word = "ILIKE" if isinstance(node, exp.ILike) else "LIKE"
        negated = "NOT " if node.args.get("negate") else ""
        return f"({self._sql(node.this)} {negated}{word} {self._sql(node.expression)})"

    def escape(self, node: exp.Expression) -> str:
        self._only(node, "this", "expression")
        if not isinstance(node.this, exp.Like | exp.ILike) or not isinstance(node.expression, exp.Literal):
            raise self._refused(node)
        return f"({self.like(node.this)[1:-1]} ESCAPE {self._sql(node.expression)})"

    def case(self, node: exp.Expression) -> str:
        self._only(node, "this", "ifs", "default")
        subject = f" {self._sql(node.this)}" if node.this else ""
        arms = " ".join(f"WHEN {self._sql(arm.this)} THEN {self._sql(arm.args['true'])}" for arm in node.args["ifs"])
        default = node.args.get("default")
        return f"(CASE{subject} {arms}{f' ELSE {self._sql(default)}' if default else ''} END)"

    def choice(self, node: exp.Expression) -> str:
        self._only(node, "this", "true", "false")
        other = node.args.get("false")
        tail = f" ELSE {self._sql(other)}" if other else ""
        return f"(CASE WHEN {self._sql(node.this)} THEN {self._sql(node.args['true'])}{tail} END)"

    def trim(self, node: exp.Expression) -> str:
        self._only(node, "this", "expression", "position")
        name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or ""), "trim")
        return f"{name}({', '.join(self._sql(part) for part in _parts(node, ('this', 'expression')))})"

    def pad(self, node: exp.Expression) -> str:
        self._only(node, "this", "expression", "fill_pattern", "is_left")
        name = "lpad" if node.args.get("is_left") else "rpad"
        return f"{name}({', '.join(self._sql(p) for p in _parts(node, ('this', 'expression', 'fill_pattern')))})"

    def cast(self, node: exp.Expression) -> str:
        self._only(node, "this", "to")
        target = node.args["to"]
        if target.this in (exp.DType.DECIMAL,):
            sizes = [int(str(part.this)) for part in target.expressions]
            words = f"DECIMAL({', '.join(map(str, sizes))})"
        elif target.this in _TYPES:
            words = _TYPES[target.this]
        else:
            raise ExpressionRefused(
                self.where, f"`{_shown(node)}`: nothing is cast to that type", "text, date, timestamp, bigint, decimal"
            )
        return f"TRY_CAST({self._sql(node.this)} AS {words})"

    def date_difference(self, node: exp.Expression) -> str:
        self._only(node, "this", "expression", "unit")
        unit = str(node.args["unit"].this).lower() if node.args.get("unit") else "day"
        if unit not in ("day", "week", "month", "year"):
            raise self._refused(node)
        return f"date_diff('{unit}', {self._sql(node.expression)}, {self._sql(node.this)})"

    def json_text(self, node: exp.Expression) -> str:
        """JSON_EXTRACT_PATH_TEXT(column, '"orderId"') and its relatives: text at a path, NULL where there is none."""
        self._only(node, "this", "expression")
        path = self._json_path(node)
        return _json_text(f"CAST({self._sql(node.this)} AS VARCHAR)", path)

    def _json_path(self, node: exp.Expression) -> str:
        steps = node.expression.expressions if isinstance(node.expression, exp.JSONPath) else None
        path = "$"
        for step in steps or [None]:
            if isinstance(step, exp.JSONPathKey) and isinstance(step.this, str) and '"' not in step.this:
                path += f'."{step.this}"'
            elif isinstance(step, exp.JSONPathSubscript) and isinstance(step.this, int):
                path += f"[{step.this}]"
            elif not isinstance(step, exp.JSONPathRoot):
                shown = _shown(node)
                raise ExpressionRefused(
                    self.where, f"`{shown}`: the path cannot be read", 'orderId, "order id", a.b[0]'
                )
        return path

    def call(self, node: exp.Expression) -> str:
        """A caller's function, or try_strptime, which sqlglot does not know by name."""
        name = str(node.this).lower()
        if name in ("try_strptime", "rtrim", "ltrim"):
            return f"{name}({', '.join(self._sql(argument) for argument in node.expressions)})"
        function = self.functions.get(name)
        if function is None:
            own = "".join(f", {each}(...)" for each in sorted(self.functions))
            raise ExpressionRefused(self.where, f"there is no function `{name}`", ALLOWED + own)
        try:
            return f"({function(node.expressions)})"
        except ValueError as error:
            raise ExpressionRefused(self.where, f"`{_shown(node)}` cannot be read", f"{name}({error})") from None

    def _refuse_bare_numbers(self, node: exp.Expression, *sides: exp.Expression) -> None:
        """`balance_difference > 35`: 35 cents or 35 euros? Only 0 is the same in every currency."""
        if isinstance(node, exp.Mul) or not any(self._is_amount(side) for side in sides):
            return
        for side in sides:
            number = _number(side)
            if number is not None and number.strip("0.") != "":
                raise ExpressionRefused(
                    self.where,
                    f"`{_shown(node)}` compares an amount with a bare number",
                    f"an amount with its currency, as in money('{number} EUR')",
                )

    def _is_amount(self, node: exp.Expression) -> bool:
        node = _bare(node)
        if isinstance(node, exp.Column):
            return str(node.this.this).lower() in self.amounts
        if isinstance(node, exp.Anonymous):
            return str(node.this).lower() in self.amounts
        if isinstance(node, exp.Neg | exp.Abs | exp.Coalesce | exp.Add | exp.Sub | exp.Mul | exp.Greatest | exp.Least):
            return any(self._is_amount(part) for part in node.iter_expressions())
        return False

    def _only(self, node: exp.Expression, *parts: str) -> None:
        """Refuse a node with a part we would not render: nothing that was written is dropped in silence."""
        unknown = [name for name, value in node.args.items() if value and name not in parts and name not in _NOISE]
        if unknown:
            raise self._refused(node)

    def _refused(self, node: exp.Expression) -> ExpressionRefused:
        return ExpressionRefused(self.where, f"`{_shown(node)}` is not part of the language")


_FORMS: dict[type[exp.Expression], Callable[[_Compiler, exp.Expression], str]] = {
    exp.Column: _Compiler.column,
    exp.Literal: _Compiler.literal,
    exp.Boolean: _Compiler.boolean,
    exp.Null: _Compiler.null,
    exp.Paren: _Compiler.paren,
    exp.Neg: _Compiler.negative,
    exp.Not: _Compiler.no,
    exp.Is: _Compiler.null_test,
    exp.In: _Compiler.among,
    exp.Between: _Compiler.between,
    exp.Like: _Compiler.like,
    exp.ILike: _Compiler.like,
    exp.Escape: _Compiler.escape,
    exp.Case: _Compiler.case,
    exp.If: _Compiler.choice,
    exp.Trim: _Compiler.trim,
    exp.Pad: _Compiler.pad,
    exp.Cast: _Compiler.cast,
    exp.TryCast: _Compiler.cast,
    exp.DateDiff: _Compiler.date_difference,
    exp.JSONExtractScalar: _Compiler.json_text,
    exp.Anonymous: _Compiler.call,
}


def _json_text(value: str, path: str) -> str:
    """SQL: the text at a path. The engine reads a JSON fraction as a double: beyond 15 digits it would be another."""
    found, at = f"json_extract_string({value}, {literal(path)})", literal(path)
    is_inexact = f"strlen({found}) > 16 AND json_type({value}, {at}) = 'DOUBLE'"
    return f"(CASE WHEN json_valid({value}) THEN CASE WHEN {is_inexact} THEN NULL ELSE {found} END END)"


def _parts(node: exp.Expression, names: Sequence[str]) -> list[exp.Expression]:
    found: list[exp.Expression] = []
    for name in names:
        value = node.args.get(name)
        if isinstance(value, list):
            found.extend(value)
        elif value is not None:
            found.append(value)
    return found


def _bare(node: exp.Expression) -> exp.Expression:
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _number(node: exp.Expression) -> str | None:
    node = _bare(node)
    if isinstance(node, exp.Neg):
        return _number(node.this)
    return str(node.this) if isinstance(node, exp.Literal) and not node.is_string else None


def _shown(node: exp.Expression) -> str:
    """The offending piece as SQL, cut to a line."""
    try:
        words = node.sql(dialect="duckdb")
    except (SqlglotError, ValueError):
        words = type(node).__name__
    return words if len(words) <= 80 else words[:77] + "..."


def _position(error: SqlglotError) -> str:
    details = getattr(error, "errors", None) or [{}]
    line, column = details[0].get("line"), details[0].get("col")
    return f" (line {line}, column {column})" if line else ""
