"""How a file writes amounts, days and instants: SQL that reads them, and the evidence where a profile does not say.

Nothing ambiguous is guessed: 1.234 and 03/04/2026 have two readings each, and a file without a value that decides
between them is refused with both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from zoneinfo import available_timezones

from actuals_pipelines.domain.money import exponents
from actuals_pipelines.expressions import literal
from actuals_pipelines.readers.profiles.profile import Amounts
from actuals_pipelines.readers.reading import FileRefused

AMOUNT_TYPE = "DECIMAL(25, 8)"  # 17 digits before the point, 8 behind it; sums of columns stay within 38
_ISO_TIMES = (
    "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
)  # fmt: skip
_OFFSET = r"\s*(Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})$"
# Adyen and others name a zone by the abbreviation that held at that moment, so each is one offset.
_ABBREVIATIONS = {
    "UTC": "+00:00", "GMT": "+00:00", "Z": "+00:00", "WET": "+00:00", "BST": "+01:00", "CET": "+01:00",
    "WEST": "+01:00", "CEST": "+02:00", "EET": "+02:00", "EEST": "+03:00", "EST": "-05:00", "EDT": "-04:00",
    "CST": "-06:00", "CDT": "-05:00", "MST": "-07:00", "MDT": "-06:00", "PST": "-08:00", "PDT": "-07:00",
    "JST": "+09:00", "SGT": "+08:00", "HKT": "+08:00", "AEST": "+10:00", "AEDT": "+11:00", "NZST": "+12:00",
    "NZDT": "+13:00",
}  # fmt: skip


def exponent(currency: str) -> str:
    """SQL: how many decimals the currency of a SQL text has; 2 where it is not known."""
    groups: dict[int, list[str]] = {}
    for code, digits in exponents().items():
        groups.setdefault(digits, []).append(literal(code))
    arms = " ".join(f"WHEN {currency} IN ({', '.join(codes)}) THEN {digits}" for digits, codes in groups.items())
    return f"(CASE {arms} ELSE 2 END)"


def amount(text: str, marks: Amounts, currency: str) -> str:
    """SQL: a text as `AMOUNT_TYPE` in major units, NULL where it is no number written with these marks.

    A sign may stand before or behind the number, and brackets make it negative.
    """
    for symbol in marks.symbols:
        text = f"replace({text}, {literal(symbol)}, '')"
    decimal, thousands = re.escape(marks.decimal or "."), re.escape(marks.thousands)
    if thousands:
        text = f"replace(replace({text}, '\u202f', ' '), '\u00a0', ' ')" if marks.thousands == " " else text
    text = f"replace(trim({text}), '−', '-')"  # the typographic minus of shops' exports
    whole = f"([0-9]+|[0-9]{{1,3}}({thousands}[0-9]{{3}})+)" if thousands else "[0-9]+"
    number = f"({whole}({decimal}[0-9]{{0,8}}0*)?|{decimal}[0-9]{{1,8}})" if marks.unit == "major" else "[0-9]+"
    plain = f"replace({text}, {literal(marks.thousands)}, '')" if thousands else text
    if marks.decimal == ",":
        plain = f"replace({plain}, ',', '.')"
    shift = {"major": "", "hundredths": " || 'e-2'", "minor": f" || 'e-' || {exponent(currency)}"}[marks.unit]
    in_brackets = "[(]" + number + "[)]"
    value = (
        f"CASE WHEN regexp_full_match({text}, {literal('[+-]?' + number)}) THEN {plain}{shift} "
        f"WHEN regexp_full_match({text}, {literal(number + ' ?-')}) THEN '-' || rtrim({plain}, '- '){shift} "
        f"WHEN regexp_full_match({text}, {literal(in_brackets)}) THEN '-' || trim({plain}, '()'){shift} END"
    )
    cast = f"TRY_CAST({value} AS {AMOUNT_TYPE})"
    return rounded(cast, currency) if marks.is_rounded else cast


def rounded(value: str, currency: str) -> str:
    """SQL: an amount rounded half away from zero to its currency's decimals."""
    arms = " ".join(f"WHEN {digits} THEN CAST(round({value}, {digits}) AS {AMOUNT_TYPE})" for digits in (0, 3, 4))
    return f"(CASE {exponent(currency)} {arms} ELSE CAST(round({value}, 2) AS {AMOUNT_TYPE}) END)"


