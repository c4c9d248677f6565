"""The first page of a package: what there is, what does not match, and what that adds up to."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal

from actuals_pipelines.reconcile.close import Closed
from actuals_pipelines.report.overview import PackageOverview, overview
from actuals_pipelines_tests.report.states import DAY, closed

LEDGER = """
    side  id  booked      amount
    SOLL  1   2026-02-01  60.00 EUR
    IST   1   2026-02-01  40.00 EUR
    IST   1   2026-02-01  20.00 EUR
    SOLL  2   2026-02-01  10.00 EUR
    IST   2   2026-02-01  9.65 EUR
    SOLL  3   2026-02-01  20.00 EUR
    IST   5   2026-02-01  7.00 EUR
    SOLL  6   2026-02-01  500 JPY
    """


def page(done: Closed, waiting: dict[tuple[str, str], int] | None = None) -> PackageOverview:
    return overview(done.state.rows, asdict(done.figures), package="orders_vs_psp", day=DAY, not_in_close=waiting)


def test_a_source_has_rows_amount_open_rows_impact_and_its_shares_by_rows_and_by_groups() -> None:
    """psp: of four rows three are matched or explained; of three groups two are."""
    lines = {(line.source, line.currency): line for line in page(closed(LEDGER)).sources}

    psp = lines["psp", "EUR"]
    assert (psp.side, psp.rows, psp.amount, psp.unmatched_rows) == ("ist", 4, 7665, 1)
    assert (psp.impact_net, psp.impact_gross) == (-700, 700)
    assert (psp.matched_rows_percentage, psp.matched_groups_percentage) == (Decimal("75.0"), Decimal("66.6"))
    assert lines["shop", "JPY"].matched_groups_percentage == Decimal("0.0")


def test_the_package_counts_each_group_once() -> None:
    """Unmatched: 20.00 on SOLL alone, 7.00 on IST alone; the fee is explained."""
    eur, jpy = page(closed(LEDGER)).impact

    assert (eur.currency, eur.groups, eur.net, eur.gross, eur.positive, eur.negative) == (
        "EUR",
        2,
        1300,
        2700,
        2000,
        -700,
    )
    assert (jpy.currency, jpy.net) == ("JPY", 500)


def test_statuses_name_the_pass_the_category_or_the_reason() -> None:
    """What is matched says by what, what is explained as what, what is open why."""
    found = {(line.status, line.detail, line.currency): line.groups for line in page(closed(LEDGER)).statuses}

    assert found == {
        ("matched", "transaction id", "EUR"): 1,
        ("explained", "fee", "EUR"): 1,
        ("unmatched", "missing_ist", "EUR"): 1,
        ("unmatched", "missing_soll", "EUR"): 1,
        ("unmatched", "missing_ist", "JPY"): 1,
    }


def test_the_bridge_ends_in_nothing() -> None:
    """sum SOLL - sum IST is the sum of its steps."""
    eur, jpy = page(closed(LEDGER)).bridges

    assert (eur.difference, eur.residual, jpy.difference, jpy.residual) == (1335, 0, 500, 0)
    assert {step.detail: step.amount for step in eur.steps} == {"fee": 35, "missing_ist": 2000, "missing_soll": -700}


def test_what_was_published_since_is_shown_beside_the_rows_and_not_among_them() -> None:
    """Nobody would look for what no page shows, also of a source that the close has no row of."""
    shown = page(closed(LEDGER), {("psp", "EUR"): 12, ("bank", "EUR"): 3, ("erp", "EUR"): 0})

    lines = {(line.source, line.currency): (line.rows, line.not_processed_rows) for line in shown.sources}
    assert lines == {("shop", "EUR"): (3, 0), ("shop", "JPY"): (1, 0), ("psp", "EUR"): (4, 12), ("bank", "EUR"): (0, 3)}


def test_a_close_without_rows_has_an_empty_page() -> None:
    """Shares of nothing are no number."""
    shown = page(closed("side  id  amount\nSOLL  1  1.00 EUR", day=DAY))

    assert shown.open_groups == 1
    assert shown.sources[0].matched_rows_percentage == Decimal("0.0")
