"""How a file writes amounts, days and instants: SQL that reads them, and the evidence where a profile does not say.

Nothing ambiguous is guessed: 1.234 and 03/04/2026 have two readings each, and a file without a value that decides
between them is refused with both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from actuals_pipelines.domain.money import exponents
from actuals_pipelines.expressions import literal
from actuals_pipelines.readers.profiles.profile import Amounts
from actuals_pipelines.readers.profiles.zones import ABBREVIATIONS
from actuals_pipelines.readers.reading import FileRefused

_ISO_TIMES = (
    "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
)  # fmt: skip
_OFFSET = r"\s*(Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})$"


def amount_type(marks: Amounts) -> str:
    """Within 64 bits, because DuckDB computes those several times faster; 12 digits stand before the point at most."""
    return f"DECIMAL(18, {marks.decimals})"


def exponent(currency: str) -> str:
    """SQL: how many decimals the currency of a SQL text has; 2 where it is not known."""
    groups: dict[int, list[str]] = {}
    for code, digits in exponents().items():
        groups.setdefault(digits, []).append(literal(code))
    arms = " ".join(f"WHEN {currency} IN ({', '.join(codes)}) THEN {digits}" for digits, codes in groups.items())
    return f"(CASE {arms} ELSE 2 END)"


def clean_amount(text: str, marks: Amounts) -> str:
    """SQL: an amount's text without currency signs, with the plain minus; what `amount` reads."""
    for symbol in marks.symbols:
        text = f"trim(replace({text}, {literal(symbol)}, ''))"
    if marks.thousands == " ":
        text = f"replace(replace({text}, '\u202f', ' '), '\u00a0', ' ')"
    return f"replace({text}, '−', '-')"  # the typographic minus of shops' exports


def amount(text: str, marks: Amounts, currency: str) -> str:
    """SQL: a clean text as `amount_type` in major units, NULL where it is no number written with these marks.

    A sign may stand before or behind the number, and brackets make it negative.
    """
    decimal, thousands = re.escape(marks.decimal or "."), re.escape(marks.thousands)
    most = 18 - marks.decimals - 2  # digits before the mark, so that a hundred columns still add up within 64 bits
    whole = f"0*[0-9]{{1,{most}}}"
    if thousands:
        whole = f"({whole}|[0-9]{{1,3}}({thousands}[0-9]{{3}}){{1,{most // 3 - 1}}})"
    behind = f"[0-9]{{0,{marks.decimals}}}0*"
    number = f"({whole}({decimal}{behind})?|{decimal}[0-9]{behind})" if marks.unit == "major" else whole
    in_brackets = "[(]" + number + "[)]"
    plain = f"replace({text}, {literal(marks.thousands)}, '')" if thousands else text
    if marks.decimal == ",":
        plain = f"replace({plain}, ',', '.')"
    shift = {"major": "", "hundredths": " || 'e-2'", "minor": f" || 'e-' || {exponent(currency)}"}[marks.unit]
    value = (
        f"CASE WHEN regexp_full_match({text}, {literal('[+-]?' + number)}) THEN {plain}{shift} "
        f"WHEN regexp_full_match({text}, {literal(number + ' ?-')}) THEN '-' || rtrim({plain}, '- '){shift} "
        f"WHEN regexp_full_match({text}, {literal(in_brackets)}) THEN '-' || trim({plain}, '()'){shift} END"
    )
    if marks.is_rounded:
        return rounded(f"TRY_CAST({value} AS DECIMAL(38, 8))", currency, marks)
    return f"TRY_CAST({value} AS {amount_type(marks)})"


def rounded(value: str, currency: str, marks: Amounts) -> str:
    """SQL: an amount rounded half away from zero to its currency's decimals."""
    kind = amount_type(marks)
    arms = " ".join(f"WHEN {digits} THEN CAST(round({value}, {digits}) AS {kind})" for digits in (0, 3, 4))
    return f"(CASE {exponent(currency)} {arms} ELSE CAST(round({value}, 2) AS {kind}) END)"


def amount_text(value: str, marks: Amounts) -> str:
    """SQL: an amount as plain text with two decimals, or more where it has more."""
    text, more = f"CAST({value} AS VARCHAR)", marks.decimals - 2
    return f"CASE WHEN right({text}, {more}) = '{'0' * more}' THEN left({text}, -{more}) ELSE rtrim({text}, '0') END"


