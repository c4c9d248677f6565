"""SQL texts for money, dates and times."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from actuals_pipelines.domain.money import MAX_MINOR_UNITS
from actuals_pipelines.errors import ConfigurationError
from actuals_pipelines.expressions import literal

_ISO = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?"
    r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?"
)
_OFFSET = r":[0-9]{2}.*(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"
_EPOCHS = {"epoch": "make_timestamp(TRY_CAST({} AS BIGINT) * 1000000)", "epoch_ms": "make_timestamp_ms({})"}
_PLAUSIBLE = "BETWEEN DATE '1900-01-01' AND DATE '2199-12-31'"

OPTIONS = ("decimal", "thousands", "negative", "date_format", "timestamp_format")
"""What `Source.reader` may say to normalising; the rest of it is the reader's."""


class NumberMarksRefused(ConfigurationError):
    """The decimal and thousands marks of a source cannot be told apart, or are no marks."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.source = source

    def __str__(self) -> str:
        return (
            f"Source {self.source!r}: decimal is '.' or ',', and thousands is another one of . , ' _ or a blank. "
            "Together they must leave no doubt what 1.234 is. negative is leading, trailing or parentheses."
        )


class TimeZoneUnknown(ConfigurationError):
    """A source's time zone is not in the IANA database."""

    def __init__(self, source: str, zone: str) -> None:
        super().__init__(source, zone)
        self.source, self.zone = source, zone

    def __str__(self) -> str:
        return f"Source {self.source!r} has the time zone {self.zone!r}, which is unknown; write e.g. Europe/Amsterdam."


@dataclass(frozen=True, slots=True)
class NumberMarks:
    """How a source writes numbers. Nothing is guessed: without the option a comma is no number."""

    decimal: str = "."
    thousands: str = ""
    negative: str = "leading"  # also -12.00 is read where the source writes 12.00- or (12.00)

    @classmethod
    def of(cls, source: str, options: dict[str, str]) -> NumberMarks:
        decimal, thousands = options.get("decimal", "."), options.get("thousands", "")
        if decimal not in (".", ",") or thousands == decimal or thousands not in ("", ".", ",", "'", "’", "_", " "):
            raise NumberMarksRefused(source)
        negative = options.get("negative", "leading")
        if negative not in ("leading", "trailing", "parentheses"):
            raise NumberMarksRefused(source)
        return cls(decimal, thousands, negative)

    def plain(self, text: str) -> str:
        """SQL: the text as a plain decimal ("-1234.5"), NULL where it is none."""
        text = f"replace({text}, '−', '-')"  # the typographic minus of shops' exports
        if self.negative == "trailing":
            text = f"CASE WHEN ends_with({text}, '-') THEN '-' || left({text}, -1) ELSE {text} END"
        elif self.negative == "parentheses":
            text = f"CASE WHEN {text} LIKE '(%)' THEN '-' || substr({text}, 2, length({text}) - 2) ELSE {text} END"
        decimal, thousands = _escaped(self.decimal), _escaped(self.thousands)
        whole = f"([0-9]+|[0-9]{{1,3}}({thousands}[0-9]{{3}})+)" if thousands else "[0-9]+"
        pattern = f"[+-]?({whole}({decimal}[0-9]*)?|{decimal}[0-9]+)"
        value = text
        if self.thousands:
            value = f"replace({value}, {literal(self.thousands)}, '')"
        if self.decimal != ".":
            value = f"replace({value}, {literal(self.decimal)}, '.')"
        return f"CASE WHEN regexp_full_match({text}, {literal(pattern)}) THEN {value} END"

    def number(self, text: str) -> str:
        """SQL: the text as an exact DECIMAL, NULL where it is none or has more than ten decimals."""
        plain = self.plain(f"trim({text})")
        return (
            f"CASE WHEN length(rtrim(split_part({plain}, '.', 2), '0')) <= 10 "
            f"THEN TRY_CAST({plain} AS DECIMAL(38, 10)) END"
        )


