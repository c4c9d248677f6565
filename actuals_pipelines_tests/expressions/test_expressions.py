"""What the expression language takes, what it refuses, and what it means in the engine."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pytest
from sqlglot import exp

from actuals_pipelines.errors import ActualsError
from actuals_pipelines.expressions import ExpressionRefused, parse, parse_field, text_of

COLUMNS = ("kind", "text", "amount", "booked_on", "reference", "Größe (EUR)")
WHERE = "package orders_vs_psp, explanation 'fee kept', when"


def value_of(text: str, /, **columns: object) -> object:
    """What an expression gives for one row of named columns."""
    expression = parse(text, tuple(columns), WHERE)
    select = ", ".join(f'? AS "{name}"' for name in columns) or "1"
    row = duckdb.connect().execute(
        f"SELECT {expression.sql} FROM (SELECT {select})",  # noqa: S608 - the language under test made it
        list(columns.values()),
    )
    return row.fetchone()[0]  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "row", "expected"),
    [
        ("kind in ('sale', 'refund')", {"kind": "sale"}, True),
        ("kind not in ('payout', 'payout_return')", {"kind": "payout"}, False),
        ("status = 'booked' and contains(text, 'ADYEN')", {"status": "booked", "text": "FROM ADYEN NV"}, True),
        ("text not like 'A%' and not starts_with(text, 'B')", {"text": "CAB"}, True),
        ("text like 'A!%' escape '!'", {"text": "A%"}, True),
        ("amount * 100 - fee + 1", {"amount": 5, "fee": 2}, 499),
        ("1 - (2 - 3)", {}, 2),
        ("case kind when 'refund' then -amount else amount end", {"kind": "refund", "amount": 5}, -5),
        ("coalesce(nullif(trim(text), ''), 'none')", {"text": "  "}, "none"),
        ("upper(substr(text, 2, 3)) || lower('X')", {"text": "abcdef"}, "BCDx"),
        ("replace(concat(text, '-', kind), '-', '/')", {"text": "a", "kind": "b"}, "a/b"),
        ("regexp_extract(text, 'ORD[^0-9]{0,3}([0-9]{10})', 1)", {"text": "for ORD-0000004711 thanks"}, "0000004711"),
        ("regexp_matches(text, '^[0-9]+$')", {"text": "12a"}, False),
        ("cast(strptime(text, '%d.%m.%Y') as date) = date '2026-01-31'", {"text": "31.01.2026"}, True),
        ("cast(text as decimal(18,2)) = 1.50", {"text": "1.5"}, True),
        ("lpad(text, 5, '0')", {"text": "12"}, "00012"),
        ("text is null or text is not null", {"text": None}, True),
        ("abs(amount) between 1 and 2", {"amount": -2}, True),
        ("date_diff('day', cast('2026-01-30' as date), cast('2026-02-02' as date))", {}, 3),
        (
            """JSON_EXTRACT_PATH_TEXT(__column2__, '"orderId"')""",
            {"ID": "Item 1", "J": '{"orderId":"order123"}'},
            "order123",
        ),
        ("json_extract_path_text(j, 'a.b[1]')", {"j": '{"a":{"b":["x","y"]}}'}, "y"),
    ],
)
def test_the_language_means_what_sql_means(text: str, row: dict[str, object], expected: object) -> None:
    """Checked in the engine that runs it."""
    assert value_of(text, **row) == expected


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("cast(text as date)", {"text": "not a date"}),
        ("cast(text as decimal(18,2))", {"text": "12,50"}),
        ("strptime(text, '%d.%m.%Y')", {"text": "2026-01-31"}),
        ("json_extract_path_text(text, 'a')", {"text": "{half a document"}),
    ],
    ids=["date", "decimal", "formatted date", "document"],
)
def test_a_value_that_cannot_be_read_is_null_and_never_an_error_that_quotes_it(
    text: str, row: dict[str, object]
) -> None:
    """The caller rejects the record with its line; an engine's error would carry the value into a log."""
    assert value_of(text, **row) is None


