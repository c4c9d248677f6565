"""How raw records become transactions: an accountant's rules about money, days, repeats and what is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actuals_pipelines.domain.money import AmountUnreadable, Money
from actuals_pipelines.domain.source import FieldMapping, IdScheme, Minimisation, Source, SourceKind
from actuals_pipelines.encryption.pseudonyms import Pseudonyms
from actuals_pipelines.expressions import ExpressionRefused
from actuals_pipelines.normalise import (
    AmountFlow,
    IdSchemeRefused,
    MappedColumnMissing,
    MappingRefused,
    Normalised,
    NumberMarksRefused,
    TimeZoneUnknown,
    normalise,
)
from actuals_pipelines.tables import LINE, REJECTS, TRANSACTIONS

UNIT = UUID(int=4711)
SECRETS = Pseudonyms(b"p" * 32)
FIELDS = {"amount": "amount", "currency": "currency"}


def raw(*records: dict[str, str | None]) -> pa.Table:
    """Raw records as a reader gives them, from line 2 on."""
    names = list(dict.fromkeys(name for record in records for name in record))
    columns: dict[str, Any] = {name: pa.array([r.get(name) for r in records], pa.string()) for name in names}
    return pa.table({**columns, LINE: pa.array(range(2, len(records) + 2), pa.int64())})


def source(fields: dict[str, str] | None = None, *, where: str | None = None, **more: Any) -> Source:
    constants = more.pop("constants", {})
    mapping = more.pop("mapping", None) or FieldMapping(fields=fields or FIELDS, where=where, constants=constants)
    return Source(name=more.pop("name", "shop"), kind=SourceKind.UPLOAD, format="csv", mapping=mapping, **more)


def run(table: pa.Table, described: Source | None = None, **more: Any) -> Normalised:
    arguments: dict[str, Any] = {"ids": (), "look_in": (), "secrets": SECRETS, "unit_id": UNIT} | more
    return normalise(table, described or source(), **arguments)


def rows(result: Normalised) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = result.transactions.to_pylist()
    return found


def reasons(result: Normalised) -> list[tuple[int, str, str]]:
    return [(each["line"], each["field"], each["reason"]) for each in result.rejects.to_pylist()]


def test_a_record_becomes_a_transaction_with_every_field_in_its_type() -> None:
    table = raw(
        {
            "Order No": "7",
            "ref": " order-123 ",
            "created": "2026-01-31T23:30:00+01:00",
            "value": "2026-02-02",
            "amount": "60.00",
            "currency": "eur",
            "what": "sale",
            "memo": "first",
        }
    )
    fields = {"row_id": "Order No", "transaction_id": "ref", "timestamp": "created", "value_date": "value"}
    described = source(fields | FIELDS | {"kind": "what", "text": "memo"}, time_zone="Europe/Amsterdam")

    result = run(table, described)

    [row] = rows(result)
    assert result.transactions.schema.names[: len(TRANSACTIONS)] == TRANSACTIONS.names
    assert result.transactions.select(TRANSACTIONS.names).schema == TRANSACTIONS
    expected = {
        "row_id": "7",
        "source": "shop",
        "kind": "sale",
        "status": "booked",
        "transaction_id": "order-123",
        "booked_on": date(2026, 1, 31),
        "value_date": date(2026, 2, 2),
        "timestamp": datetime(2026, 1, 31, 22, 30, tzinfo=UTC),
        "amount_minor_units": 6000,
        "currency": "EUR",
        "unit_id": UNIT,
        "line": 2,
        "text": "first",
    }
    assert {name: row[name] for name in expected} == expected
    assert reasons(result) == []


@pytest.mark.parametrize(
    ("amount", "currency", "minor_units"),
    [
        ("60.00", "EUR", 6000),
        ("-0.01", "EUR", -1),
        ("+5", "EUR", 500),
        (".5", "EUR", 50),
        ("1.500", "EUR", 150),
        ("\u2212 12".replace(" ", ""), "EUR", -1200),
        ("12", "JPY", 12),
        ("12.0", "JPY", 12),
        (".0", "JPY", 0),
        ("5.", "JPY", 5),
        ("12", "EUR", 1200),
        ("+5.00", "EUR", 500),
        ("-.05", "EUR", -5),
        ("5.", "EUR", 500),
        ("5", "KWD", 5000),
        ("1.234", "KWD", 1234),
        ("10000000000000.00", "EUR", 10**15),
        ("0", "USD", 0),
    ],
)
def test_money_is_exact_in_its_currencys_minor_units(amount: str, currency: str, minor_units: int) -> None:
    [row] = rows(run(raw({"amount": amount, "currency": currency})))

    assert (row["amount_minor_units"], row["currency"]) == (minor_units, currency)


@pytest.mark.parametrize(
    ("amount", "currency", "field", "reason"),
    [
        ("1.234", "EUR", "amount", "more than 2 decimals"),
        ("12.5", "JPY", "amount", "more than 0 decimals"),
        ("1,50", "EUR", "amount", "not a plain decimal number"),
        ("1,234.50", "EUR", "amount", "not a plain decimal number"),
        ("1e3", "EUR", "amount", "not a plain decimal number"),
        ("NaN", "EUR", "amount", "not a plain decimal number"),
        ("$120", "USD", "amount", "not a plain decimal number"),
        ("--1", "EUR", "amount", "not a plain decimal number"),
        (".", "EUR", "amount", "not a plain decimal number"),
        (None, "EUR", "amount", "missing"),
        ("10000000000000.01", "EUR", "amount", "beyond the largest amount taken"),
        ("9" * 40, "EUR", "amount", "beyond the largest amount taken"),
        ("1.00", None, "currency", "missing"),
        ("1.00", "XXQ", "currency", "not an ISO 4217 code"),
        ("1.00", "Euro", "currency", "not an ISO 4217 code"),
    ],
)
def test_money_that_is_not_exact_is_rejected_with_its_reason(
    amount: str | None, currency: str | None, field: str, reason: str
) -> None:
    result = run(raw({"amount": amount, "currency": currency}))

    assert rows(result) == []
    assert reasons(result) == [(2, field, reason)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(
                st.decimals(min_value=-(10**14), max_value=10**14, allow_nan=False, places=3).map(lambda d: f"{d:f}"),
                st.from_regex(r"[-+]?[0-9]{0,4}\.?[0-9]{0,5}", fullmatch=True),
            ),
            st.sampled_from(["EUR", "JPY", "KWD"]),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_columns_read_money_as_the_domain_does(pairs: list[tuple[str, str]]) -> None:
    """One amount at a time by Decimal, or a column by digits: the same minor units, or both refuse."""
    result = run(raw(*({"amount": amount or None, "currency": currency} for amount, currency in pairs)))

    read = {row["line"]: row["amount_minor_units"] for row in rows(result)}
    for line, (amount, currency) in enumerate(pairs, 2):
        try:
            expected = Money.parse(amount, currency).minor_units
        except AmountUnreadable:
            assert line not in read
        else:
            assert read[line] == expected


def test_a_decimal_comma_is_read_where_the_source_says_so() -> None:
    table = raw(
        {"amount": "1.234,50", "currency": "EUR"},
        {"amount": "-0,05", "currency": "EUR"},
        {"amount": "1.23", "currency": "EUR"},  # 1.23 or 123? neither is taken
        {"amount": "12.34,5", "currency": "EUR"},
    )

    result = run(table, source(reader={"decimal": ",", "thousands": "."}))

    assert [row["amount_minor_units"] for row in rows(result)] == [123450, -5]
    assert [line for line, _, _ in reasons(result)] == [4, 5]


def test_apostrophes_group_thousands_where_the_source_says_so() -> None:
    [row] = rows(run(raw({"amount": "1'234'567.80", "currency": "CHF"}), source(reader={"thousands": "'"})))

    assert row["amount_minor_units"] == 123456780


@pytest.mark.parametrize("options", [{"decimal": ",", "thousands": ","}, {"decimal": "x"}, {"thousands": "5"}])
def test_number_marks_that_leave_a_doubt_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(NumberMarksRefused, match="decimal"):
        run(raw({"amount": "1", "currency": "EUR"}), source(reader=options))


def test_an_amount_counted_in_minor_units_is_taken_as_it_is() -> None:
    table = raw({"cents": "1250", "currency": "EUR"}, {"cents": "12.50", "currency": "EUR"})

    result = run(table, source({"amount_minor_units": "cents", "currency": "currency"}))

    assert [row["amount_minor_units"] for row in rows(result)] == [1250]
    assert reasons(result) == [(3, "amount", "not a plain decimal number")]


def test_an_amount_may_be_computed_exactly_from_two_columns() -> None:
    """Credit and debit columns: number() reads a column by the source's marks, and never as a float."""
    table = raw({"in": "0,30", "out": None, "currency": "EUR"}, {"in": None, "out": "1.000,10", "currency": "EUR"})
    fields = {"amount": 'coalesce(number("in"), 0) - coalesce(number(out), 0)', "currency": "currency"}

    result = run(table, source(fields, reader={"decimal": ",", "thousands": "."}))

    assert [row["amount_minor_units"] for row in rows(result)] == [30, -100010]


