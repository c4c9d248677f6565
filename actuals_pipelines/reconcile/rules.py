"""Explanation rules: what their conditions may say, and the SQL they become."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from actuals_pipelines.domain.money import AmountUnreadable, Money
from actuals_pipelines.domain.package import MatchingPackage
from actuals_pipelines.expressions import Expression, Function, literal, parse, text_of
from actuals_pipelines.reconcile.members import AMOUNTS

GROUP_COLUMNS = (
    "balance_difference", "expected_difference", "soll_rows", "ist_rows", "soll_amount", "ist_amount", "age_days",
    "reason", "pass",
)  # fmt: skip
"""What a condition may say of the group; all else it says of one row."""


@dataclass
class Aggregates:
    """The sums and counts per kind that the rules ask for: column name -> SQL over a group's rows."""

    columns: dict[str, str] = field(default_factory=dict)

    def functions(self) -> dict[str, Function]:
        """soll_count('sale'), ist_amount('chargeback'), money('0.35 EUR') and their like."""
        made: dict[str, Function] = {"money": _money}
        for side in ("soll", "ist"):
            made[f"{side}_count"] = self._of_kinds(side, "count")
            made[f"{side}_amount"] = self._of_kinds(side, "amount")
        return made

    def _of_kinds(self, side: str, what: str) -> Function:
        def function(arguments: Sequence[exp.Expression]) -> str:
            if not arguments:
                raise ValueError("'kind', 'another kind'")
            kinds = ", ".join(literal(text_of(argument)) for argument in arguments)
            chosen = f"FILTER (side = '{side}' AND kind IN ({kinds}))"
            # An amount is the kind's own, on either side: a chargeback of 60 is -60 on IST too.
            sign = "" if side == "soll" else "-"
            counted = f"count(*) {chosen}"
            summed = f"coalesce({sign}sum(contribution) {chosen}, 0)"
            name = f"of_kind_{len(self.columns)}"
            sql = counted if what == "count" else summed
            known = next((column for column, text in self.columns.items() if text == sql), None)
            self.columns.setdefault(known or name, sql)
            return known or name

        return function


@dataclass(frozen=True)
class Rules:
    """A package's rules, compiled. `first_that_fits` is SQL for a rule's number (from 1), null if none fits."""

    expressions: tuple[Expression, ...]
    first_that_fits: str
    categories: str  # SQL: rule number `rule` -> category
    aggregates: dict[str, str]
    row_columns: frozenset[str]


def compile_rules(
    package: MatchingPackage, row_columns: Collection[str], check: Callable[[Expression, str], None]
) -> Rules:
    """Compile the rules against the rows' columns and the groups' figures; `check` binds each in the engine."""
    aggregates = Aggregates()
    columns = [*row_columns, *(name for name in GROUP_COLUMNS if name not in row_columns), "amount"]
    compiled = []
    for rule in package.explanations:
        where = f"package {package.name}, explanation {rule.name!r}, when"
        compiled.append(
            parse(rule.when, columns, where, functions=aggregates.functions(), amounts=AMOUNTS, is_predicate=True)
        )
    arms = " ".join(f"WHEN {each.sql} THEN {number}" for number, each in enumerate(compiled, 1))
    words = " ".join(f"WHEN {n} THEN {literal(rule.category)}" for n, rule in enumerate(package.explanations, 1))
    read = frozenset(name for each in compiled for name in each.columns) - set(GROUP_COLUMNS)
    for rule, each in zip(package.explanations, compiled, strict=True):
        check(each, f"package {package.name}, explanation {rule.name!r}, when")
    return Rules(
        expressions=tuple(compiled),
        first_that_fits=f"CASE {arms} END" if arms else "NULL",
        categories=f"CASE rule {words} END" if words else "NULL",
        aggregates=aggregates.columns,
        row_columns=read,
    )


def _money(arguments: Sequence[exp.Expression]) -> str:
    """money('0.35 EUR'): 35 in groups of euros, null in other currencies, so that no condition on it holds there."""
    advice = "'0.35 EUR'"
    if len(arguments) != 1:
        raise ValueError(advice)
    try:
        money = Money.from_words(text_of(arguments[0]))
    except AmountUnreadable:
        raise ValueError(advice) from None
    return f"CASE WHEN currency = {literal(money.currency)} THEN {money.minor_units} END"
