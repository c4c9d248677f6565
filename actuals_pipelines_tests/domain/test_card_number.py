"""What counts as a card number. The numbers are the card schemes' published test numbers."""

from __future__ import annotations

import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actuals_pipelines.domain.card_number import SUSPECT, holds_card_number

CARDS = ["4111111111111111", "5555555555554444", "378282246310005", "6011111111111117", "2223003122003222"]


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("text", ["{}", '{{"note":"card {}"}}', '{{"pan":{}}}', "card_{}", "x={};"])
def test_a_card_number_is_found_wherever_it_stands(card: str, text: str) -> None:
    assert holds_card_number(text.format(card))


@pytest.mark.parametrize("text", ["4111 1111 1111 1111", "order-4111-1111-1111-1111", "3782 822463 10005"])
def test_a_card_number_is_found_in_its_printed_groups(text: str) -> None:
    assert holds_card_number(text)
    assert re.search(SUSPECT, text)


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # the check digit is wrong
        "1764000000000",  # milliseconds since 1970 start with 1
        "2026-11-22T10:00:00.411111111111111Z",
        "NL91ABNA0417164300",
        "DE89 3704 0044 0532 0130 00",
        "DE00 4111 1111 1111 1111 00",  # groups of an IBAN, though their digits would do
        "0.4111111111111111",
        "9f4111111111111111ab",  # a piece of a hash
        "order-123",
        "",
    ],
)
def test_its_neighbours_are_let_through(text: str) -> None:
    assert not holds_card_number(text)


@given(st.uuids())
def test_a_uuid_is_never_taken_for_a_card_number(some: UUID) -> None:
    assert not holds_card_number(f'"{some}"')


@given(st.from_regex(r"\A[2-6][0-9]{11,17}\Z"))
def test_the_sieve_lets_every_card_number_through(head: str) -> None:
    """Whatever the exact test finds, the coarse one for whole columns finds too."""
    for digit in "0123456789":
        if holds_card_number(head + digit):
            assert re.search(SUSPECT, head + digit)
