"""Berlin Group JSON: lists, signs, balances, references, batches; what is broken, and the sample."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actuals_pipelines.readers import FileRefused
from actuals_pipelines_tests.readers.reading import minor_units, outcome, read, references
from actuals_pipelines_tests.readers.samples import sample


def amount(value: Any, currency: str = "EUR") -> dict[str, Any]:
    return {"transactionAmount": {"amount": value, "currency": currency}}


def answer(*, balances: tuple[str, str] | None = None, **lists: Any) -> bytes:
    """An account's answer; `balances` are the opening and the closing one."""
    document: dict[str, Any] = {"account": {"iban": "NL02ABNA0123456789"}, "transactions": lists}
    if balances:
        document["balances"] = [
            {"balanceType": kind, "balanceAmount": {"amount": value, "currency": "EUR"}}
            for kind, value in zip(("openingBooked", "closingBooked"), balances, strict=True)
        ]
    return json.dumps(document).encode()


ENTRY = amount("-12.30") | {
    "transactionId": "T1", "bookingDate": "2026-01-31", "valueDate": "2026-02-01", "creditorName": "A. Shop",
    "creditorAccount": {"iban": "NL91ABNA0417164300"}, "debtorName": "We", "endToEndId": "E1", "mandateId": "M1",
    "entryReference": "R1", "remittanceInformationUnstructured": "Order 1", "bankTransactionCode": "PMNT-ICDT-ESCT",
    "proprietaryBankTransactionCode": "N051", "remittanceInformationStructured": {"reference": "RF18539007547034"},
}  # fmt: skip


def test_an_entry_gives_all_that_it_has() -> None:
    [row], _ = read("berlin_group", answer(booked=[ENTRY]))

    assert minor_units([row]) == [-1230]
    assert (row["transaction_id"], row["booked_on"], row["value_date"]) == ("T1", "2026-01-31", "2026-02-01")
    assert (row["counterparty"], row["counterparty_account"]) == ("A. Shop", "NL91ABNA0417164300")
    assert (row["text"], row["bank_code"]) == ("Order 1", "PMNT-ICDT-ESCT/N051")
    assert references(row) == {
        "acct_svcr": "R1",
        "creditor_ref": "RF18539007547034",
        "end_to_end": "E1",
        "mandate": "M1",
    }


def test_each_list_has_its_status_and_only_booked_entries_count() -> None:
    lists = {"booked": [amount("60.00")], "pending": [amount("7.00")], "information": [amount("9.00")]}
    rows, reading = read("berlin_group", answer(balances=("100.00", "160.00"), **lists))

    assert [row["status"] for row in rows] == ["booked", "pending", "informational"]
    [controls] = reading.controls
    assert (controls.entries, controls.credits, controls.gap) == (1, 6000, 0)


@pytest.mark.parametrize(
    ("value", "indicator", "minor"),
    [("5.00", None, 500), ("-5.00", None, -500), ("5.00", "DBIT", -500), ("-5.00", "DBIT", -500),
     ("+5.00", "CRDT", 500), (5, None, 500)],
)  # fmt: skip
def test_the_sign_is_the_amounts_or_the_indicators(value: Any, indicator: str | None, minor: int) -> None:
    said = {"creditDebitIndicator": indicator} if indicator else {}
    [row], _ = read("berlin_group", answer(booked=[amount(value) | said]))

    assert minor_units([row]) == [minor]


@pytest.mark.parametrize(
    ("entry", "pointer"),
    [
        (amount("12,30"), "transactionAmount/amount"),
        (amount(None), "transactionAmount/amount"),
        (amount("1.00", ""), "transactionAmount/amount"),
        (amount("-1.00") | {"creditDebitIndicator": "CRDT"}, "creditDebitIndicator"),
        (amount("1.00") | {"bookingDate": "31.01.2026"}, "bookingDate"),
    ],
)
def test_an_entry_that_cannot_be_read_is_a_reject_with_its_path(entry: dict[str, Any], pointer: str) -> None:
    rows, reading = read("berlin_group", answer(booked=[amount("1.00"), entry]))

    assert len(rows) == 1
    assert [(line, field) for line, field, _ in reading.rejects] == [(2, f"/transactions/booked/1/{pointer}")]


def test_numbers_keep_the_digits_that_were_sent() -> None:
    [row], _ = read("berlin_group", b'{"booked": [{"transactionAmount": {"amount": 0.10, "currency": "EUR"}}]}')

    assert row["amount"] == "0.10"


def test_a_batchs_parts_are_rows_only_when_they_are_asked_for() -> None:
    batch = amount("30.00") | {"transactionId": "B", "entryDetails": [amount("10.00"), amount("20.00")]}

    assert len(read("berlin_group", answer(booked=[batch]))[0]) == 1
    rows, reading = read("berlin_group", answer(booked=[batch]), details="true")
    assert [(row["level"], row["parent_id"]) for row in rows] == [("entry", None), ("detail", "B"), ("detail", "B")]
    assert reading.controls[0].credits == 3000


def test_a_page_that_is_not_the_last_states_no_balances() -> None:
    lists = {"booked": [amount("60.00")], "_links": {"next": {"href": "x"}}}
    _, reading = read("berlin_group", answer(balances=("100.00", "999.00"), **lists))

    assert reading.controls[0].gap is None
    assert "another page" in reading.notes["incomplete"]


def test_several_answers_may_stand_in_one_list() -> None:
    pages = [json.loads(answer(booked=[amount("1.00")])), json.loads(answer(booked=[amount("2.00")]))]
    rows, reading = read("berlin_group", json.dumps(pages).encode())

    assert minor_units(rows) == [100, 200]
    assert [row["_line"] for row in rows] == [1, 2]
    assert len(reading.controls) == 2


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"tppMessages": [{"category": "ERROR", "code": "CONSENT_EXPIRED"}]}', "CONSENT_EXPIRED"),
        (b'{"accounts": []}', "no list"),
        (b'{"transactions": {"booked": [', "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[1]", "neither"),
    ],
)
def test_what_holds_no_transactions_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(FileRefused, match=why):
        read("berlin_group", data)


def test_the_sample_adds_up_and_its_contradiction_is_told() -> None:
    rows, reading = read("berlin_group", sample("psd2-berlin-group", "transactionsResponse200.json"))

    assert minor_units(rows) == [25667, 34301, -10003]
    assert [row["status"] for row in rows] == ["booked", "booked", "pending"]
    [controls] = reading.controls
    assert (controls.entries, controls.credits, controls.debits, controls.gap) == (2, 25667 + 34301, 0, None)
    assert reading.notes["control_differences"].startswith("1 entries")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*ENTRY, "amount", "currency", "iban", "entryDetails"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(st.lists(_JSON, max_size=4), _JSON)
def test_any_entry_is_read_rejected_or_refused(entries: list[Any], balances: Any) -> None:
    document = {"account": balances, "transactions": {"booked": entries, "pending": entries}, "balances": balances}
    outcome("berlin_group", json.dumps(document).encode())
