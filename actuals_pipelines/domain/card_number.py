"""Card numbers (PAN): the one test for them, used at the doors and in normalisation. It finds; it never shows.

A card number is 13 to 19 digits, bare or in a card's printed groups, with a first digit of 2 to 6 and a valid check
digit. Source: ISO/IEC 7812-1, annex B (Luhn formula); EMVCo and Amex groupings 4-4-4-4(-3) and 4-6-4/5.
"""

from __future__ import annotations

import re

SUSPECT = r"[2-6](?:[ -]?[0-9]){12}"
"""A coarse sieve that RE2 understands, for whole columns: what it does not match holds no card number."""

_QUICK = re.compile(r"[2-6][0-9 -]{12}")  # acquits at a third of the cost of looking for candidates
_CANDIDATE = re.compile(
    r"(?<![0-9A-Za-z])(?<![0-9]\.)"  # not inside a word, a hash or the decimals of a number
    r"(?:[2-6][0-9]{12,18}"
    r"|[2-6][0-9]{3}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{1,4}(?:\1[0-9]{3})?"
    r"|3[0-9]{3}([ -])[0-9]{6}\2[0-9]{4,5})"
    r"(?![0-9A-Za-z])"
)
_IBAN_HEAD = re.compile(r"[A-Z]{2}[0-9]{2}(?:[ -]?[0-9A-Z]{4})*[ -]?\Z")
_IBAN_LONGEST = 42  # 34 characters and their spaces


def holds_card_number(text: str) -> bool:
    """Tell whether a card number stands anywhere in the text. One in ten long order numbers looks like one."""
    return _QUICK.search(text) is not None and any(_is_card_number(text, found) for found in _CANDIDATE.finditer(text))


def _is_card_number(text: str, found: re.Match[str]) -> bool:
    digits = [int(character) for character in found[0] if character not in " -"]
    if not has_valid_check_digit(digits):
        return False
    # The groups of a printed IBAN look like a card's: "DE89 3704 0044 0532 0130 00".
    before = text[max(0, found.start() - _IBAN_LONGEST) : found.start()]
    return _IBAN_HEAD.search(before) is None


def has_valid_check_digit(digits: list[int]) -> bool:
    """The Luhn formula: from the right, every second digit doubled, digit sums added, divisible by ten."""
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