def scale(currency: str) -> str:
    """SQL: how many minor units a major one has."""
    return f"(CASE {exponent(currency)} WHEN 0 THEN 1 WHEN 3 THEN 1000 WHEN 4 THEN 10000 ELSE 100 END)"


def minor_units(value: str, scale: str) -> str:
    """SQL: an amount as BIGINT, NULL where it has more decimals than its currency."""
    whole = f"TRY_CAST({value} * {scale} AS BIGINT)"
    return f"CASE WHEN {whole} = {value} * {scale} THEN {whole} END"


def day(text: str, formats: Iterable[str]) -> str:
    """SQL: a text as YYYY-MM-DD, NULL where no format fits."""
    tries = []
    for each in formats:
        parsed = f"CAST(try_strptime({text}, {literal(each)}) AS DATE)"
        # %Y reads "15" as the year 15
        tries.append(f"CASE WHEN {parsed} BETWEEN DATE '1900-01-01' AND DATE '2199-12-31' THEN {parsed} END")
    return f"CAST(coalesce({', '.join(tries)}, NULL) AS VARCHAR)"


@dataclass(frozen=True, slots=True)
class Moment:
    """SQL of a column of instants, in steps: each reads the column of the one before by name, and so stands once."""

    local: str  # of the text: TIMESTAMP as the text has it
    offset: str  # of text and local: "+01:00", or NULL
    written: str  # of local and offset: ISO 8601, with the offset where one is known


def moment(text: str, local: str, offset: str, formats: Sequence[str], zone: str) -> Moment:
    """How a text is read as an instant.

    Args:
        text, local, offset: names of the columns with the text and with what the first two steps make.
        formats: strptime's, with %z where the text ends in an offset; `epoch` and `epoch_ms` are UTC; none: ISO.
        zone: SQL of the name of the zone of texts without an offset: IANA's, or an abbreviation; '' for none.
    """
    if formats and formats[0] in ("epoch", "epoch_ms"):
        micros = 1_000_000 if formats[0] == "epoch" else 1_000
        number = f"TRY_CAST({text} AS BIGINT)"
        inside = f"{number} BETWEEN 0 AND {7_258_118_400 * 1_000_000 // micros}"
        return Moment(
            f"CASE WHEN {inside} THEN make_timestamp({number} * {micros}) END", "'+00:00'", _written(local, offset)
        )
    known = [each.replace("%z", "").strip() for each in formats] or list(_ISO_TIMES)
    has_offset = not formats or any("%z" in each for each in formats)
    bare = f"regexp_replace({text}, {literal(_OFFSET)}, '')" if has_offset else text
    parsed = f"try_strptime({bare}, [{', '.join(map(literal, known))}])"
    found = []
    if has_offset:
        own = f"nullif(regexp_extract({text}, {literal(_OFFSET)}, 1), '')"
        found.append(
            f"CASE WHEN {own} IN ('Z', 'UTC', 'GMT') THEN '+00:00' ELSE left({own}, 3) || ':' || right({own}, 2) END"
        )
    if zone:
        found.append(_zone_offset(zone, local))
    return Moment(parsed, f"coalesce({', '.join(found)}, NULL)" if found else "NULL", _written(local, offset))


def _written(local: str, offset: str) -> str:
    inside = f"{local} BETWEEN TIMESTAMP '1900-01-01' AND TIMESTAMP '2199-12-31'"
    return f"CASE WHEN {inside} THEN replace(CAST({local} AS VARCHAR), ' ', 'T') || coalesce({offset}, '') END"


def _zone_offset(zone: str, local: str) -> str:
    """SQL: the offset of a local time in a zone, +HH:MM; NULL where the zone is not known."""
    constant = zone[1:-1] if zone.startswith("'") else None
    if constant in ABBREVIATIONS:
        return literal(ABBREVIATIONS[constant])
    if constant is None:
        pairs = ", ".join(f"{literal(name)}: {literal(offset)}" for name, offset in ABBREVIATIONS.items())
        return f"map {{{pairs}}}[{zone}]"
    minutes = f"date_diff('minute', timezone('UTC', timezone({zone}, {local})), {local})"
    signed = f"CASE WHEN {minutes} < 0 THEN '-' ELSE '+' END"
    return f"{signed} || strftime(TIMESTAMP '2000-01-01' + to_minutes(abs({minutes})), '%H:%M')"


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
