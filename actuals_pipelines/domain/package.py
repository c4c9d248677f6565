"""A matching package: the expectation that SOLL sources agree with IST sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from actuals_pipelines.domain.source import FieldMapping, IdScheme

ADJUSTMENTS = "adjustments"
"""The built-in source of write-offs that people decided; no tenant's source may have its name."""


class Side(StrEnum):
    """SOLL is what should be, IST is what is."""

    SOLL = "soll"
    IST = "ist"


class Status(StrEnum):
    """A group's status; its rows inherit it. There are exactly five; all else is a reason."""

    NOT_PROCESSED = "not_processed"
    MATCHED = "matched"
    EXPLAINED = "explained"
    UNMATCHED = "unmatched"
    NOT_RELEVANT = "not_relevant"


@dataclass(frozen=True, slots=True)
class Member:
    """One source on one side of a package."""

    source: str
    take: str | None = None  # SQL predicate over the source's transactions; None takes all
    is_reversed: bool = False  # its account is the mirror of the other: a payout leaves the PSP and enters the bank
    mapping: FieldMapping | None = None  # plain files only (`actuals match`); a home maps in the source


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass. `by` names an id scheme (keyed), or is "amount" or "sum" (keyless: only proposes)."""

    name: str
    by: str
    look_in: tuple[str, ...] = ()  # fields whose text is searched for the other side's ids
    several: bool = False  # one row may carry several keys
    days: tuple[int, int] | None = None
    within: tuple[str, ...] = ()
    one: Side | None = None
    many: Side | None = None
    steps: int | None = None
    result: str = "matched"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """max(absolute per currency, floor(basis points x |SOLL|)); never for a lone row."""

    minor_units: Mapping[str, int] = field(default_factory=dict)  # currency -> minor units; absent means 0
    basis_points: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """After how many days a missing other side is overdue."""

    days: int
    business: bool


class Rounding(StrEnum):
    """How a share of an amount becomes whole minor units; away from and towards zero, whatever the sign."""

    HALF_UP = "half_up"
    HALF_EVEN = "half_even"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Fee:
    """What the other side may keep of a SOLL row: a fixed amount, and basis points of the row's own amount."""

    name: str
    when: str  # predicate over the row; the first fee that fits counts
    fixed: Mapping[str, int] = field(default_factory=dict)  # currency -> minor units; absent means 0
    basis_points: int = 0
    rounding: Rounding = Rounding.HALF_UP


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which days are no business days beside Saturday and Sunday."""

    country: str | None = None  # ISO 3166-1 alpha-2: its public holidays
    days: tuple[date, ...] = ()  # and these


@dataclass(frozen=True, slots=True)
class ExplanationRule:
    """An ordered condition that gives an open group a category; the first that fits wins."""

    name: str
    category: str
    when: str  # predicate in the closed SQL of `expressions`
    final: bool = False


@dataclass(frozen=True, slots=True)
class MatchingPackage:
    """One package of one tenant, as its YAML says it."""

    name: str
    soll: tuple[Member, ...]
    ist: tuple[Member, ...]
    question: str | None = None
    start: date | None = None
    tolerance: Tolerance = Tolerance()
    due: Mapping[Side, Due] = field(default_factory=dict)
    calendar: Calendar = Calendar()  # its own, or the tenant's
    passes: tuple[Pass, ...] = (Pass(name="transaction id", by="transaction_id"),)
    explanations: tuple[ExplanationRule, ...] = ()
    fees: tuple[Fee, ...] = ()
    key_too_common: int = 1000  # rows a side that may share a key
    duplicates: str = "together"  # or "set_apart"
    missing: str = "provisional"  # or "hold": a missing source-day blocks the close
    ties: Mapping[Side, str] = field(default_factory=dict)  # side -> the balance its account states
    ids: tuple[IdScheme, ...] = ()  # plain files only (`actuals match`); a tenant's schemes serve all its packages

    def members(self) -> tuple[tuple[Side, Member], ...]:
        """Every member with its side, SOLL first."""
        return tuple((Side.SOLL, m) for m in self.soll) + tuple((Side.IST, m) for m in self.ist)