def test_arithmetic_on_text_says_how_to_write_it() -> None:
    with pytest.raises(MappingRefused, match=r"number\(column\)"):
        run(
            raw({"gross": "1", "fee": "1", "currency": "EUR"}),
            source({"amount": "gross - fee", "currency": "currency"}),
        )


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026-01-31T10:00:00Z", "Europe/Amsterdam", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("2026-01-31T10:00:00+02:00", "UTC", datetime(2026, 1, 31, 8, tzinfo=UTC)),
        ("2026-01-31 10:00:00.250-0530", "UTC", datetime(2026, 1, 31, 15, 30, 0, 250000, tzinfo=UTC)),
        ("2026-01-31T10:00", "Europe/Amsterdam", datetime(2026, 1, 31, 9, tzinfo=UTC)),
        ("2026-07-31T10:00:00", "Europe/Amsterdam", datetime(2026, 7, 31, 8, tzinfo=UTC)),
        ("2026-01-31", "Asia/Tokyo", datetime(2026, 1, 30, 15, tzinfo=UTC)),
    ],
)
def test_a_timestamp_is_an_instant_by_its_offset_or_the_sources_zone(text: str, zone: str, expected: datetime) -> None:
    table = raw({"amount": "1", "currency": "EUR", "at": text})

    [row] = rows(run(table, source(FIELDS | {"timestamp": "at"}, time_zone=zone)))

    assert row["timestamp"] == expected


