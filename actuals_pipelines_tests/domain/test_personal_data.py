"""What is personal in a free text, and what only looks like it and must stay for matching."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actuals_pipelines.domain.iban import LENGTHS, is_iban
from actuals_pipelines.domain.personal_data import SUSPECT, canonical, without_personal_data

# Published examples of the IBAN registry and of phone numbers kept for fiction; none is a real person's.
IBANS = ["NL91ABNA0417164300", "DE89370400440532013000", "GB29NWBK60161331926819", "NO9386011117947",
         "BE68539007547034", "FR1420041010050500013M02606"]  # fmt: skip


def hidden(text: str) -> str:
    return without_personal_data(text, lambda value: f"<{value}>")


@pytest.mark.parametrize("iban", IBANS)
def test_an_iban_is_found_as_it_is_stored_and_as_it_is_printed(iban: str) -> None:
    fours = " ".join(iban[place : place + 4] for place in range(0, len(iban), 4))

    for written in (iban, fours, iban.lower()):
        assert hidden(f"from {written} for ORD-1") == f"from <{iban}> for ORD-1"
        assert hidden(f"/IBAN/{written}/") == f"/IBAN/<{iban}>/"
        assert canonical(written) == iban
        assert re.search(SUSPECT, written)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail Jan.de-Vries+x@Example.co.uk now", "mail <jan.de-vries+x@example.co.uk> now"),
        ("bel +31 6 1234 5678 nu", "bel <+31612345678> nu"),
        ("+1 (202) 555-0143", "<+12025550143>"),
        ("tel: 06-12345678", "tel: <0612345678>"),
        ("phone no. 020 7946 0018, ORD-0000000012", "phone no. <02079460018>, ORD-0000000012"),
    ],
)
def test_mail_addresses_and_telephone_numbers_are_found(text: str, expected: str) -> None:
    assert hidden(text) == expected
    assert re.search(SUSPECT, text)


@pytest.mark.parametrize(
    "text",
    [
        "RF18539007547034",  # a creditor reference (ISO 11649) has check digits like an IBAN, and no country
        "NL91ABNA0417164301",  # wrong check digits
        "NL91ABNA04171643000",  # one character too long
        "order ORD-0000000012 batch 2026110112345678",
        "E2E-20261101-0000000017",
        "0612345678",  # without a word or a +, ten digits are as likely an order
        "amount +12.30",
        "hotel 12345678",
        "TX4711XT NL 91",
        "@home",
        "",
    ],
)
def test_references_are_left_alone(text: str) -> None:
    assert hidden(text) == text


@given(st.sampled_from(IBANS), st.text(alphabet="AB1 /-", max_size=12), st.text(alphabet="AB1 /-", max_size=12))
def test_no_iban_survives_between_other_words(iban: str, before: str, after: str) -> None:
    text = f"{before} {iban} {after}"

    assert iban not in hidden(text).replace(f"<{iban}>", "")
    assert hidden(hidden(text).replace("<", "[").replace(">", "]"))  # what is left can be read again


@given(st.from_regex(r"\A[A-Z]{2}[0-9]{2}[0-9A-Z]{11,29}\Z"))
def test_one_iban_in_a_hundred_guesses_is_valid_and_it_has_its_countrys_length(guess: str) -> None:
    if is_iban(guess):
        assert len(guess) == LENGTHS[guess[:2]]
        assert not any(is_iban(guess[:-1] + digit) for digit in "0123456789" if digit != guess[-1])
