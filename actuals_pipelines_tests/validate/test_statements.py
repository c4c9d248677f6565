"""Whether an account's statements continue one another: what is missing, twice, or late, and between which balances."""

from __future__ import annotations

import json
import random
from datetime import date, timedelta

import pytest

from actuals_pipelines.validate import Finding, FindingKind, StatementBalances, findings

FIRST = date(2026, 11, 16)


def a_statement(
    number: int, opening: int, closing: int, *, day: int | None = None, days: int = 1, account: str = "NL91"
) -> StatementBalances:
    """Statement `number`, which covers `days` days from the `day`-th on; without a day it tells neither."""
    if day is None:
        return StatementBalances(account, "", "EUR", opening, closing)
    first = FIRST + timedelta(days=day)
    return StatementBalances(
        account, f"S{number}", "EUR", opening, closing, str(number), first, first + timedelta(days=days - 1)
    )


ONE, TWO, THREE = a_statement(1, 0, 10, day=0), a_statement(2, 10, 30, day=1), a_statement(3, 30, 25, day=2)


def found(finding: list[Finding]) -> list[tuple[str, int, int]]:
    """Kind, and the balances between which it lies."""
    return [(each.kind.value, each.before.closing, each.after.opening) for each in finding]


def test_statements_that_follow_one_another_are_right_in_any_order_of_delivery() -> None:
    assert findings([THREE, ONE, TWO]) == []
    assert findings([TWO, THREE], earlier=[ONE]) == []


def test_a_missing_statement_is_shown_by_the_range_that_is_missing() -> None:
    """Statement 2 never came: between statement 1, which closed with 0.10, and statement 3, which opens with 0.30."""
    [gap] = findings([THREE], earlier=[ONE])

    assert (gap.kind, gap.before, gap.after) == (FindingKind.GAP, ONE, THREE)
    shown = json.loads(json.dumps(gap.as_mapping(), default=str))
    assert (shown["before"]["number"], shown["before"]["closing"], shown["before"]["last_on"]) == (
        "1",
        10,
        "2026-11-16",
    )
    assert (shown["after"]["number"], shown["after"]["opening"], shown["after"]["first_on"]) == ("3", 30, "2026-11-18")


def test_what_was_found_on_an_earlier_day_is_not_found_again() -> None:
    assert findings([a_statement(4, 25, 26, day=3)], earlier=[ONE, THREE]) == []


def test_a_statement_that_fills_a_gap_came_out_of_order() -> None:
    [late] = findings([TWO], earlier=[ONE, THREE])

    assert (late.kind, late.before, late.after) == (FindingKind.OUT_OF_ORDER, TWO, THREE)


def test_a_statement_that_fills_half_a_gap_leaves_the_other_half() -> None:
    half = a_statement(2, 10, 20, day=1)

    assert found(findings([half], earlier=[ONE, THREE])) == [("gap", 20, 30), ("out_of_order", 20, 30)]


def test_a_month_beside_its_days_overlaps() -> None:
    month = StatementBalances("NL91", "M11", "EUR", 5, 25, "11", FIRST, FIRST + timedelta(days=29))

    assert [each.kind for each in findings([month], earlier=[ONE, TWO])] == [FindingKind.OVERLAP]


def test_two_statements_that_open_alike_overlap() -> None:
    assert [each.kind for each in findings([a_statement(0, 0, 10), a_statement(0, 0, 7)])] == [FindingKind.OVERLAP]


def test_a_statement_that_comes_again_with_other_balances_is_a_reissue_and_stands() -> None:
    """The bank corrects statement 2; statement 3 follows the correction, so nothing is missing."""
    wrong, right = a_statement(2, 10, 29, day=1), TWO

    assert [(each.kind, each.before) for each in findings([right, THREE], earlier=[ONE, wrong])] == [
        (FindingKind.REISSUE, wrong)
    ]


def test_a_number_that_comes_back_next_year_is_no_reissue() -> None:
    next_year = a_statement(1, 25, 40, day=365)

    assert findings([next_year], earlier=[ONE, TWO, THREE]) == []


def test_a_statement_delivered_again_is_no_news() -> None:
    assert findings([ONE], earlier=[ONE, TWO, THREE]) == []


@pytest.mark.parametrize(
    "other",
    [a_statement(9, 500, 600, day=1, account="NL02"), StatementBalances("NL91", "S9", "USD", 500, 600)],
    ids=["another account", "another currency"],
)
def test_accounts_and_currencies_do_not_continue_one_another(other: StatementBalances) -> None:
    assert findings([other], earlier=[ONE]) == []


def test_a_day_without_movement_is_no_gap_whether_it_tells_its_day_or_not() -> None:
    still = a_statement(2, 10, 10, day=1)
    silent = StatementBalances("NL91", "S2", "EUR", 10, 10)
    after = a_statement(3, 10, 12, day=2)

    assert findings([still, after], earlier=[ONE]) == []
    assert findings([silent, after], earlier=[ONE]) == []


def test_balances_that_come_back_are_followed_without_days() -> None:
    """0 -> 5 -> 0 -> 7 -> 0: a swept account is back at 0 each night. Shuffled, it is one line all the same."""
    swept = [a_statement(0, 0, 5), a_statement(0, 5, 0), a_statement(0, 0, 7), a_statement(0, 7, 0)]
    for seed in range(20):
        shuffled = random.Random(seed).sample(swept, len(swept))

        assert findings(shuffled) == []


def test_without_days_two_missing_statements_are_counted_though_nobody_can_say_in_which_order() -> None:
    chain = [a_statement(0, n, n + 1) for n in range(100)]
    delivered = [each for place, each in enumerate(chain) if place not in (20, 60)]
    random.Random(1).shuffle(delivered)

    assert [kind for kind, _, _ in found(findings(delivered))] == ["gap", "gap"]


def test_no_balance_is_in_what_a_log_could_show() -> None:
    [gap] = findings([a_statement(3, 987654321, 1, day=2)], earlier=[ONE])

    assert "987654321" not in f"{gap!r} {gap.after!r}"