def test_the_booking_day_is_the_day_in_the_sources_zone() -> None:
    """23:30 in UTC is the next day in Amsterdam; the books there say 1 February."""
    table = raw({"amount": "1", "currency": "EUR", "at": "2026-01-31T23:30:00Z"})

    [by_default] = rows(run(table, source(FIELDS | {"timestamp": "at"}, time_zone="Europe/Amsterdam")))
    [mapped] = rows(run(table, source(FIELDS | {"booked_on": "at"}, time_zone="Europe/Amsterdam")))

    assert by_default["booked_on"] == mapped["booked_on"] == date(2026, 2, 1)


@pytest.mark.parametrize(
    "text", ["31-01-2026", "01/02/2026", "2026-02-30", "2026-1-3", "yesterday", "0026-01-31", "infinity"]
)
def test_a_day_that_is_no_iso_date_is_rejected_without_a_format(text: str) -> None:
    result = run(raw({"amount": "1", "currency": "EUR", "day": text}), source(FIELDS | {"booked_on": "day"}))

    assert reasons(result) == [(2, "booked_on", "not an ISO 8601 date")]


def test_the_sources_formats_are_tried_in_their_order() -> None:
    table = raw(
        {"amount": "1", "currency": "EUR", "day": "31-01-2026", "at": "1769846400"},
        {"amount": "1", "currency": "EUR", "day": "31.01.26", "at": None},
        {"amount": "1", "currency": "EUR", "day": "2026-01-31", "at": None},
    )
    described = source(
        FIELDS | {"value_date": "day", "timestamp": "at"},
        reader={"date_format": "%d-%m-%Y|%d.%m.%y", "timestamp_format": "epoch"},
    )

    result = run(table, described)

    assert [row["value_date"] for row in rows(result)] == [date(2026, 1, 31)] * 2
    assert rows(result)[0]["timestamp"] == datetime(2026, 1, 31, 8, tzinfo=UTC)
    assert reasons(result) == [(4, "value_date", "not of the form %d-%m-%Y or %d.%m.%y")]