def minor_units(plain: str, exponent: str) -> str:
    """SQL: a plain decimal text times 10^exponent as BIGINT; NULL if digits would be lost or it is too large.

    By digits and not by arithmetic: casting to DECIMAL rounds what it cannot hold, and says nothing.
    """
    digits = f"ltrim({plain}, '+-')"
    fraction = f"rtrim(split_part({digits}, '.', 2), '0')"
    value = f"TRY_CAST(('0' || split_part({digits}, '.', 1) || rpad({fraction}, {exponent}, '0')) AS BIGINT)"
    # Most amounts are written with just their currency's decimals: without the point, they are what is wanted.
    usual = f"strpos({plain}, '.') > 0 AND strpos({plain}, '.') = length({plain}) - {exponent}"
    pointless = f"TRY_CAST(replace({plain}, '.', '') AS BIGINT)"
    return (
        f"CASE WHEN {usual} THEN "
        f"CASE WHEN {pointless} BETWEEN -{MAX_MINOR_UNITS} AND {MAX_MINOR_UNITS} THEN {pointless} END "
        f"WHEN length({fraction}) <= {exponent} AND {value} <= {MAX_MINOR_UNITS} "
        f"THEN CASE WHEN starts_with({plain}, '-') THEN -{value} ELSE {value} END END"
    )


def decimals(plain: str) -> str:
    """SQL: how many decimals a plain decimal text needs."""
    return f"length(rtrim(split_part({plain}, '.', 2), '0'))"


def check_zone(source: str, zone: str) -> None:
    """Refuse a time zone that is not in the IANA database."""
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise TimeZoneUnknown(source, zone) from None


def instant(column: str, kind: str, zone: str, formats: str) -> str:
    """SQL: a moment as TIMESTAMP in UTC, NULL where it cannot be read.

    ISO 8601 with its offset; without one it is local time in `zone`. When clocks go back the repeated hour is taken
    as winter time; a time that clocks skip is moved on by that hour.
    """
    if kind.startswith("TIMESTAMP WITH TIME ZONE"):
        return f"timezone('UTC', {column})"
    if kind.startswith(("TIMESTAMP", "DATE")):
        return _to_utc(f"CAST({column} AS TIMESTAMP)", zone)
    if not formats:
        with_offset = f"make_timestamp(epoch_us(TRY_CAST({column} AS TIMESTAMPTZ)))"
        without = _to_utc(f"TRY_CAST({column} AS TIMESTAMP)", zone)
        return (
            f"CASE WHEN NOT regexp_full_match({column}, {literal(_ISO)}) THEN NULL "
            f"WHEN regexp_matches({column}, {literal(_OFFSET)}) THEN {with_offset} ELSE {without} END"
        )
    return f"coalesce({', '.join(_by_format(column, each, zone) for each in formats.split('|'))}, NULL)"


def _by_format(column: str, format: str, zone: str) -> str:
    if format in _EPOCHS:
        number = f"TRY_CAST({column} AS BIGINT)" if format == "epoch_ms" else column
        return _EPOCHS[format].format(number)
    if "%z" in format:
        return f"timezone('UTC', try_strptime({column}, {literal(format)}))"
    return _to_utc(f"try_strptime({column}, {literal(format)})", zone)


def day(column: str, kind: str, zone: str, formats: str) -> str:
    """SQL: a DATE, in `zone` where the value is a moment with an offset; NULL where it cannot be read."""
    if kind == "DATE":
        value = column
    elif kind.startswith("TIMESTAMP WITH TIME ZONE"):
        value = local_day(f"timezone('UTC', {column})", zone)
    elif kind.startswith("TIMESTAMP"):
        value = f"CAST({column} AS DATE)"
    elif formats:
        tries = [
            local_day(_by_format(column, each, zone), zone)
            if each in _EPOCHS or "%z" in each
            else f"CAST(try_strptime({column}, {literal(each)}) AS DATE)"
            for each in formats.split("|")
        ]
        value = f"coalesce({', '.join(tries)}, NULL)"
    else:
        moved = local_day(f"make_timestamp(epoch_us(TRY_CAST({column} AS TIMESTAMPTZ)))", zone)
        value = (
            f"CASE WHEN NOT regexp_full_match({column}, {literal(_ISO)}) THEN NULL "
            f"WHEN length({column}) = 10 THEN TRY_CAST({column} AS DATE) "
            f"WHEN regexp_matches({column}, {literal(_OFFSET)}) THEN {moved} "
            f"ELSE CAST(TRY_CAST({column} AS TIMESTAMP) AS DATE) END"
        )
    return f"CASE WHEN {value} {_PLAUSIBLE} THEN {value} END"


def local_day(utc: str, zone: str) -> str:
    """SQL: the DATE of a TIMESTAMP in UTC, as people in `zone` see it."""
    if zone == "UTC":
        return f"CAST({utc} AS DATE)"
    return f"CAST(timezone({literal(zone)}, timezone('UTC', {utc})) AS DATE)"


def _to_utc(local: str, zone: str) -> str:
    return local if zone == "UTC" else f"timezone('UTC', timezone({literal(zone)}, {local}))"


def _escaped(mark: str) -> str:
    return f"[{mark}]" if mark else ""
