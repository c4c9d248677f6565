"""BAI2: records and their continuations, funds types, signs, control totals; what is broken, and banks' samples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actuals_pipelines.readers import FileRefused
from actuals_pipelines_tests.readers.reading import minor_units, outcome, read, references
from actuals_pipelines_tests.readers.samples import sample


def statement(*records: str, account: str = "03,4711,EUR,010,10000,,,015,15000,,/", group: str = "EUR") -> bytes:
    """One account of 2026-01-31 that opens with 100.00 and closes with 150.00; trailers without totals."""
    head = ["01,BANK,US,260131,0800,1,,,2/", f"02,US,BANK,1,260131,2400,{group},2/", account]
    return "\n".join([*head, *records, "49,,/", "98,,,/", "99,,,/", ""]).encode()


def test_a_type_code_tells_the_sign() -> None:
    rows, reading = read("bai2", statement("16,195,6000,Z,B1,C1,Invoice 1/", "16,495,1000,Z,B2,C2,Rent/"))

    assert minor_units(rows) == [6000, -1000]
    assert [row["transaction_id"] for row in rows] == ["B1", "B2"]
    assert references(rows[0]) == {"acct_svcr": "B1", "customer_ref": "C1"}
    assert [row["booked_on"] for row in rows] == ["2026-01-31"] * 2
    [controls] = reading.controls
    assert (controls.opening, controls.closing, controls.gap, controls.entries) == (10000, 15000, 0, 2)


@pytest.mark.parametrize(
    ("funds", "value_date"),
    [
        ("", None), ("Z", None), ("0", None), ("1", None), ("2", None), ("S,10,20,30", None),
        ("V,260202,", "2026-02-02"), ("V,260202,0930", "2026-02-02"), ("D,2,0,5,1,5", None), ("D,0", None),
    ],
)  # fmt: skip
def test_a_funds_type_takes_its_own_fields_and_leaves_the_references(funds: str, value_date: str | None) -> None:
    [row], _ = read("bai2", statement(f"16,195,60,{funds},BANKREF,CUSTREF,free, with commas/"))

    assert references(row) == {"acct_svcr": "BANKREF", "customer_ref": "CUSTREF"}
    assert row["text"] == "free, with commas"
    assert row["value_date"] == value_date


def test_continuations_go_on_where_the_record_stopped() -> None:
    rows, _ = read(
        "bai2",
        statement(
            "16,195,60/", "88,V,260202,,B1,C1,first", "88,second/",  # within the fields
            "16,195,70,,B2,C2,/", "88,22/03/66 and 16/12/26/",  # the text alone; slashes are text
        ),
    )  # fmt: skip

    assert [(row["transaction_id"], row["text"]) for row in rows] == [
        ("B1", "first\nsecond"),
        ("B2", "22/03/66 and 16/12/26"),
    ]
    assert rows[0]["value_date"] == "2026-02-02"


def test_a_summary_may_break_anywhere_between_two_lines() -> None:
    account = "03,4711,EUR,010,10000,,,190/\n88,500,,,015\n88,15000,,,100,6000,1,,400,1000/\n88,1,/"
    _, reading = read("bai2", statement("16,195,6000,,,,/", "16,495,1000,,,,/", account=account))

    [controls] = reading.controls
    assert (controls.opening, controls.closing) == (10000, 15000)
    assert (controls.stated_credits, controls.stated_debits, controls.stated_entries) == (6000, 1000, 2)
    assert controls.agrees


def test_several_records_may_stand_on_one_line() -> None:
    spread = statement("16,195,60,Z,B1,,one/", "16,495,10,Z,B2,,two/")
    packed = spread.replace(b"/\n", b"/  ")

    expected, _ = read("bai2", spread)
    found, _ = read("bai2", packed)

    assert [{**row, "_line": 0} for row in found] == [{**row, "_line": 0} for row in expected]


@pytest.mark.parametrize(
    ("account", "group", "currency"),
    [("03,1,JPY,/", "EUR", "JPY"), ("03,1,,/", "EUR", "EUR"), ("03,1,,/", "", "USD")],
)
def test_the_currency_is_the_accounts_else_the_groups_else_dollars(account: str, group: str, currency: str) -> None:
    [row], _ = read("bai2", statement("16,195,1230,,,,/", account=account, group=group))

    assert row["currency"] == currency
    assert row["amount"] == ("1230" if currency == "JPY" else "12.30")


def test_differing_control_totals_are_told_and_refuse_nothing() -> None:
    right = statement("16,195,6000,Z,,,/").replace(b"49,,/", b"49,31000,3/")
    wrong = right.replace(b"49,31000,3/", b"49,31001,4/")

    assert "control_differences" not in read("bai2", right)[1].notes
    rows, reading = read("bai2", wrong)
    assert len(rows) == 1
    assert (
        reading.notes["control_differences"]
        == "line 5: the account's control total; line 5: the account's count of records"
    )


def test_a_transaction_that_cannot_be_read_is_a_reject_with_its_line() -> None:
    records = (
        "16,195,12.30,,,,/",
        "16,XXX,10,,,,/",
        "16,015,10,,,,/",
        "16,195,10,Q,,,/",
        "16,195,,,,,/",
        "16,195,7,,,,/",
    )
    rows, reading = read("bai2", statement(*records))

    assert minor_units(rows) == [7]
    assert [(line, field) for line, field, _ in reading.rejects] == [
        (4, "amount"),
        (5, "type"),
        (6, "type"),
        (7, "funds_type"),
        (8, "amount"),
    ]


@pytest.mark.parametrize(("status", "modifier", "expected"), [("4", "2", "informational"), ("1", "3", "pending")])
def test_tests_and_interim_reports_move_nothing(status: str, modifier: str, expected: str) -> None:
    data = statement("16,195,60,,,,/").replace(
        b"BANK,1,260131,2400,EUR,2", f"BANK,{status},260131,,EUR,{modifier}".encode()
    )

    [row], reading = read("bai2", data)

    assert row["status"] == expected
    assert [each.entries for each in reading.controls] == [0]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("698", "fee"),
        ("354", "interest"),
        ("555", "chargeback"),
        ("501", "transfer"),
        ("195", "payment"),
        ("930", "other"),
    ],
)
def test_a_type_code_tells_the_kind(code: str, kind: str) -> None:
    [row], _ = read("bai2", statement(f"16,{code},60,,,,/"))

    assert (row["kind"], row["bank_code"]) == (kind, code)


def test_text_in_a_code_page_is_read_as_such() -> None:
    [row], _ = read("bai2", statement("16,195,60,,,,Müller/").decode().encode("cp1252"))

    assert row["text"] == "Müller"


@pytest.mark.parametrize(
    "data",
    [
        statement("16,195,60,,,,/").replace(b"99,,,/", b""),
        b"02,US,BANK,1,260131,2400,EUR,2/\n",
        statement().replace(b",,,2/", b",,,3/"),
    ],
    ids=["cut off", "without a beginning", "another version"],
)
def test_a_file_that_is_not_whole_is_refused(data: bytes) -> None:
    with pytest.raises(FileRefused):
        read("bai2", data)


# Entries, credits, debits, gap of the balances (None: not stated); added up by hand from the samples.
@pytest.mark.parametrize(
    ("name", "statements"),
    [
        ("account_trailer_amount_blank_example.bai2", [(0, 0, 0, None), (0, 0, 0, None)]),
        ("citi_example.bai2", [(1, 1, 0, -1)]),
        ("moov-sample1.bai2", [(11, 208500, 208500, None), (6, 111500, 111500, None)]),
        ("nwb_example.bai2", [(5, 89, 971 + 100 + 123 + 1571, 0)]),
        ("svb_us_example.bai2", [(1, 490196, 0, 0), (1, 905800, 0, 0)]),
    ],
)
def test_the_banks_samples_add_up(name: str, statements: list[tuple[int, int, int, int | None]]) -> None:
    rows, reading = read("bai2", sample("bai2", name))

    assert [(c.entries, c.credits, c.debits, c.gap) for c in reading.controls] == statements
    assert sum(minor_units(rows)) == sum(credits - debits for _, credits, debits, _ in statements)
    assert not reading.rejects
    assert "control_differences" not in reading.notes


@given(st.lists(st.text('0123456789,/+-SVDZ \n\r"é16889', max_size=40), max_size=12))
def test_anything_between_the_trailers_is_read_rejected_or_refused(lines: list[str]) -> None:
    outcome("bai2", statement(*lines))


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    outcome("bai2", b"01,BANK,US,260131,0800,1,,,2/\n" + data)