def test_an_empty_day_is_no_day_and_no_reject() -> None:
    """A pending bank line has no booking date yet."""
    [row] = rows(run(raw({"amount": "1", "currency": "EUR", "day": None}), source(FIELDS | {"booked_on": "day"})))

    assert row["booked_on"] is None


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(TimeZoneUnknown, match="Amsterdam"):
        run(raw({"amount": "1", "currency": "EUR"}), source(time_zone="Europe/Rotterdam"))


def test_a_status_outside_the_three_is_rejected() -> None:
    table = raw({"amount": "1", "currency": "EUR", "s": "Pending"}, {"amount": "1", "currency": "EUR", "s": "PAID"})

    result = run(table, source(FIELDS | {"status": "s"}))

    assert [row["status"] for row in rows(result)] == ["pending"]
    assert reasons(result) == [(3, "status", "not booked, pending or informational")]


def test_each_iteration_makes_at_most_one_transaction_of_a_record() -> None:
    """A PSP's line holds the payment and its fee: two rows, so that the payment is compared gross."""
    table = raw(
        {"ref": "o1", "gross": "60.00", "fee": "0.35", "cur": "EUR"},
        {"ref": "o2", "gross": "20.00", "fee": None, "cur": "EUR"},
    )
    described = source(
        {"transaction_id": "ref", "currency": "cur"},
        iterations=(
            FieldMapping(fields={"amount": "gross"}, constants={"kind": "payment"}),
            FieldMapping(fields={"amount": "-number(fee)"}, where="fee is not null", constants={"kind": "fee"}),
        ),
    )

    result = run(table, described)

    assert [(r["line"], r["kind"], r["amount_minor_units"]) for r in rows(result)] == [
        (2, "payment", 6000),
        (2, "fee", -35),
        (3, "payment", 2000),
    ]
    assert len({row["row_uid"] for row in rows(result)}) == 3
    assert (result.counts["raw"], result.counts["stored"], result.counts["transactions"]) == (2, 2, 3)


def test_a_record_is_rejected_whole_when_one_iteration_cannot_be_read() -> None:
    table = raw({"gross": "60.00", "fee": "x", "cur": "EUR"})
    described = source(
        {"currency": "cur"},
        iterations=(FieldMapping(fields={"amount": "gross"}), FieldMapping(fields={"amount": "fee"})),
    )

    result = run(table, described)

    assert rows(result) == []
    assert result.amounts == {"EUR": AmountFlow(read=6000, stored=0, rejected=6000)}