@pytest.mark.parametrize(
    "text",
    [
        "amount in (select 1)", "(select 1)", "read_csv('/etc/passwd')", "read_text('x')", "getenv('HOME')",
        "sum(amount)",
        "count(*)", "*", "columns(*)", "amount / 2", "amount // 2", "amount % 2", "now()", "current_date", "random()",
        "kind; drop table x", "kind as k", "kind, text", "t.kind", "a.b.kind", "[1, 2]", "{'a': 1}", "text[1]", "?",
        "$1",
        ":name", "kind collate nocase", "abs(amount) over ()", "1e5", "cast(kind as integer[])", "cast(kind as double)",
        "interval 3 day", "booked_on + interval 3 day", "lambda x: x", "x -> x + 1", "text similar to 'x'",
        "exists (select 1)",
        "attach 'x'", "kind = any(['a'])", "text glob '*'", "json_extract_path_text(text, kind)", "", "   ", "((kind",
        "count(distinct kind)", "sum(amount) filter (where true)", "(" * 3000 + "kind" + ")" * 3000,
        "not " * 3000 + "true",
        "kind" * 5000, "regexp_extract_all(text, 'x')", "version()", "current_user", "list_transform([1], x -> x)",
    ],
)  # fmt: skip
def test_everything_outside_the_language_is_refused(text: str) -> None:
    """The table of forms is the guard against injection: no form, no SQL."""
    with pytest.raises(ExpressionRefused) as refused:
        parse(text, COLUMNS, WHERE)

    assert WHERE in str(refused.value)
    assert isinstance(refused.value, ActualsError)


def test_an_unknown_column_lists_the_columns_there_are() -> None:
    """A typo is mended without opening the file."""
    with pytest.raises(ExpressionRefused) as refused:
        parse("knid = 'sale'", COLUMNS, WHERE)

    assert "no column `knid`" in str(refused.value)
    assert all(column in str(refused.value) for column in COLUMNS)


def test_double_quotes_name_a_column_and_the_error_says_so() -> None:
    """The commonest slip of people who come from other languages."""
    assert parse("\"Größe (EUR)\" = '12'", COLUMNS, WHERE).columns == {"Größe (EUR)"}

    with pytest.raises(ExpressionRefused, match="single quotes"):
        parse('kind = "sale"', COLUMNS, WHERE)


def test_columns_are_found_by_spelling_then_by_any_case_then_by_position() -> None:
    """`__column2__` is the second column of the file."""
    assert parse("KIND", COLUMNS, WHERE).sql == '"kind"'
    assert parse("__column2__", COLUMNS, WHERE).sql == '"text"'
    assert parse("__column2__", ("x", "__column2__", "__column1__"), WHERE).sql == '"__column2__"'
    with pytest.raises(ExpressionRefused, match="no column"):
        parse("__column99__", COLUMNS, WHERE)


def test_a_mapping_field_that_equals_a_header_is_that_column_whatever_its_characters() -> None:
    """Headers such as `Amount (net), EUR` need no quoting."""
    field = parse_field('Amount (net), "EUR"', ('Amount (net), "EUR"', "x"), WHERE)

    assert field.sql == '"Amount (net), ""EUR"""'
    assert parse_field("x || 'y'", ("x",), WHERE).columns == {"x"}


def test_quotes_in_texts_cannot_leave_the_text() -> None:
    """The literal is written again by us, never passed through."""
    assert value_of("'it''s; drop table x --'") == "it's; drop table x --"


def money(arguments: Sequence[exp.Expression]) -> str:
    if len(arguments) != 1:
        raise ValueError("'0.35 EUR'")
    amount, _, currency = text_of(arguments[0]).partition(" ")
    return f"CASE WHEN \"currency\" = '{currency}' THEN {int(float(amount) * 100)} END"


def test_a_callers_function_becomes_the_sql_it_returns() -> None:
    """Rules speak of money('0.35 EUR'); only the engine knows what that is."""
    rule = parse("amount <= money('0.35 EUR')", COLUMNS, WHERE, functions={"money": money}, amounts={"amount", "money"})

    assert rule.sql == '("amount" <= (CASE WHEN "currency" = \'EUR\' THEN 35 END))'


@pytest.mark.parametrize("text", ["money()", "money(amount)", "moeny('0.35 EUR')"])
def test_a_callers_function_refuses_what_it_cannot_read(text: str) -> None:
    """With what to write instead."""
    with pytest.raises(ExpressionRefused, match="money"):
        parse(text, COLUMNS, WHERE, functions={"money": money})


@pytest.mark.parametrize(
    "text", ["amount > 35", "amount between 0 and 0.35", "-amount in (1, 2)", "abs(amount) - 35 < 0"]
)
def test_a_bare_number_beside_an_amount_is_refused(text: str) -> None:
    """35 cents or 35 euros? The rule must say."""
    with pytest.raises(ExpressionRefused, match="bare number"):
        parse(text, COLUMNS, WHERE, amounts={"amount"})


def test_zero_is_the_same_in_every_currency() -> None:
    """And a factor is no amount."""
    parse("amount < 0 and amount * 2 > 0", COLUMNS, WHERE, amounts={"amount"})


def test_a_condition_must_be_a_condition() -> None:
    """`take: kind` is a slip; the engine would try to read 'sale' as true or false."""
    parse("kind = 'sale'", COLUMNS, WHERE, is_predicate=True)

    with pytest.raises(ExpressionRefused, match="not a condition"):
        parse("(kind)", COLUMNS, WHERE, is_predicate=True)
