"""A profile: one export of a bank, PSP, shop or ERP, described in a short YAML file. FORMAT.md tells how to write one.

`loading.py` makes one of the text, `program.py` compiles it against a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from actuals_pipelines.yaml_text import Steps, YamlRefused, YamlText

AMOUNT_FIELDS = ("amount", "gross", "fee", "tax", "net", "original_amount")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the file: our word for it, the headers it may have, and whether a file may lack it."""

    word: str
    headers: tuple[str, ...]
    is_required: bool


@dataclass(frozen=True, slots=True)
class Amounts:
    """How amounts are written. A decimal mark of None is found out from the file, or the file is refused."""

    columns: tuple[str, ...] = ()
    decimal: str | None = None
    thousands: str = ""
    unit: str = "major"  # minor: whole minor units of the currency; hundredths: whatever the currency
    symbols: tuple[str, ...] = ()  # written beside the number: "$"
    is_rounded: bool = False  # half up, to the currency's decimals
    decimals: int = 4  # an amount may have, 3 to 8


@dataclass(frozen=True, slots=True)
class Days:
    """How dates, or dates with times, are written. Without formats they are found out, or the file is refused."""

    columns: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    zone: str = ""  # an IANA name, or the column that names it; "" where times carry their offset


@dataclass(frozen=True, slots=True)
class Coded:
    """A kind or a status: a constant, or looked up by the source's own words; the first that is in the table counts."""

    constant: str = ""
    words: tuple[str, ...] = ()  # expressions
    table: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """What one record gives: a field of `ENTRY_COLUMNS` -> expression; kind and status by tables."""

    when: str
    fields: Mapping[str, str]
    coded: Mapping[str, Coded]
    references: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Check:
    """A condition that each record must meet, where `when` holds: else it is a reject, or noted."""

    that: str
    when: str = ""
    is_noted: bool = False


@dataclass(frozen=True, slots=True)
class Stated:
    """What the file says about its own sums: expressions, in the records where `when` holds, or in the metadata."""

    when: str
    fields: Mapping[str, str]  # statement, account, currency, credits, debits, entries, opening, closing


@dataclass(frozen=True, slots=True)
class Profile:
    """See the module's text. `document` finds the place of whatever is complained about later."""

    name: str
    title: str
    document: YamlText
    columns: tuple[Column, ...]
    entries: tuple[Entry, ...]
    amounts: Amounts
    dates: Days
    times: Days
    file: str = "table"
    delimiter: str | None = None
    quote: str = '"'
    encodings: tuple[str, ...] = ()
    header: tuple[str, ...] = ()  # the columns' names where the file has no header
    is_padded: bool = False  # a record may stop early
    records: tuple[str, ...] = ()  # JSON: where the records stand
    metadata: Mapping[str, str] = field(default_factory=dict)  # word -> pattern, over the rows above the header
    fill_down: tuple[str, ...] = ()
    skip: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    balance: str = ""
    movement: str = ""  # what a record changes the running balance by, where that is not its first entry's amount
    is_zero_sum: bool = False
    stated: tuple[Stated, ...] = ()

    def refuse(self, steps: Steps, expected: str, found: str, advice: str = "") -> YamlRefused:
        """A complaint about one place of the profile."""
        return YamlRefused((self.document.problem(steps, expected, found, advice or "See FORMAT.md."),))