def test_what_goes_in_comes_out_or_is_rejected_in_records_and_in_amounts() -> None:
    table = raw(
        {"amount": "10.00", "currency": "EUR", "kind": "sale", "day": "2026-01-01"},
        {"amount": "5.00", "currency": "EUR", "kind": "sale", "day": "soon"},
        {"amount": "x", "currency": "EUR", "kind": "sale", "day": "2026-01-01"},
        {"amount": "700", "currency": "JPY", "kind": "sale", "day": "2026-01-01"},
        {"amount": "1.00", "currency": "EUR", "kind": "note", "day": "2026-01-01"},
    )
    unread = pa.table([[9, 9], ["", "x"], ["broken", "broken"]], schema=REJECTS)

    result = run(table, source(FIELDS | {"booked_on": "day"}, where="kind = 'sale'"), unread=unread)

    counts = result.counts
    assert counts["raw"] == counts["stored"] + counts["rejected"] + counts["not_taken"] == 6
    assert (counts["stored"], counts["rejected"], counts["not_taken"]) == (2, 3, 1)
    assert result.amounts == {
        "EUR": AmountFlow(read=1500, stored=1000, rejected=500),
        "JPY": AmountFlow(read=700, stored=700, rejected=0),
    }
    assert all(flow.read == flow.stored + flow.rejected for flow in result.amounts.values())


def test_equal_lines_without_an_id_are_two_transactions() -> None:
    """Two coffees at one price on one day are two coffees."""
    coffee = {"amount": "2.50", "currency": "EUR", "text": "coffee"}

    first = rows(run(raw(coffee, {"amount": "1.00", "currency": "EUR", "text": "tea"}, coffee)))
    again = rows(run(raw(coffee, coffee)))

    assert len({row["row_uid"] for row in first}) == 3
    assert [first[0]["row_uid"], first[2]["row_uid"]] == [row["row_uid"] for row in again]
    assert first[0]["row_digest"] == first[2]["row_digest"]


def test_a_changed_line_with_the_same_id_keeps_its_uid_and_changes_its_digest() -> None:
    described = source(FIELDS | {"row_id": "id"})

    [before] = rows(run(raw({"id": "1", "amount": "2.50", "currency": "EUR"}), described))
    [repeated] = rows(run(raw({"id": "1", "amount": "2.500", "currency": "eur"}), described))
    [changed] = rows(run(raw({"id": "1", "amount": "2.60", "currency": "EUR"}), described))

    assert before["row_uid"] == repeated["row_uid"] == changed["row_uid"]
    assert before["row_digest"] == repeated["row_digest"] != changed["row_digest"]


def test_the_uid_does_not_depend_on_the_mapping_the_unit_or_the_order_of_columns() -> None:
    [one] = rows(run(raw({"amount": "1", "currency": "EUR", "text": "a"})))
    [other] = rows(
        run(
            raw({"text": "a", "currency": "EUR", "amount": "1"}), source(FIELDS | {"note": "text"}), unit_id=UUID(int=1)
        )
    )

    assert one["row_uid"] == other["row_uid"]


def test_another_source_and_another_pepper_give_other_uids() -> None:
    table = raw({"amount": "1", "currency": "EUR"})
    uids = {
        rows(run(table))[0]["row_uid"],
        rows(run(table, source(name="psp")))[0]["row_uid"],
        rows(run(table, secrets=Pseudonyms(b"q" * 32)))[0]["row_uid"],
    }

    assert len(uids) == 3


def test_both_sides_make_the_same_key_of_one_id_however_it_is_written() -> None:
    scheme = IdScheme(name="order", field="transaction_id", find="ORD[^0-9]{0,3}([0-9]{4})", clean=("upper",))
    table = raw(
        {"amount": "1", "currency": "EUR", "ref": "ORD-0001"},
        {"amount": "1", "currency": "USD", "ref": "see ORD 0001."},
        {"amount": "1", "currency": "EUR", "ref": "none"},
        {"amount": "1", "currency": "EUR", "ref": None},
    )

    found = rows(run(table, source(FIELDS | {"transaction_id": "ref"}), ids=(scheme,)))

    assert found[0]["key_order"] == found[1]["key_order"] == SECRETS.match_key("0001", "order", 1)
    assert found[2]["key_order"] is None and found[3]["key_order"] is None
    assert found[0]["key_transaction_id"] == SECRETS.match_key("ORD-0001", "transaction_id", 1)


