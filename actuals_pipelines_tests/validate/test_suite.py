"""What holds a unit, what only warns, and what says nothing because it could not run."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from actuals_pipelines.domain.controls import StatementControls
from actuals_pipelines.domain.unit import Verdict
from actuals_pipelines.validate import CheckOutcome, Profile, UnitToJudge, judge_units, merge, suite_digest
from actuals_pipelines.validate.expectations import Expected, check_rows
from actuals_pipelines_tests.validate.units import (
    a_profile,
    a_row,
    a_source,
    a_statement,
    counts_of,
    judge_day,
    judge_unit,
)

SHOP = a_source()
BANK = a_source(has_ids=False)
NO_NUMBER: Any = float("nan")  # no profile has one; a mistake of ours could


def the(name: str, checks: tuple[CheckOutcome, ...]) -> tuple[str, str]:
    """Severity and outcome of one check."""
    [found] = [each for each in checks if each.check == name]
    return found.severity.value, found.outcome.value


def test_a_unit_without_findings_passes_every_check() -> None:
    judged = judge_unit(a_profile([a_row("a"), a_row("b")]), SHOP)

    assert judged.verdict is Verdict.PASSED
    assert [each.check for each in judged.checks] == ["totals_agree", "rejects", "ids", "complete", "could_run"]
    assert {each.outcome.value for each in judged.checks} == {"passed"}


def test_balances_that_do_not_chain_hold_the_unit() -> None:
    """Opening 100.00, a credit of 50.00, but a closing of 160.00."""
    judged = judge_unit(a_profile(controls=[a_statement(10000, 16000, credits=5000)]), BANK)

    assert judged.verdict is Verdict.HELD
    assert the("totals_agree", judged.checks) == ("critical", "failed")


@pytest.mark.parametrize(
    ("stored", "rejected", "severity", "outcome", "verdict"),
    [
        (20, 0, "critical", "passed", Verdict.PASSED),
        (19, 1, "warning", "failed", Verdict.PASSED),
        (18, 2, "critical", "failed", Verdict.HELD),
        (0, 1, "critical", "failed", Verdict.HELD),
    ],
    ids=["none", "5 % warns", "10 % holds", "all of one holds"],
)
def test_a_reject_warns_and_many_hold(
    stored: int, rejected: int, severity: str, outcome: str, verdict: Verdict
) -> None:
    judged = judge_unit(a_profile([a_row(str(n)) for n in range(stored)], rejected=rejected), SHOP)

    assert the("rejects", judged.checks) == (severity, outcome)
    assert judged.verdict is verdict


def test_a_row_without_its_id_warns_where_the_source_has_ids() -> None:
    profile = a_profile([a_row("a", transaction_id=None)])

    assert the("ids", judge_unit(profile, SHOP).checks) == ("warning", "failed")
    assert the("ids", judge_unit(profile, BANK).checks) == ("critical", "passed")


def test_a_repeated_id_warns_and_a_repeated_row_holds() -> None:
    repeated_id = judge_unit(a_profile([a_row("a"), a_row("b", transaction_id="a")]), SHOP)
    repeated_row = judge_unit(a_profile([a_row("a"), a_row("a")]), SHOP)

    assert (repeated_id.verdict, the("ids", repeated_id.checks)) == (Verdict.PASSED, ("warning", "failed"))
    assert (repeated_row.verdict, the("ids", repeated_row.checks)) == (Verdict.HELD, ("critical", "failed"))


def test_a_record_that_vanished_holds_the_unit() -> None:
    judged = judge_unit(a_profile([a_row("a")], counts=counts_of(1) | {"raw": 2}), SHOP)

    assert judged.verdict is Verdict.HELD
    assert the("complete", judged.checks) == ("critical", "failed")


def test_what_could_not_run_is_no_failure() -> None:
    """Great Expectations reports a missing figure as success=False; here it is no answer."""
    within = {"min_value": 0, "max_value": 0}
    expected = [
        Expected("expect_column_values_to_be_between", {"column": "there", **within}),
        Expected("expect_column_values_to_be_between", {"column": "missing", **within}),
        Expected("expect_column_values_to_be_between", {"column": "wrong", **within}),
    ]

    rows = [{"there": 0, "wrong": 1}, {"there": None, "wrong": 0}, {"there": float("inf"), "wrong": NO_NUMBER}]

    assert check_rows(rows, expected) == [[True, None, False], [None, None, True], [False, None, None]]


def test_units_are_judged_together_and_each_for_itself() -> None:
    """One validation; what one unit lacks is neither another's failure nor another's pass."""
    whole = a_profile([a_row("a")])
    lossy = replace(whole, missing_records=1)
    unknown = replace(whole, missing_records=NO_NUMBER)

    verdicts = judge_units([UnitToJudge(each) for each in (whole, lossy, unknown, whole)], SHOP)

    assert [the("complete", each.checks)[1] for each in verdicts] == ["passed", "failed", "could_not_run", "passed"]
    assert [each.verdict.value for each in verdicts] == ["passed", "held", "could_not_run", "passed"]
    assert verdicts[0] == judge_unit(whole, SHOP)


def test_a_figure_that_is_no_number_does_not_pass() -> None:
    """Great Expectations leaves out what is null, and then finds nothing wrong."""
    broken = replace(a_profile([a_row("a")]), missing_rows=NO_NUMBER)

    judged = judge_unit(broken, SHOP)

    assert judged.verdict is Verdict.COULD_NOT_RUN
    assert the("complete", judged.checks) == ("critical", "could_not_run")
    assert the("could_run", judged.checks) == ("critical", "could_not_run")


def test_a_unit_judged_by_half_is_not_held_for_release() -> None:
    """It failed one check and could not run another: a person should not release what nobody has seen."""
    profile = a_profile(controls=[a_statement(0, 1)])

    judged = judge_unit(replace(profile, missing_rows=NO_NUMBER), BANK)

    assert the("totals_agree", judged.checks) == ("critical", "failed")
    assert judged.verdict is Verdict.COULD_NOT_RUN


def test_a_day_is_judged_by_what_needs_all_of_its_units() -> None:
    checks = judge_day(a_profile([a_row("a")]), [], SHOP)

    assert [each.check for each in checks] == ["duplicates", "volume", "continuity", "could_run"]
    assert {each.outcome.value for each in checks} == {"passed"}


def test_an_id_in_several_units_of_a_day_warns() -> None:
    day = merge([a_profile([a_row("1", transaction_id="o")]), a_profile([a_row("2", transaction_id="o")])])

    assert the("duplicates", judge_day(day, [], SHOP)) == ("warning", "failed")


@pytest.mark.parametrize(
    ("rows", "history", "outcome"),
    [
        (4, [1] * 7, "passed"),
        (5, [1] * 7, "failed"),
        (1, [4] * 7, "passed"),
        (0, [4] * 7, "failed"),
        (9, [1] * 6, "passed"),
        (1, [100] * 10 + [1] * 28, "passed"),
        (0, [0] * 7, "passed"),
        (1, [0] * 7, "failed"),
    ],
    ids=[
        *("four times", "more", "a quarter", "nothing", "six days are too few", "28 days count"),
        *("nothing as ever", "something for once"),
    ],
)
def test_a_day_far_from_its_history_warns(rows: int, history: list[int], outcome: str) -> None:
    profile = a_profile([a_row(str(n)) for n in range(rows)])

    assert the("volume", judge_day(profile, history, SHOP))[1] == outcome


@pytest.mark.parametrize(
    ("today", "before", "outcome"),
    [
        ([a_statement(20, 30, credits=10), a_statement(10, 20, credits=10)], None, "passed"),
        ([a_statement(10, 20, credits=10), a_statement(25, 30, credits=5)], None, "failed"),
        ([a_statement(10, 20, credits=10)], [a_statement(0, 10, credits=10)], "passed"),
        ([a_statement(11, 20, credits=9)], [a_statement(0, 10, credits=10)], "failed"),
        ([a_statement(11, 20, credits=9)], [a_statement(0, 10, credits=10, account="other")], "passed"),
        ([a_statement(11, 20, credits=9)], [a_statement(0, 10, credits=10, currency="USD")], "passed"),
        ([a_statement(10, 10)], [a_statement(0, 10, credits=10)], "passed"),
    ],
    ids=[
        *("in any order", "a gap within the day", "follows the day before", "a gap to the day before"),
        *("another account", "another currency", "a day without movement"),
    ],
)
def test_statements_continue_one_another(
    today: list[StatementControls], before: list[StatementControls] | None, outcome: str
) -> None:
    earlier = None if before is None else a_profile(controls=before)

    checks = judge_day(a_profile(controls=today), [], BANK, before=earlier)

    assert the("continuity", checks) == ("warning", outcome)


def test_a_statement_delivered_twice_is_one_statement() -> None:
    statement = a_profile(controls=[a_statement(10, 20, credits=10)])

    assert the("continuity", judge_day(merge([statement, statement]), [], BANK))[1] == "passed"


def test_too_many_statements_to_remember_are_no_failure() -> None:
    day = merge([replace(a_profile(), balances=None), a_profile(controls=[a_statement(1, 1)])])

    assert the("continuity", judge_day(day, [], BANK)) == ("warning", "could_not_run")


def test_outcomes_are_plain_enough_for_the_catalogue() -> None:
    judged = judge_unit(a_profile([a_row("a")], rejected=1), SHOP)

    [rejects] = [each.as_mapping() for each in judged.checks if each.check == "rejects"]

    assert json.loads(json.dumps(rejects)) == {
        "check": "rejects",
        "severity": "critical",
        "outcome": "failed",
        "counts": {"rejected_records": 1},
    }


def test_another_expectation_is_another_suite() -> None:
    expecting = a_source([{"type": "expect_column_values_to_not_be_null", "column": "note"}])

    assert suite_digest(SHOP) == suite_digest(a_source())
    assert len({suite_digest(SHOP), suite_digest(BANK), suite_digest(expecting)}) == 3


def test_loading_the_room_loads_neither_great_expectations_nor_pandas() -> None:
    """A code location loads every room, and 4 seconds and 200 MB are much for that."""
    loaded = "[name for name in ('great_expectations', 'pandas') if name in sys.modules]"
    program = f"import sys, actuals_pipelines.validate; print({loaded})"

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert printed.stdout.strip() == "[]"


def test_a_profile_shows_no_amount_and_no_account() -> None:
    profile = a_profile([a_row("a", amount_minor_units=987654321)], controls=[a_statement(987654321, 987654321)])

    assert "987654321" not in f"{profile!r} {profile.ids!r} {profile.balances!r}"
    assert "NL91" not in f"{profile!r} {profile.balances!r}"
    assert isinstance(Profile.from_bytes(profile.to_bytes()), Profile)
