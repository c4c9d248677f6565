"""What another version of a package gains, loses and changes."""

from __future__ import annotations

from dataclasses import replace

from actuals_pipelines.domain.package import ExplanationRule, MatchingPackage, Tolerance
from actuals_pipelines.reconcile.compare import COMPARISON, compare
from actuals_pipelines.reconcile.solve import solve
from actuals_pipelines_tests.reconcile.ledgers import BY_ID, BY_PAYOUT, ORDERS_VS_PSP, key, ledger

ROWS = ledger("""
    row     side  id       payout  amount
    sale1   SOLL  order-1  po-1    10.00 EUR
    paid1   IST   order-1  -       9.99 EUR
    sale2   SOLL  order-2  po-2    20.00 EUR
    paid2   IST   -        po-2    20.00 EUR
    sale3   SOLL  order-3  -       30.00 EUR
""")
LOOSE = replace(ORDERS_VS_PSP, tolerance=Tolerance({"EUR": 1}), passes=(BY_ID, BY_PAYOUT))


def compared(before: MatchingPackage, after: MatchingPackage) -> list[tuple[object, ...]]:
    found = compare(solve(ROWS, before), solve(ROWS, after))
    assert found.schema == COMPARISON
    return [tuple(line[name] for name in ("what", "group_key", "rows", "amount", "was_status", "status",
                                          "was_difference", "difference")) for line in found.to_pylist()]  # fmt: skip


def test_what_is_gained_and_what_is_lost_comes_with_rows_and_amounts() -> None:
    """Without tolerance order-1 is lost; without the payout order-2 falls apart: one group lost, no other named."""
    strict = replace(ORDERS_VS_PSP, passes=(BY_ID,))
    order1, payout2 = key("order", "order-1"), key("payout", "po-2")

    assert compared(LOOSE, strict) == [
        ("lost", payout2, 2, 2000, "matched", "unmatched", 0, 0),
        ("lost", order1, 2, 1000, "matched", "unmatched", 1, 1),
    ]
    assert compared(strict, LOOSE) == [
        ("gained", payout2, 2, 2000, "unmatched", "matched", 0, 0),
        ("gained", order1, 2, 1000, "unmatched", "matched", 1, 1),
    ]


def test_an_open_group_with_another_verdict_is_changed_and_the_same_is_not() -> None:
    rule = ExplanationRule("large", "large", "balance_difference > money('25.00 EUR')")

    assert compared(LOOSE, LOOSE) == []
    assert compared(LOOSE, replace(LOOSE, explanations=(rule,))) == [
        ("changed", key("order", "order-3"), 1, 3000, "unmatched", "explained", 3000, 3000)
    ]