@pytest.mark.parametrize(
    ("clean", "expected"),
    [("upper", "AB-12"), ("lower", "ab-12"), ("digits", "12"), ("alphanumeric", "aB12"), (None, "aB-12")],
)
def test_an_id_is_cleaned_as_its_scheme_says(clean: str | None, expected: str) -> None:
    scheme = IdScheme(name="ref", field="ref", clean=(clean,) if clean else ())

    [row] = rows(
        run(raw({"amount": "1", "currency": "EUR", "r": "aB-12"}), source(FIELDS | {"ref": "r"}), ids=(scheme,))
    )

    assert row["key_ref"] == SECRETS.match_key(expected, "ref", 1)


def test_every_id_in_a_text_becomes_a_key_once() -> None:
    scheme = IdScheme(name="payout", field="payout_ref", find="TX[0-9A-Z]+XT")
    table = raw(
        {"amount": "1", "currency": "EUR", "memo": "TX1XT and TX2XT and TX1XT"},
        {"amount": "1", "currency": "EUR", "memo": "nothing"},
        {"amount": "1", "currency": "EUR", "memo": None},
    )

    found = rows(
        run(table, source(FIELDS | {"text": "memo"}), ids=(scheme,), look_in=[("payout", "text"), ("payout", "x")])
    )

    expected = {SECRETS.match_key(each, "payout", 1) for each in ("TX1XT", "TX2XT")}
    assert set(found[0]["keys_payout_in_text"]) == expected and len(found[0]["keys_payout_in_text"]) == 2
    assert not found[1]["keys_payout_in_text"] and not found[2]["keys_payout_in_text"]
    assert found[0]["key_payout"] is None and found[0]["keys_payout_in_x"] is None  # columns of every source alike


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(IdSchemeRefused, match="find"):
        run(
            raw({"amount": "1", "currency": "EUR", "r": "a"}),
            source(FIELDS | {"ref": "r"}),
            ids=(IdScheme("r", "ref", "(["),),
        )


def test_minimised_columns_are_tokens_or_gone_and_still_matchable() -> None:
    table = raw(
        {"amount": "1", "currency": "EUR", "iban": "NL91ABNA0417164300", "name": "A. Person", "more": "unmapped"}
    )
    described = source(
        FIELDS | {"account": "iban", "person": "name"},
        columns={"account": Minimisation.TOKEN, "person": Minimisation.DROP},
    )

    result = run(table, described, ids=(IdScheme("iban", "account"), IdScheme("person", "person")))

    [row] = rows(result)
    assert row["account"] == SECRETS.token("NL91ABNA0417164300")
    assert row["key_iban"] == SECRETS.match_key("NL91ABNA0417164300", "iban", 1)
    assert row["key_person"] == SECRETS.match_key("A. Person", "person", 1)
    assert "person" not in row and "more" not in row
    assert "Person" not in str(row) and "unmapped" not in str(row) and "ABNA" not in str(row)


def test_a_transaction_id_that_is_a_token_is_nowhere_in_clear() -> None:
    described = source(FIELDS | {"transaction_id": "ref"}, columns={"transaction_id": Minimisation.TOKEN})

    [row] = rows(run(raw({"amount": "1", "currency": "EUR", "ref": "jan@example.org"}), described))

    assert row["transaction_id"] == row["row_id"] == SECRETS.token("jan@example.org")


def test_money_cannot_be_minimised() -> None:
    with pytest.raises(MappingRefused, match="amount"):
        run(raw({"amount": "1", "currency": "EUR"}), source(columns={"amount": Minimisation.TOKEN}))


def test_a_missing_column_is_named_with_those_there_are() -> None:
    with pytest.raises(MappedColumnMissing, match=r"'total'.*amount, currency"):
        run(raw({"amount": "1", "currency": "EUR"}), source({"amount": "total", "currency": "currency"}))


