"""The figures of the first page, and the bridge from SOLL to IST."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

from actuals_pipelines.domain.package import Due, ExplanationRule, Side, Tolerance
from actuals_pipelines.reconcile.figures import Impact, figures
from actuals_pipelines.reconcile.solve import solve
from actuals_pipelines_tests.reconcile.ledgers import ORDERS_VS_PSP, ledger


def test_the_overview_of_the_worked_example() -> None:
    """MATCHING.md 3: impact of A is 20, of B -10; totals 3 and 2, amounts 160 and 140, all unmatched."""
    rows = ledger(
        """
        side  id   amount
        SOLL  123  60.00 EUR
        IST   123  80.00 EUR
        SOLL  124  70.00 EUR
        IST   124  60.00 EUR
        SOLL  125  30.00 EUR
        """
    )

    found = figures(solve(rows, ORDERS_VS_PSP))

    shop, psp = found.sources
    assert (shop.rows, shop.amount, shop.unmatched_rows, shop.impact.net) == (3, 16000, 3, 2000)
    assert (psp.rows, psp.amount, psp.unmatched_rows, psp.impact.net) == (2, 14000, 2, -1000)
    assert found.impact == (("EUR", Impact(groups=3, net=2000, gross=6000, positive=4000, negative=-2000)),)
    assert shop.matching_percentage == Decimal("0.0")


def test_a_difference_counts_once_for_a_source_however_many_rows_share_it() -> None:
    """Per-row addition would multiply one difference."""
    rows = ledger(
        """
        side  id  amount
        SOLL  1   60.00 EUR
        SOLL  1   40.00 EUR
        IST   1   90.00 EUR
        """
    )

    assert [source.impact.net for source in figures(solve(rows, ORDERS_VS_PSP)).sources] == [1000, 1000]


def test_one_open_row_of_many_is_never_a_hundred_per_cent() -> None:
    """Percentages are rounded down."""
    lines = [f"{side}  {n}  1.00 EUR" for n in range(2000) for side in ("SOLL", "IST")]
    rows = ledger("side  id  amount\n" + "\n".join([*lines, "SOLL  open  1.00 EUR"]))

    assert figures(solve(rows, ORDERS_VS_PSP)).sources[0].matching_percentage == Decimal("99.9")


def test_the_bridge_names_every_step_and_leaves_nothing() -> None:
    """sum SOLL - sum IST, by status, category and reason, per currency."""
    package = replace(
        ORDERS_VS_PSP,
        tolerance=Tolerance({"EUR": 5}),
        due={Side.IST: Due(3, business=False)},
        explanations=(ExplanationRule("fee", "fee", "balance_difference = money('0.35 EUR')"),),
    )
    rows = ledger(
        """
        side  id  booked      amount
        SOLL  1   2026-01-01  60.00 EUR
        IST   1   2026-01-01  59.97 EUR
        SOLL  2   2026-01-01  10.00 EUR
        IST   2   2026-01-01  9.65 EUR
        SOLL  3   2026-01-01  20.00 EUR
        SOLL  4   2026-01-31  30.00 EUR
        IST   5   2026-01-31  7.00 EUR
        SOLL  6   2026-01-01  500 JPY
        """
    )

    eur, jpy = figures(solve(rows, package, as_of=date(2026, 1, 31))).bridges

    assert (eur.soll, eur.ist, eur.difference, eur.residual) == (12000, 7662, 4338, 0)
    assert {(line.kind, line.detail): line.amount for line in eur.lines} == {
        ("within_tolerance", None): 3,
        ("explained", "fee"): 35,
        ("unmatched", "missing_ist"): 2000,
        ("unmatched", "missing_soll"): -700,
        ("in_transit", "not_due"): 3000,
    }
    assert (jpy.currency, jpy.difference, jpy.residual) == ("JPY", 500, 0)