def amount_text(value: str) -> str:
    """SQL: an amount as plain text without trailing zeros."""
    return f"rtrim(rtrim(CAST(CAST({value} AS {AMOUNT_TYPE}) AS VARCHAR), '0'), '.')"


def minor_units(value: str, currency: str) -> str:
    """SQL: an amount as BIGINT, NULL where it has more decimals than its currency or is beyond all bounds."""
    scale = f"(CASE {exponent(currency)} WHEN 0 THEN 1 WHEN 3 THEN 1000 WHEN 4 THEN 10000 ELSE 100 END)"
    scaled = f"CAST({value} AS {AMOUNT_TYPE}) * {scale}"
    whole = f"TRY_CAST({scaled} AS BIGINT)"
    return f"CASE WHEN {whole} = {scaled} AND abs({whole}) <= 1000000000000000 THEN {whole} END"


def day(text: str, formats: Iterable[str]) -> str:
    """SQL: a text as YYYY-MM-DD, NULL where no format fits."""
    tries = []
    for each in formats:
        parsed = f"CAST(try_strptime({text}, {literal(each)}) AS DATE)"
        # %Y reads "15" as the year 15
        tries.append(f"CASE WHEN {parsed} BETWEEN DATE '1900-01-01' AND DATE '2199-12-31' THEN {parsed} END")
    return f"CAST(coalesce({', '.join(tries)}, NULL) AS VARCHAR)"


def moment(text: str, formats: Iterable[str], zone: str) -> str:
    """SQL: a text as ISO 8601, with its offset where one is known; NULL where it cannot be read.

    Args:
        formats: strptime's, with %z where the text ends in an offset; `epoch` and `epoch_ms` are UTC; none: ISO.
        zone: SQL of the name of the zone of texts without an offset: IANA's, or an abbreviation; '' for none.
    """
    tries = []
    for each in formats or ("iso",):
        if each in ("epoch", "epoch_ms"):
            micros = 1_000_000 if each == "epoch" else 1_000
            number = f"TRY_CAST({text} AS BIGINT)"
            inside = f"{number} BETWEEN 0 AND {7_258_118_400 * 1_000_000 // micros}"
            written = f"CAST(make_timestamp({number} * {micros}) AS VARCHAR)"
            tries.append(f"CASE WHEN {inside} THEN replace({written}, ' ', 'T') || '+00:00' END")
            continue
        local = [each.replace("%z", "").strip()] if each != "iso" else list(_ISO_TIMES)
        has_offset = each == "iso" or "%z" in each
        bare = f"regexp_replace({text}, {literal(_OFFSET)}, '')" if has_offset else text
        parsed = f"try_strptime({bare}, [{', '.join(map(literal, local))}])"
        own = f"nullif(regexp_extract({text}, {literal(_OFFSET)}, 1), '')" if has_offset else "NULL"
        offset = f"coalesce({_offset(own)}, {zone_offset(zone, parsed) if zone else 'NULL'}, '')"
        inside = f"{parsed} BETWEEN TIMESTAMP '1900-01-01' AND TIMESTAMP '2199-12-31'"
        tries.append(f"CASE WHEN {inside} THEN replace(CAST({parsed} AS VARCHAR), ' ', 'T') || {offset} END")
    return f"coalesce({', '.join(tries)}, NULL)"


def _offset(own: str) -> str:
    """SQL: Z, UTC, +0100 and +01:00 as +01:00."""
    if own == "NULL":
        return own
    return f"CASE WHEN {own} IN ('Z', 'UTC', 'GMT') THEN '+00:00' ELSE left({own}, 3) || ':' || right({own}, 2) END"