def test_only_the_closed_language_is_spoken() -> None:
    with pytest.raises(ExpressionRefused):
        run(raw({"amount": "1", "currency": "EUR"}), source(FIELDS | {"text": "read_text('/etc/passwd')"}))


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"amount": "amount"}, "currency"),
        ({"currency": "currency"}, "amount"),
        (FIELDS | {"key_order": "amount"}, "ours"),
        (FIELDS | {"unit_id": "amount"}, "ours"),
        (FIELDS | {"a b": "amount"}, "plain name"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused(fields: dict[str, str], what: str) -> None:
    with pytest.raises(MappingRefused, match=what):
        run(raw({"amount": "1", "currency": "EUR"}), source(fields))


def test_headers_of_any_characters_are_columns() -> None:
    names = ['Amount "net", €', "select * from x", "line", "f0", "Café; DROP"]
    table = raw(dict(zip(names, ["1.00", "EUR", "a", "b", "c"], strict=True)))
    fields = {
        "amount": names[0],
        "currency": names[1],
        "x": "line",
        "y": "lower(f0)",
        "z": names[4],
        "w": "upper(line)",
    }

    [row] = rows(run(table, source(fields)))

    assert (row["amount_minor_units"], row["x"], row["y"], row["z"], row["w"]) == (100, "a", "b", "c", "A")


def test_a_file_without_records_gives_empty_tables_of_the_same_columns() -> None:
    scheme = IdScheme("order", "transaction_id")
    described = source(FIELDS | {"transaction_id": "ref", "text": "memo"})
    full = raw({"amount": "1", "currency": "EUR", "ref": "a", "memo": "b"})

    empty = run(full.slice(0, 0), described, ids=(scheme,), look_in=[("order", "text")])

    assert (
        empty.transactions.schema
        == run(full, described, ids=(scheme,), look_in=[("order", "text")]).transactions.schema
    )
    assert empty.counts["raw"] == empty.transactions.num_rows == empty.rejects.num_rows == 0


def test_the_order_of_records_is_kept_with_rejects_between() -> None:
    table = raw(*({"amount": str(n) if n % 3 else "x", "currency": "EUR"} for n in range(30_000)))

    result = run(table)

    lines = result.transactions["line"].to_pylist()
    assert lines == sorted(lines) and len(lines) == 20_000
    assert result.counts["rejected"] == 10_000


def test_the_digests_of_a_record_never_change() -> None:
    """Stored rows are found again by these: another digest would make every row of every tenant a new one."""
    table = raw({"no": "7", "ref": "Order-123 ", "amount": "60.00", "currency": "eur", "memo": "für order-9"})
    table = pa.concat_tables([table, raw({"no": None, "ref": None, "amount": "-1.5", "currency": "EUR", "memo": ""})])
    fields = FIELDS | {"row_id": "no", "transaction_id": "ref", "memo": "memo"}
    schemes = [IdScheme(name="order", field="transaction_id", clean=("lower",))]

    first, second = rows(
        run(table, source(fields, columns={"memo": Minimisation.TOKEN}), ids=schemes, look_in=[("order", "memo")])
    )

    assert {name: str(first[name]) for name in ("row_uid", "row_digest", "key_order", "key_transaction_id")} == {
        "row_uid": "ece3a5c6-8926-2d20-1691-7b24de19de63",
        "row_digest": "5dd97be2-7b32-e8fe-aec8-e62fbbc947ef",
        "key_order": "9466c023-e82f-1b29-b5cf-7b3f874b7922",
        "key_transaction_id": "6b34d5df-ece8-18f5-679c-9b5e967aee5f",
    }
    assert first["memo"] == "tok_qvvoffzslmc7tc5eb3nohjcm7q"
    assert first["keys_order_in_memo"] == [UUID("ba09babb-8cf0-8d79-1e36-003543341400")]
    assert {name: str(second[name]) for name in ("row_uid", "row_digest")} == {
        "row_uid": "1660f3c9-4b36-64bd-777a-9803d4c7a710",
        "row_digest": "aad359e6-dd25-5840-5913-8f3c4445c81e",
    }
