"""International bank account numbers (ISO 13616): how long each country's is, and whether one is valid."""

from __future__ import annotations

_COUNTRIES = """
    15 NO
    16 BE
    18 DK FO FI GL NL SD
    19 MK SI FK
    20 AT BA EE KZ XK LT LU MN
    21 HR LV LI CH
    22 BH BG CR GE DE IE ME RS GB VA
    23 GI IQ IL TL AE OM SO
    24 AD CZ MD PK RO SA SK ES SE TN VG DZ MA
    25 LY PT ST AO CV MZ GW
    26 IS TR
    27 BI CF CG CM DJ FR GA GQ GR IT KM MC MG MR SM TD
    28 AL AZ BF BJ BY CI CY DO GT HN HU LB ML NE NI PL SN SV TG YE
    29 BR EG PS QA UA
    30 JO KW MU
    31 MT SC
    32 LC
    33 RU
"""
LENGTHS = {
    country: int(length)
    for length, *countries in (line.split() for line in _COUNTRIES.strip().splitlines())
    for country in countries
}
"""Country code -> characters. From the IBAN registry, with the countries that use the format without being in it."""

LONGEST = max(LENGTHS.values())


def is_iban(compact: str) -> bool:
    """Whether capital letters and digits without blanks are an IBAN: its country's length, and modulo 97 is 1."""
    if LENGTHS.get(compact[:2]) != len(compact) or not compact.isalnum() or not compact.isascii():
        return False
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1
