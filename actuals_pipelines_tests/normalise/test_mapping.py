"""How a mapping turns raw records into amounts with signs, sums that hold, and several records out of one."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from actuals_pipelines.domain.source import FieldMapping, SignRule
from actuals_pipelines.normalise import IterateRefused, MappedColumnMissing
from actuals_pipelines.tables import LINE
from actuals_pipelines_tests.normalise.test_transactions import FIELDS, raw, reasons, rows, run, source


def amounts(result: Any) -> list[int]:
    return [row["amount_minor_units"] for row in rows(result)]


def euros(**fields: str) -> dict[str, Any]:
    return {"fields": fields, "constants": {"currency": "EUR"}}


def test_a_mirrored_account_is_turned_round() -> None:
    mapping = FieldMapping(FIELDS, sign=SignRule())
    table = raw({"amount": "10.00", "currency": "EUR"}, {"amount": "-2.50", "currency": "EUR"})

    assert amounts(run(table, source(mapping=mapping))) == [-1000, 250]


def test_a_flag_says_which_amounts_are_minus_and_an_unknown_one_is_rejected() -> None:
    mapping = FieldMapping(FIELDS, sign=SignRule("dc", ("C", "H"), ("D",)))
    flags = ["C", " D ", "H", "X", None]
    table = raw(*({"amount": "1.00", "currency": "EUR", "dc": flag} for flag in flags))

    result = run(table, source(mapping=mapping))

    assert amounts(result) == [100, -100, 100]
    assert reasons(result) == [(5, "sign", "its flag is not C or H or D"), (6, "sign", "its flag is not C or H or D")]


@pytest.mark.parametrize(
    ("paid_in", "paid_out", "minor_units"),
    [
        ("12.50", None, 1250),
        (None, "12.50", -1250),
        ("12.50", "0.00", 1250),
        ("0.00", "3", -300),
        ("0", "0", 0),
        (None, "-4.00", 400),
    ],
)
def test_a_pair_of_columns_is_one_amount(paid_in: str | None, paid_out: str | None, minor_units: int) -> None:
    """A negative number in the minus column takes back what was booked there."""
    described = source(**euros(amount_plus="in", amount_minus="out"))

    assert amounts(run(raw({"in": paid_in, "out": paid_out}), described)) == [minor_units]


@pytest.mark.parametrize(
    ("paid_in", "paid_out", "reason"),
    [
        ("1.00", "2.00", "both amount_plus and amount_minus are filled"),
        (None, None, "missing"),
        (None, "x", "not a plain decimal number"),
    ],
)
def test_a_pair_that_is_no_amount_is_rejected(paid_in: str | None, paid_out: str | None, reason: str) -> None:
    described = source(**euros(amount_plus="in", amount_minus="out"))

    assert reasons(run(raw({"in": paid_in, "out": paid_out}), described)) == [(2, "amount", reason)]


@pytest.mark.parametrize(
    ("negative", "text", "minor_units"),
    [
        ("trailing", "12,50-", -1250),
        ("trailing", "12,50", 1250),
        ("parentheses", "(1.012,50)", -101250),
        ("parentheses", "12,50", 1250),
    ],
)
def test_a_minus_is_read_as_the_source_writes_it(negative: str, text: str, minor_units: int) -> None:
    options = {"decimal": ",", "thousands": ".", "negative": negative}

    assert amounts(run(raw({"amount": text, "currency": "EUR"}), source(reader=options))) == [minor_units]


def test_a_trailing_minus_is_no_number_where_the_source_does_not_say_so() -> None:
    [reject] = reasons(run(raw({"amount": "12.50-", "currency": "EUR"})))

    assert reject == (2, "amount", "not a plain decimal number")


SETTLED = {"amount": "10.00", "currency": "EUR", "gross": "10.00", "fee": "-0.30", "more": None, "net": "9.70"}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({"fee": "-0.2", "more": "-.10"}, None),
        ({"net": "9.71"}, "gross + fee + tax is not net"),
        ({"net": "9.7000000001"}, "gross + fee + tax is not net"),
        ({"net": None}, "gross + fee + tax is not net"),
        ({"fee": "x"}, "fee is no plain decimal number"),
        ({"kind": "payout", "net": "7.00"}, None),
    ],
    ids=["holds", "in two columns", "a cent", "a hair", "no net", "no number", "of another kind"],
)
def test_gross_fee_and_tax_make_net_in_every_record(changed: dict[str, str | None], reason: str | None) -> None:
    """To the last digit: 10.00 - 0.30 = 9.70."""
    sums = {"gross": ("gross",), "fee": ("fee", "more"), "net": ("net",), "where": ("kind = 'sale'",)}

    result = run(raw({**SETTLED, "kind": "sale"} | changed), source(adds_up=sums))

    assert reasons(result) == ([(2, "net", reason)] if reason else [])
    assert result.counts["stored"] == (0 if reason else 1)


def test_a_number_may_count_as_zero_where_it_is_empty() -> None:
    described = source({"amount": "number(credit, 0) - number(debit, 0)", "currency": "cur"})
    table = raw({"credit": "1.50", "debit": None, "cur": "EUR"}, {"credit": "x", "debit": "1", "cur": "EUR"})

    result = run(table, described)

    assert (amounts(result), reasons(result)) == ([150], [(3, "amount", "missing")])


def test_a_path_reads_inside_a_json_column() -> None:
    """As JSON_EXTRACT_PATH_TEXT does, with columns by name or by position."""
    table = raw({"amount": "1", "currency": "EUR", "refs": '{"order":"A-1","lines":[{"sku":"x"}],"order id":"B"}'})
    fields = {
        "order": "refs.order",
        "sku": "refs.lines[0].sku",
        "joined": "refs.order || '!'",
        "named": """JSON_EXTRACT_PATH_TEXT(__column3__, '"order id"')""",
        "absent": "refs.nothing",
    }

    [row] = rows(run(table, source(FIELDS | fields)))

    assert [row[name] for name in fields] == ["A-1", "x", "A-1!", "B", None]


def test_a_json_fraction_beyond_what_a_double_holds_is_not_taken_for_another_number() -> None:
    """DuckDB reads JSON fractions as doubles: 12345678901234567.89 would come back as ...568.0."""
    described = source({"amount": "j.amount", "currency": "cur"})
    table = raw(
        {"j": '{"amount":12345678901234567.89}', "cur": "EUR"},
        {"j": '{"amount":"9999999999999.99"}', "cur": "EUR"},
        {"j": '{"amount":9999999999999.99}', "cur": "EUR"},
    )

    result = run(table, described)

    assert (amounts(result), reasons(result)) == ([999999999999999] * 2, [(2, "amount", "missing")])


PAGES = (
    '{"transactions":[{"id":"1","amount":12345678901.10,"memo":null},{"id":"2","amount":-2.00,"extra":{"a":1.10}}]}',
    '{"transactions":[]}',
    None,
    '{"transactions":{"id":"3"}}',
    '{"transactions":[1]}',
    "no json",
)


def test_each_element_of_a_list_is_a_record_that_knows_its_parent() -> None:
    """In = stored + rejected + not taken, in the records that the file has; a lost list is a reject with its line."""
    table = raw(*({"batch": f"B{n}", "body": page, "cur": "EUR"} for n, page in enumerate(PAGES)))
    fields = {
        "row_id": "id",
        "amount": "amount",
        "currency": '"parent.cur"',
        "batch": "parent.batch",
        "inner": "extra.a",
    }

    result = run(table, source(fields, iterate="body.transactions[*]"))

    assert [(r["row_id"], r["amount_minor_units"], r["batch"], r["line"], r["inner"]) for r in rows(result)] == [
        ("1", 1234567890110, "B0", 2, None),
        ("2", -200, "B0", 2, "1.1"),
    ]
    assert [(line, reason) for line, _, reason in reasons(result)] == [
        (5, "not a JSON list of objects"),
        (6, "not a JSON list of objects"),
        (7, "not a JSON list of objects"),
    ]
    counts = result.counts
    assert (counts["raw"], counts["stored"], counts["rejected"], counts["not_taken"]) == (6, 1, 3, 2)


def test_equal_elements_of_one_record_are_several_transactions() -> None:
    table = raw({"lines": '[{"amount":"1"},{"amount":"1"},{"amount":"1"}]', "cur": "EUR"})
    described = source({"amount": "amount", "currency": "parent.cur"}, iterate="lines[*]")

    found = rows(run(table, described))

    assert len({row["row_uid"] for row in found}) == 3
    assert [row["row_uid"] for row in rows(run(table, described))] == [row["row_uid"] for row in found]


@pytest.mark.parametrize(
    ("page", "path"),
    [('[{"_line":1}]', "body[*]"), ('[{"parent.x":1}]', "body[*]"), ("[]", "bdy[*]"), ("[]", "body")],
)
def test_a_list_that_cannot_be_taken_apart_refuses_the_unit(page: str, path: str) -> None:
    with pytest.raises(IterateRefused):
        run(raw({"body": page, "amount": "1", "currency": "EUR"}), source(iterate=path))


def test_a_day_without_records_and_so_without_columns_is_empty_and_not_refused() -> None:
    """As the pages of a pull on a quiet day are."""
    nothing = pa.table({LINE: pa.array([], pa.int64())})
    described = source(FIELDS | {"text": "upper(memo)", "row_id": "id"}, where="kind = 'sale'")

    result = run(nothing, described)

    assert (result.counts["raw"], result.transactions.num_rows) == (0, 0)
    assert "text" in result.transactions.column_names


def test_lists_without_an_element_are_no_records_and_not_refused() -> None:
    table = raw({"lines": "[]", "cur": "EUR"}, {"lines": None, "cur": "EUR"})

    result = run(table, source({"amount": "amount", "currency": "parent.cur"}, iterate="lines[*]"))

    assert (result.counts["raw"], result.counts["not_taken"], result.transactions.num_rows) == (2, 2, 0)


def test_an_optional_column_may_be_missing_and_another_may_not() -> None:
    table = raw({"amount": "1", "currency": "EUR"})

    [row] = rows(run(table, source(FIELDS | {"text": "memo"}, optional=("memo",))))

    assert row["text"] is None
    with pytest.raises(MappedColumnMissing):
        run(table, source(FIELDS | {"text": "memo"}))
