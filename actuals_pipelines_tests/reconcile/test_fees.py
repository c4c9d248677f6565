"""What the other side may keep, and payments taken twice that are set apart; in ledgers checked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actuals_pipelines.domain.package import ExplanationRule, Fee, MatchingPackage, Pass, Rounding, Tolerance
from actuals_pipelines.engine import engine
from actuals_pipelines.expressions import ExpressionRefused
from actuals_pipelines.reconcile.close import Closed, Pins, close
from actuals_pipelines.reconcile.fees import fee_sql
from actuals_pipelines_tests.reconcile.ledgers import BY_ID, BY_PAYOUT, IN_TEXT, ORDERS_VS_PSP, by_row, ledger, words
from actuals_pipelines_tests.reconcile.test_proposals import DAY

CARD = Fee("card", "kind = 'sale'", {"EUR": 25}, 140)


def closed(text: str, **more: object) -> Closed:
    return close(None, ledger(text), [], replace(ORDERS_VS_PSP, **more), Pins(DAY))  # type: ignore[arg-type]


def said(found: Closed) -> dict[str, str]:
    return words(by_row(found.state.rows, found.state.rows))


def test_a_group_that_lacks_its_fee_is_matched_and_the_bridge_has_the_fee() -> None:
    """60.00 sold, 0.25 and 1.4 % (0.84) kept: 58.91 arrive. 58.90 is one cent off."""
    found = closed(
        """
        row    side  id  amount
        order  SOLL  1   60.00 EUR
        net    IST   1   58.91 EUR
        other  SOLL  2   60.00 EUR
        short  IST   2   58.90 EUR
        gross  SOLL  3   60.00 EUR
        whole  IST   3   60.00 EUR
        lone   SOLL  4   10.00 EUR
        """,
        fees=(CARD,),
    )

    assert said(found) == {
        "order": "matched transaction id 109",
        "net": "matched transaction id 109",
        "other": "unmatched amount_differs 110",
        "short": "unmatched amount_differs 110",
        "gross": "unmatched amount_differs 0",
        "whole": "unmatched amount_differs 0",
        "lone": "unmatched missing_ist 1000",
    }
    [bridge] = found.figures.bridges
    lines = {(line.kind, line.detail): line.amount for line in bridge.lines}
    assert lines == {
        ("expected", None): 3 * 109,
        ("unmatched", "amount_differs"): 1 - 109,
        ("unmatched", "missing_ist"): 1000,
    }
    assert bridge.residual == 0


def test_the_first_fee_that_fits_counts_and_tolerance_is_around_it() -> None:
    """Dollars have no fixed part; the second fee is for whatever the first leaves."""
    found = closed(
        """
        row    side  kind  id  amount
        order  SOLL  sale  1   100.00 USD
        net    IST   paid  1   98.58 USD
        other  SOLL  gift  2   100.00 EUR
        rest   IST   paid  2   99.00 EUR
        """,
        fees=(CARD, Fee("all", "TRUE", {"EUR": 100})),
        tolerance=Tolerance({"USD": 2}),
    )

    assert said(found)["order"] == "matched transaction id 142"
    assert said(found)["other"] == "matched transaction id 100"


@settings(max_examples=40, deadline=None)
@given(st.integers(-10_000_000, 10_000_000), st.integers(1, 9_999), st.sampled_from(Rounding))
def test_shares_are_rounded_as_stated_in_whole_numbers(amount: int, points: int, rounding: Rounding) -> None:
    """Against exact fractions, the same whatever the sign."""
    whole, rest = divmod(abs(amount) * points, 10_000)
    up = {
        Rounding.UP: rest > 0,
        Rounding.DOWN: False,
        Rounding.HALF_UP: rest >= 5_000,
        Rounding.HALF_EVEN: rest > 5_000 or (rest == 5_000 and whole % 2 == 1),
    }[rounding]
    package = replace(ORDERS_VS_PSP, fees=(Fee("share", "TRUE", {}, points, rounding),))

    sql = fee_sql(package, ["kind"], frozenset(), lambda _condition, _where: None)
    with engine() as con:
        row = f"(SELECT {amount}::BIGINT AS contribution, 'EUR' AS currency)"
        [[fee]] = con.execute(f"SELECT {sql} FROM {row}").fetchall()  # noqa: S608 - numbers alone

    assert fee == (whole + up) * (1 if amount >= 0 else -1)


def test_a_fee_whose_condition_cannot_be_read_is_refused_by_name() -> None:
    with pytest.raises(ExpressionRefused, match="fee 'card'"):
        closed("row  side  id  amount\na  SOLL  1  1.00 EUR", fees=(replace(CARD, when="no_such = 1"),))


SET_APART: dict[str, object] = {"duplicates": "set_apart"}


def test_a_payment_taken_twice_leaves_a_match_and_a_refund_due() -> None:
    """The one booked last is set apart; its group is its own."""
    found = closed(
        """
        row     side  id  booked      amount
        order   SOLL  1   2026-01-10  60.00 EUR
        paid    IST   1   2026-01-10  60.00 EUR
        again   IST   1   2026-01-12  60.00 EUR
        """,
        **SET_APART,
    )

    rows = by_row(found.state.rows, found.state.rows)
    assert said(found) == {
        "order": "matched transaction id 0",
        "paid": "matched transaction id 0",
        "again": "explained duplicate -6000",
    }
    assert rows["again"]["category"] == "refund_due"
    assert rows["again"]["group_key"] == rows["again"]["row_uid"]
    assert [line.amount for line in found.figures.bridges[0].lines] == [-6000]


def test_a_rule_that_fits_says_more_than_that_a_refund_is_due() -> None:
    found = closed(
        "row  side  id  amount\na  SOLL  1  6.00 EUR\nb  IST  1  6.00 EUR\nc  IST  1  6.00 EUR",
        explanations=(ExplanationRule("twice", "paid_twice", "reason = 'duplicate'"),),
        **SET_APART,
    )

    assert {row["category"] for row in found.state.rows.to_pylist()} == {None, "paid_twice"}


def test_nothing_is_set_apart_where_more_than_one_choice_balances_or_soll_is_double() -> None:
    """10 too much: one of two tens, or two of three fives? And an order entered twice is no refund."""
    found = closed(
        """
        row  side  id  amount
        a    SOLL  1   25.00 EUR
        b    IST   1   10.00 EUR
        c    IST   1   10.00 EUR
        d    IST   1   5.00 EUR
        e    IST   1   5.00 EUR
        f    IST   1   5.00 EUR
        g    SOLL  2   7.00 EUR
        h    SOLL  2   7.00 EUR
        i    IST   2   7.00 EUR
        """,
        **SET_APART,
    )

    assert said(found)["a"] == said(found)["f"] == "unmatched duplicate -1000"
    assert said(found)["g"] == "unmatched duplicate 700"


def test_what_was_set_apart_returns_when_its_order_comes() -> None:
    """A second order under the id: both payments are wanted. A carried state says what solving everything says."""
    package: MatchingPackage = replace(ORDERS_VS_PSP, passes=(BY_ID, IN_TEXT, BY_PAYOUT), duplicates="set_apart")
    rows = ledger(
        """
        row    side  id  amount
        order  SOLL  1   60.00 EUR
        paid   IST   1   60.00 EUR
        again  IST   1   60.00 EUR
        more   SOLL  1   60.00 EUR
        """
    )

    first = close(None, rows.slice(0, 3), [], package, Pins(DAY))
    then = close(first.state, rows.slice(3), [], package, Pins(DAY))

    assert said(first)["again"] == "explained duplicate -6000" or said(first)["paid"] == "explained duplicate -6000"
    assert set(said(then).values()) == {"matched transaction id 0"}
    assert then.digest == close(None, rows, [], package, Pins(DAY)).digest


def test_how_many_rows_may_share_a_key_is_the_packages_to_say() -> None:
    """Three on each side under one id; two are allowed."""
    text = "row  side  id  amount\n" + "\n".join(f"{s}{n}  {s}  1  1.00 EUR" for s in ("SOLL", "IST") for n in range(3))

    assert set(said(closed(text)).values()) == {"matched transaction id 0"}
    assert {each.split()[1] for each in said(closed(text, key_too_common=2)).values()} == {"key_too_common"}


def test_a_fee_and_a_keyless_pass_go_together() -> None:
    """What is missing is counted after the fee: 58.91 of 60.00 is nothing, 20.00 of it is 38.91."""
    each = Pass("same amount", "amount", result="proposed")
    found = closed(
        """
        row    side  id  amount
        order  SOLL  1   60.00 EUR
        part   IST   1   20.00 EUR
        rest   IST   2   38.91 EUR
        """,
        passes=(BY_ID, each),
        fees=(CARD,),
    )

    assert {row["reason"] for row in found.state.rows.to_pylist()} == {"proposed"}
