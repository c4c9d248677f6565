"""What a package expects the other side to keep: SQL for a row's fee in minor units (MATCHING.md 3)."""

from __future__ import annotations

from collections.abc import Callable, Collection

from actuals_pipelines.domain.package import Fee, MatchingPackage, Rounding
from actuals_pipelines.expressions import Expression, literal, parse

_UP_WHEN = {  # when a quotient is rounded away from zero, by what is left over of 10,000
    Rounding.HALF_UP: "rest >= 5000",
    Rounding.HALF_EVEN: "rest > 5000 OR (rest = 5000 AND whole % 2 = 1)",
    Rounding.UP: "rest > 0",
    Rounding.DOWN: "FALSE",
}


def fee_conditions(package: MatchingPackage, available: Collection[str], amounts: frozenset[str]) -> list[Expression]:
    """The fees' conditions, compiled. Raises ExpressionRefused."""
    return [
        parse(fee.when, [*available, "amount"], f"package {package.name}, fee {fee.name!r}, when", amounts=amounts,
              is_predicate=True)
        for fee in package.fees
    ]  # fmt: skip


def fee_sql(
    package: MatchingPackage,
    available: Collection[str],
    amounts: frozenset[str],
    check: Callable[[Expression, str], None],
) -> str:
    """SQL over a row with `contribution` and `currency`: the first fee that fits, 0 if none does.

    Args:
        check: binds a condition in the engine, so that it is refused by name where its types do not fit.
    """
    arms = []
    for fee, condition in zip(package.fees, fee_conditions(package, available, amounts), strict=True):
        check(condition, f"package {package.name}, fee {fee.name!r}, when")
        arms.append(f"WHEN coalesce({condition.sql}, FALSE) THEN {_amount(fee)}")
    return f"CASE {' '.join(arms)} ELSE 0 END" if arms else "0"


def _amount(fee: Fee) -> str:
    fixed = " ".join(f"WHEN {literal(code)} THEN {units:d}" for code, units in sorted(fee.fixed.items()))
    charged = f"CASE currency {fixed} ELSE 0 END" if fixed else "0"
    if not fee.basis_points:
        return charged
    product = f"(abs(contribution::HUGEINT) * {fee.basis_points:d})"
    whole, rest = f"({product} // 10000)", f"({product} % 10000)"
    up = _UP_WHEN[fee.rounding].replace("rest", rest).replace("whole", whole)
    return f"{charged} + sign(contribution)::BIGINT * ({whole} + CASE WHEN {up} THEN 1 ELSE 0 END)"
