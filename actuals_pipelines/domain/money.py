"""Exact money: a count of a currency's smallest unit, and the exponents that say how small that is."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from actuals_pipelines.errors import ActualsError

# ISO 4217: the currencies whose minor unit is not a hundredth. All others have two decimals.
_EXPONENTS = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}

MAX_MINOR_UNITS = 10**15
"""Amounts beyond this are refused at the door, so that nine thousand of them still add up within 64 bits."""


class AmountUnreadable(ActualsError):
    """A text is no exact amount of its currency. Holds the reason and the currency, never the text."""

    def __init__(self, reason: str, currency: str) -> None:
        super().__init__(reason, currency)
        self.reason, self.currency = reason, currency

    def __str__(self) -> str:
        return f"An amount in {self.currency} cannot be read: {self.reason}."


def exponent(currency: str) -> int:
    """How many decimals `currency` (ISO 4217 alphabetic) has: EUR 2, JPY 0, KWD 3."""
    return _EXPONENTS.get(currency, 2)


def exponents() -> dict[str, int]:
    """The currencies whose exponent is not 2, for engines that need the table."""
    return dict(_EXPONENTS)


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount in one currency: EUR 12.34 is 1234 minor units, JPY 12 is 12."""

    minor_units: int
    currency: str  # ISO 4217 alphabetic code

    @classmethod
    def parse(cls, text: str, currency: str) -> Money:
        """Read a decimal text ("12.34", "-5") exactly; more decimals than the currency has are refused."""
        try:
            scaled = Decimal(text).scaleb(exponent(currency))
        except InvalidOperation:
            raise AmountUnreadable("it is not a decimal number", currency) from None
        if not scaled.is_finite():
            raise AmountUnreadable("it is not finite", currency)
        if scaled != scaled.to_integral_value():
            raise AmountUnreadable(f"it has more than {exponent(currency)} decimals", currency)
        if abs(scaled) > MAX_MINOR_UNITS:
            raise AmountUnreadable("it is beyond the largest amount taken", currency)
        return cls(int(scaled), currency)

    @classmethod
    def from_words(cls, words: str) -> Money:
        """Read what people write in YAML: "0.05 EUR", "5 JPY"."""
        amount, _, currency = words.strip().partition(" ")
        if not (len(currency) == 3 and currency.isascii() and currency.isupper()):
            raise AmountUnreadable("write it with its currency, as in '0.05 EUR'", currency or "no currency")
        return cls.parse(amount, currency)

    def __str__(self) -> str:
        return f"{Decimal(self.minor_units).scaleb(-exponent(self.currency))} {self.currency}"
