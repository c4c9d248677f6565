"""Card numbers (PAN): the one test for them, used at the doors and in normalisation. It finds; it never shows.

A card number is 13 to 19 digits, bare or in a card's printed groups, in a range that is issued to cards, with a valid
check digit. Sources: ISO/IEC 7812-1, annex B (Luhn formula); the ranges that the card schemes publish; EMVCo and Amex
groupings 4-4-4-4(-3) and 4-6-4/5.
"""

from __future__ import annotations

import re

from actuals_pipelines.domain.iban import LENGTHS, LONGEST

SUSPECT = r"[2-6](?:[ .-]?[0-9]){12}"
"""A coarse sieve that RE2 understands, for whole columns: what it does not match holds no card number."""

_QUICK = re.compile(r"[2-6][0-9 .-]{12}")  # acquits at a third of the cost of looking for candidates
_CANDIDATE = re.compile(
    r"(?<![0-9A-Za-z])(?<![0-9]\.)"  # not inside a word, a hash or the decimals of a number
    r"(?:[2-6][0-9]{12,18}"
    r"|[2-6][0-9]{3}([ .-])[0-9]{4}\1[0-9]{4}\1[0-9]{1,4}(?:\1[0-9]{3})?"
    r"|3[0-9]{3}([ .-])[0-9]{6}\2[0-9]{4,5})"
    r"(?![0-9A-Za-z])"
)
_ISSUED = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"  # Visa
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Mastercard
    r"|220[0-4][0-9]{12,15}"  # Mir
    r"|3[47][0-9]{13}"  # American Express
    r"|3(?:0[0-59]|[689][0-9])[0-9]{11,16}"  # Diners Club
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12,15}"  # JCB
    r"|(?:5[0-9]|6[0-9])[0-9]{11,17}"  # Maestro, Discover, UnionPay, RuPay, Elo, Hipercard
)
_IBAN_HEAD = re.compile(r"(?<![0-9A-Za-z])[A-Z]{2}[0-9]{2}(?:[ -]?[0-9A-Z]{4})*[ -]?\Z")


def holds_card_number(text: str) -> bool:
    """Tell whether a card number stands anywhere in the text. Some long order numbers look like one."""
    return _QUICK.search(text) is not None and any(_is_card_number(text, found) for found in _CANDIDATE.finditer(text))


def _is_card_number(text: str, found: re.Match[str]) -> bool:
    number = re.sub("[ .-]", "", found[0])
    if not _ISSUED.fullmatch(number) or not has_valid_check_digit([int(digit) for digit in number]):
        return False
    # The groups of a printed IBAN look like a card's: "DE89 3704 0044 0532 0130 00". One behind an IBAN does not.
    head = _IBAN_HEAD.search(text[max(0, found.start() - 2 * LONGEST) : found.start()])
    return head is None or len(re.sub("[ -]", "", head[0])) + len(number) > LENGTHS.get(head[0][:2], 0)


def has_valid_check_digit(digits: list[int]) -> bool:
    """The Luhn formula: from the right, every second digit doubled, digit sums added, divisible by ten."""
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