def zone_offset(zone: str, local: str) -> str:
    """SQL: the offset of a local time in a zone, +HH:MM; NULL where the zone is not known."""
    constant = zone[1:-1] if zone.startswith("'") else None
    if constant is not None and constant in _ABBREVIATIONS:
        return literal(_ABBREVIATIONS[constant])
    minutes = f"date_diff('minute', timezone('UTC', timezone({zone}, {local})), {local})"
    hours = f"lpad(CAST(abs({minutes}) // 60 AS VARCHAR), 2, '0')"
    rest = f"lpad(CAST(abs({minutes}) % 60 AS VARCHAR), 2, '0')"
    written = f"(CASE WHEN {minutes} < 0 THEN '-' ELSE '+' END) || {hours} || ':' || {rest}"
    if constant is not None:
        return f"({written})"
    short = " ".join(f"WHEN {literal(name)} THEN {literal(offset)}" for name, offset in _ABBREVIATIONS.items())
    names = ", ".join(literal(name) for name in sorted(available_timezones()) if "/" in name)
    return f"(CASE {zone} {short} ELSE CASE WHEN {zone} IN ({names}) THEN {written} END END)"


def is_zone(name: str) -> bool:
    """Whether a text names a zone that `moment` knows."""
    return name in _ABBREVIATIONS or name in available_timezones()


def decimal_mark(values: Iterable[str], format: str) -> tuple[str, str]:
    """Decimal and thousands mark of these amounts, from a value that leaves no doubt.

    Raises:
        FileRefused: every value with a mark reads either way.
    """
    is_open = False
    for value in values:
        found = re.findall(r"[.,]", value)
        if len(set(found)) == 2:
            return found[-1], found[0]
        if len(found) > 1:
            return (",", ".") if found[0] == "." else (".", ",")
        if found:
            behind = re.split(r"[.,]", value)[1]
            before = re.split(r"[.,]", value)[0].lstrip("+-")
            if len(re.sub(r"\D", "", behind)) != 3 or len(before) > 3 or before in ("", "0"):
                return found[0], ""
            is_open = True
    if is_open:
        raise FileRefused(
            format,
            "its amounts can be read in two ways: 1.234 is 1234 where the point groups thousands, or one and 234 "
            "thousandths where it is the decimal mark; likewise 1,234",
            "State it in the profile: amounts: {decimal: ',', thousands: '.'}, or the other way round.",
        )
    return ".", ""


_SHAPES = (
    (re.compile(r"\d{4}-\d{1,2}-\d{1,2}"), "%Y-%m-%d"),
    (re.compile(r"\d{4}/\d{1,2}/\d{1,2}"), "%Y/%m/%d"),
    (re.compile(r"\d{1,2}\.\d{1,2}\.\d{4}"), "%d.%m.%Y"),
    (re.compile(r"\d{1,2}\.\d{1,2}\.\d{2}"), "%d.%m.%y"),
    (re.compile(r"\d{8}"), "%Y%m%d"),
)
_TWO_WAYS = re.compile(r"(\d{1,2})([/-])(\d{1,2})\2(\d{4}|\d{2})")


def day_format(values: Iterable[str], format: str, line: int | None = None) -> str:
    """The format of these dates, from their shape, and where day and month can be swapped from a day beyond 12.

    Raises:
        FileRefused: the dates read either way, or are of no shape that is known.
    """
    first, shape = None, ""
    for value in values:
        known = next((name for pattern, name in _SHAPES if pattern.fullmatch(value)), None)
        if known:
            return known
        both = _TWO_WAYS.fullmatch(value)
        if both is None:
            continue
        mark, year = both[2], "%Y" if len(both[4]) == 4 else "%y"
        if int(both[1]) > 12:
            return f"%d{mark}%m{mark}{year}"
        if int(both[3]) > 12:
            return f"%m{mark}%d{mark}{year}"
        first, shape = first or both, f"{mark}{year}"
    if first is not None:
        century = "20" if len(first[4]) == 2 else ""
        one, other, year = first[1].zfill(2), first[3].zfill(2), century + first[4]
        mark, last = shape[0], shape[1:]
        raise FileRefused(
            format,
            f"its dates can be read in two ways: the first is {year}-{other}-{one} or {year}-{one}-{other}, "
            "and no date here has a day beyond 12",
            f"State it in the profile: dates: formats: '%d{mark}%m{mark}{last}', or '%m{mark}%d{mark}{last}'.",
            line,
        )
    raise FileRefused(
        format, "its dates are of no shape that is known", "State it in the profile: dates: formats: ...", line
    )
