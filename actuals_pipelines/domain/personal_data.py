"""Personal data inside free text that is kept: IBANs, e-mail addresses and telephone numbers, found by pattern.

What only looks alike stays: an IBAN must have its country's length and check digits (so that a creditor reference
RF18... or an end-to-end id is none), a telephone number its international + or a word that says so. Names and addresses
have no pattern: a column that holds those is `token` or `drop`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from actuals_pipelines.domain.iban import LENGTHS, LONGEST, is_iban

_WORDS = r"(?i:\b(?:tel|telefon|telefoon|telephone|phone|mobile|mobil|mobiel|gsm|fax))"
_COUNTRIES = f"(?i:{'|'.join(sorted(LENGTHS))})"
SUSPECT = rf"@|\+[ (]?[0-9]|\b{_COUNTRIES}[0-9]{{2}} ?[0-9A-Za-z]{{4}} ?[0-9A-Za-z]{{3}}|{_WORDS}"
"""A coarse sieve that RE2 understands, for whole columns: what it does not match holds none of them."""

_SIEVE = re.compile(SUSPECT, re.ASCII)
_EMAIL = re.compile(r"[A-Za-z0-9._%+'-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}")
_IBAN_START = re.compile(rf"(?<![0-9A-Za-z]){_COUNTRIES}[0-9]{{2}}(?= ?[0-9A-Za-z])")
_DIGITS = r"[0-9](?:[ ().\-/]{0,2}[0-9])"
_PHONE = re.compile(
    rf"(?<![0-9A-Za-z])\+[ (]?{_DIGITS}{{7,14}}(?![0-9])"
    rf"|{_WORDS}[ .:]{{0,3}}(?i:(?:no|nr|number)?)[ .:#]{{0,3}}(?P<national>0?{_DIGITS}{{6,13}})(?![0-9])"
)


def canonical(value: str) -> str:
    """A value as its token is made: an IBAN in capitals without blanks, an e-mail in small letters, others as is."""
    if not _SIEVE.search(value):
        return value  # as the sieve over a column does: a single value and a column's must agree
    compact = value.replace(" ", "").upper()
    if is_iban(compact):
        return compact
    return value.lower() if _EMAIL.fullmatch(value) else value


def without_personal_data(text: str, token: Callable[[str], str]) -> str:
    """The text with each IBAN, e-mail address and telephone number replaced by its token.

    Args:
        token: value in its canonical form -> what stands for it.
    """
    text = _EMAIL.sub(lambda found: token(found[0].lower()), text)
    text = _without_ibans(text, token)
    return _PHONE.sub(lambda found: _phone_token(found, token), text)


def _without_ibans(text: str, token: Callable[[str], str]) -> str:
    done, rest = [], 0
    for start in _IBAN_START.finditer(text):
        end = _iban_end(text, start.start()) if start.start() >= rest else None
        if end is not None:
            done += [text[rest : start.start()], token(text[start.start() : end].replace(" ", "").upper())]
            rest = end
    return "".join([*done, text[rest:]])


def _iban_end(text: str, start: int) -> int | None:
    """Where the IBAN that begins here ends; None where none does. Single blanks may stand between its characters."""
    wanted = LENGTHS[text[start : start + 2].upper()]
    found = []
    for place in range(start, min(len(text), start + 2 * LONGEST)):
        character = text[place]
        if character == " " and text[place - 1] != " ":
            continue
        if not (character.isascii() and character.isalnum()):
            break
        found.append(character)
        if len(found) == wanted:
            after = text[place + 1 : place + 2]
            return place + 1 if not after.isalnum() and is_iban("".join(found).upper()) else None
    return None


def _phone_token(found: re.Match[str], token: Callable[[str], str]) -> str:
    national = found["national"]
    if national is None:
        return token("+" + re.sub("[^0-9]", "", found[0]))
    start = found.start("national") - found.start()
    return found[0][:start] + token(re.sub("[^0-9]", "", national))
