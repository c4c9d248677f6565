"""An amount as a bank writes it becomes exact: minor units, and the decimal text that a batch carries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import NamedTuple

from actuals_pipelines.domain.money import MAX_MINOR_UNITS, exponent
from actuals_pipelines.readers.reading import OptionRefused

_PLAIN = re.compile(r"[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20}", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_ROUNDING = {"half_up": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN, "down": ROUND_DOWN}


class FieldUnreadable(Exception):
    """A field of one record means nothing; the reader that knows the line makes it a reject."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field, self.reason = field, reason


class Amount(NamedTuple):
    """Signed minor units, and the same as text ("-12.30"); `stated` is what stood there where it was rounded."""

    minor_units: int
    text: str
    stated: str | None = None


class Amounts:
    """How a reader reads amounts: exactly, or rounded by the reader option `rounding`."""

    def __init__(self, format: str, options: Mapping[str, str]) -> None:
        rule = options.get("rounding")
        if rule is not None and rule not in _ROUNDING:
            raise OptionRefused(format, "rounding", f"one of {', '.join(_ROUNDING)}")
        self._rounding = _ROUNDING[rule] if rule else None
        self._places: dict[str, int] = {}  # of the currencies met so far

    def read(self, text: str, currency: str, field: str, *, negative: bool) -> Amount:
        """Read an unsigned decimal text with a point.

        Raises:
            FieldUnreadable: names `field`; no number, signed, more decimals than the currency has, or too large.
        """
        if not _PLAIN.fullmatch(text):
            signed = text[:1] in "+-" and _PLAIN.fullmatch(text[1:])
            raise FieldUnreadable(
                field, "it has a sign beside its direction" if signed else "it is not a decimal number"
            )
        places = self._places.get(currency)
        if places is None:
            if not _CURRENCY.fullmatch(currency):
                raise FieldUnreadable(field, "its currency is not an ISO 4217 code")
            places = self._places[currency] = exponent(currency)
        whole, _, decimals = text.partition(".")
        stated = None
        if len(decimals) > places:
            if decimals[places:].strip("0"):
                if self._rounding is None:
                    reason = f"it has more than {places} decimals; to round it set the reader option rounding"
                    raise FieldUnreadable(field, reason)
                stated = f"-{text}" if negative else text
                rounded = Decimal(text).scaleb(places).to_integral_value(self._rounding)
                text = format(rounded.scaleb(-places), f".{places}f")
                whole, _, decimals = text.partition(".")
            decimals = decimals[:places]
        minor_units = int(whole + decimals.ljust(places, "0") or "0")
        if minor_units > MAX_MINOR_UNITS:
            raise FieldUnreadable(field, "it is beyond the largest amount taken")
        whole = whole.lstrip("0") or "0"
        plain = f"{whole}.{decimals}" if decimals else whole
        if negative and minor_units:
            return Amount(-minor_units, f"-{plain}", stated)
        return Amount(minor_units, plain, stated)


def decimal_text(text: str | None) -> str | None:
    """A decimal number as it stands, None if it is none: for rates and other currencies, which count nowhere."""
    return text if text and _PLAIN.fullmatch(text) else None


@lru_cache(maxsize=4096)
def day(text: str) -> date | None:
    """A calendar date from the beginning of an ISO 8601 date or time; None if there is no such day."""
    if not _DAY.match(text):
        return None
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None
