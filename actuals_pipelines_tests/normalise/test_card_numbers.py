"""A card number anywhere in what would be kept refuses its record; what only looks like one does not."""

from __future__ import annotations

import pytest

from actuals_pipelines.domain.card_number import has_valid_check_digit, holds_card_number
from actuals_pipelines.domain.source import Minimisation
from actuals_pipelines_tests.normalise.test_transactions import FIELDS, raw, reasons, rows, run, source

# Published test numbers of the schemes; none is a real card.
CARDS = ["4111111111111111", "5555555555554444", "378282246310005", "30569309025904", "6011111111111117",
         "3530111333300000", "4222222222222", "2223003122003222", "6304000000000000"]  # fmt: skip


def found(text: str) -> bool:
    """By the whole way through normalisation, sieve included; the exact test alone must agree."""
    by_columns = run(raw({"amount": "1", "currency": "EUR", "x": text}), source(FIELDS | {"text": "x"}))
    assert holds_card_number(text) == bool(by_columns.counts["card_numbers"])
    return holds_card_number(text)


@pytest.mark.parametrize("number", CARDS)
def test_a_card_number_is_found_in_every_usual_spelling(number: str) -> None:
    fours = [number[place : place + 4] for place in range(0, len(number), 4)]

    assert found(number)
    assert found(f"paid with {number}, thanks")
    assert found(f"pan={number};2026-01-31")
    assert found(" ".join(fours)) and found("card " + "-".join(fours) + ".")


def test_the_grouping_of_american_express_is_known() -> None:
    assert found("3782 822463 10005")


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # its check digit is wrong
        "9111111111111111",  # no card begins with 9
        "ORD-0000000012",
        "NL91ABNA0417164300",
        "DE89370400440532013000",
        "GB33BUKB20201555555555",
        "BE68539007547034",
        "411111111111111111111111",  # longer than any card number
        "2026-01-31 12:30",
        "",
    ],
)
def test_what_only_looks_like_one_is_left_alone(text: str) -> None:
    assert not found(text)


def test_a_valid_iban_whose_digits_pass_for_a_card_is_an_iban() -> None:
    """GB82WEST12345698765432 and others hold 14 digits in a row; one in ten passes Luhn."""
    hits = 0
    for account in range(10_000_000, 10_000_200):
        digits = f"309876{account}"
        check = 98 - int("".join(str(int(c, 36)) for c in f"LOYD{digits}GB00")) % 97
        iban = f"GB{check:02d}LOYD{digits}"
        hits += has_valid_check_digit([int(digit) for digit in digits])
        assert not holds_card_number(iban)
        assert not holds_card_number(" ".join(iban[place : place + 4] for place in range(0, len(iban), 4)))
    assert hits > 10  # there were some to mistake


def test_a_card_number_beside_an_iban_is_still_found() -> None:
    assert found("NL91ABNA0417164300 4111111111111111")


def test_the_record_is_refused_by_line_and_field_and_never_by_value() -> None:
    table = raw(
        {"amount": "1", "currency": "EUR", "memo": "fine"},
        {"amount": "1", "currency": "EUR", "memo": "4111 1111 1111 1111"},
    )

    result = run(table, source(FIELDS | {"text": "memo"}))

    assert len(rows(result)) == 1
    assert reasons(result) == [(3, "text", "card number")]
    assert result.counts["card_numbers"] == 1


@pytest.mark.parametrize("field", ["row_id", "transaction_id", "kind", "reference"])
def test_every_kept_text_is_searched(field: str) -> None:
    result = run(raw({"amount": "1", "currency": "EUR", "x": CARDS[0]}), source(FIELDS | {field: "x"}))

    assert reasons(result) == [(2, field, "card number")]


def test_what_is_dropped_is_not_kept_and_so_not_searched() -> None:
    described = source(FIELDS | {"note": "x"}, columns={"note": Minimisation.DROP})

    result = run(raw({"amount": "1", "currency": "EUR", "x": CARDS[0], "unmapped": CARDS[1]}), described)

    assert len(rows(result)) == 1
