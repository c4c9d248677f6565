"""A tenant's own expectations: what may be written, and what comes of it on rows."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from actuals_pipelines.domain.unit import Verdict
from actuals_pipelines.validate import (
    CheckOutcome,
    ExpectationRefused,
    Severity,
    check_expectations,
    judge_own,
    own_rows,
)
from actuals_pipelines.validate.expectations import Expected, check, is_accepted
from actuals_pipelines.validate.own import _SHAPES
from actuals_pipelines_tests.validate.units import a_profile, a_row, a_source, a_table, judge_unit

CANARY = "CANARY-7c1f4e"
KINDS: dict[str, Any] = {"type": "expect_column_values_to_be_in_set", "column": "kind", "value_set": ["payment", "fee"]}


def judged(rows: Sequence[dict[str, Any]], *expectations: dict[str, object]) -> list[tuple[str, dict[str, int]]]:
    """Outcome and counts of each expectation."""
    return [(each.outcome.value, dict(each.counts)) for each in judge_own(a_table(rows), a_source(expectations))]


def test_an_expectation_counts_the_rows_that_break_it() -> None:
    rows = [a_row("a"), a_row("b", kind="fee"), a_row("c", kind="gift")]

    [outcome] = judge_own(a_table(rows), a_source([KINDS]))

    assert outcome == CheckOutcome(
        "own_expectations",
        Severity.CRITICAL,
        outcome.outcome.FAILED,
        "1 expect_column_values_to_be_in_set(kind)",
        {"rows": 3, "unexpected": 1},
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"type": "expect_column_values_to_not_be_null", "column": "note"}, ("failed", 3, 1)),
        ({"type": "expect_column_values_to_be_null", "column": "note"}, ("failed", 3, 2)),
        ({"type": "expect_column_values_to_match_regex", "column": "note", "regex": "^x"}, ("failed", 2, 1)),
        (
            {"type": "expect_column_values_to_be_between", "column": "amount_minor_units", "min_value": 0},
            ("failed", 3, 1),
        ),
        (
            {
                "type": "expect_column_values_to_be_between",
                "column": "booked_on",
                "min_value": "2026-01-01",
                "max_value": "2026-01-31",
            },
            ("failed", 2, 1),
        ),
        ({"type": "expect_column_value_lengths_to_equal", "column": "note", "value": 2}, ("passed", 2, 0)),
        (
            {
                "type": "expect_column_pair_values_a_to_be_greater_than_b",
                "column_A": "value_date",
                "column_B": "booked_on",
                "or_equal": True,
            },
            ("failed", 2, 2),
        ),
    ],
    ids=["not null", "null", "regex", "amounts", "days", "lengths", "pairs"],
)
def test_text_amounts_and_days_can_be_judged(written: dict[str, object], expected: tuple[str, int, int]) -> None:
    rows = [
        a_row("a", note="x1"),
        a_row("b", note="y1", amount_minor_units=-1, booked_on=date(2026, 2, 1)),
        a_row("c", booked_on=None),
    ]

    [(outcome, counts)] = judged(rows, written)

    assert (outcome, counts["rows"], counts["unexpected"]) == expected


def test_mostly_is_a_share_of_the_unit_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """All breaking rows lie in the last of ten chunks; one in ten of the unit breaks, and nine in ten suffice."""
    monkeypatch.setattr(own_rows, "CHUNK_ROWS", 10)
    rows = [a_row(str(number), kind="payment" if number < 90 else "gift") for number in range(100)]

    assert judged(rows, KINDS | {"mostly": 0.9}, KINDS | {"mostly": 0.91}) == [
        ("passed", {"rows": 100, "unexpected": 10}),
        ("failed", {"rows": 100, "unexpected": 10}),
    ]


def test_files_are_judged_like_tables() -> None:
    source = a_source([KINDS])
    table = a_table([a_row("a"), a_row("b", kind="gift")])
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(table, Path(folder) / "rows.parquet")

        assert judge_own(ds.dataset(folder), source) == judge_own(table, source)


@pytest.mark.parametrize(
    ("severity", "verdict"), [("hold", Verdict.HELD), ("critical", Verdict.HELD), ("warn", Verdict.PASSED)]
)
def test_severity_decides_whether_it_holds(severity: str, verdict: Verdict) -> None:
    rows = [a_row("a", kind="gift")]

    judgement = judge_unit(a_profile(rows), a_source([KINDS | {"severity": severity}]), a_table(rows))

    assert judgement.verdict is verdict
    assert [each.check for each in judgement.checks][-2:] == ["own_expectations", "could_run"]


def test_without_rows_at_hand_own_expectations_could_not_run() -> None:
    assert judge_unit(a_profile([a_row("a")]), a_source([KINDS])).verdict is Verdict.COULD_NOT_RUN


def test_a_unit_of_no_rows_meets_every_expectation() -> None:
    assert [outcome for outcome, _ in judged([], KINDS)] == ["passed"]


def test_a_column_that_this_unit_lacks_could_not_be_judged_and_others_were() -> None:
    note: dict[str, object] = {"type": "expect_column_values_to_not_be_null", "column": "note"}
    table = a_table([a_row("a")]).drop_columns(["note"])

    lacking, kinds = judge_own(table, a_source([note, KINDS]))

    assert (lacking.outcome.value, kinds.outcome.value) == ("could_not_run", "passed")
    assert lacking.subject == "1 expect_column_values_to_not_be_null(note)"


REFUSED: list[tuple[str, dict[str, object], str]] = [
    ("unknown type", {"type": "expect_miracles", "column": "kind"}, "expect_column_values_to_be_in_set"),
    ("whole unit", {"type": "expect_column_values_to_be_unique", "column": "row_id"}, "to_be_in_set"),
    ("missing argument", {"type": KINDS["type"], "column": "kind"}, "lacks value_set"),
    ("python in a condition", KINDS | {"row_condition": "__import__('os')"}, "type, column, value_set"),
    ("unknown column", KINDS | {"column": "iban"}, "transaction_id"),
    ("uuid column", KINDS | {"column": "row_uid"}, "transaction_id"),
    ("text for a list", KINDS | {"value_set": CANARY}, "a list of texts"),
    ("number for text", KINDS | {"value_set": [1]}, "a list of texts"),
    ("no RE2", {"type": "expect_column_values_to_match_regex", "column": "note", "regex": "(?=x)"}, "RE2"),
    ("no bound", {"type": "expect_column_values_to_be_between", "column": "line"}, "min_value or max_value"),
    ("between texts", {"type": "expect_column_values_to_be_between", "column": "kind", "min_value": 1}, "booked_on"),
    (
        "fraction of a cent",
        {"type": "expect_column_values_to_be_between", "column": "amount_minor_units", "max_value": 0.5},
        "minor units",
    ),
    (
        "no day",
        {"type": "expect_column_values_to_be_between", "column": "booked_on", "max_value": CANARY},
        "2026-01-31",
    ),
    ("severity", KINDS | {"severity": CANARY}, "hold, warn"),
    ("mostly", KINDS | {"mostly": 95}, "from 0 to 1"),
    (
        "different kinds",
        {"type": "expect_column_pair_values_to_be_equal", "column_A": "kind", "column_B": "line"},
        "all text",
    ),
]


@pytest.mark.parametrize(("written", "allowed"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED])
def test_what_cannot_run_is_refused_at_apply_and_is_no_failure_later(written: dict[str, object], allowed: str) -> None:
    source = a_source([KINDS, written])

    with pytest.raises(ExpectationRefused) as refused:
        check_expectations(source)
    ran, outcome = judge_own(a_table([a_row("a")]), source)

    assert allowed in str(refused.value)
    assert "'shop', expectation 2" in str(refused.value)
    assert CANARY not in f"{refused.value} {refused.value!r} {outcome!r}"
    assert (ran.outcome.value, outcome.outcome.value) == ("passed", "could_not_run")


def test_every_type_of_the_language_is_one_of_great_expectations() -> None:
    """Each name makes a class; only its arguments are missing or wrong here, so some other fault would show."""
    arguments: dict[str, object] = {
        "column": "kind",
        "column_A": "kind",
        "column_B": "note",
        "column_list": ["kind", "note"],
        "value_set": ["a"],
        "value_pairs_set": [("a", "b")],
        "regex": "x",
        "regex_list": ["x"],
        "strftime_format": "%Y",
        "value": 1,
        "min_value": 1,
    }
    for name, shape in _SHAPES.items():
        taken = {*shape.columns, *shape.required, *shape.bounds[:1]}
        assert is_accepted(Expected(name, {key: arguments[key] for key in taken})), name


def test_what_is_written_well_is_accepted() -> None:
    check_expectations(a_source([KINDS, KINDS | {"severity": "warn", "mostly": 0.5}]))


def test_no_value_leaves_by_outcome_log_or_warning(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A failing and a raising expectation over a row that holds a canary, with every log line captured."""
    caplog.set_level(logging.DEBUG)
    rows = [a_row("a", note=CANARY, kind=CANARY, transaction_id=CANARY)]
    raising = pa.table({"kind": [CANARY]}).to_pandas()

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        judgement = judge_unit(a_profile(rows), a_source([KINDS]), a_table(rows))
        met = check(
            lambda: raising, [Expected("expect_column_values_to_be_between", {"column": "kind", "min_value": 1})]
        )

    assert judgement.verdict is Verdict.HELD
    assert met == [None]
    printed = "".join(capfd.readouterr())
    assert CANARY not in f"{judgement!r} {caplog.text} {printed} {[str(each.message) for each in warned]}"


def test_a_library_that_falls_over_is_told_by_its_class_alone(caplog: pytest.LogCaptureFixture) -> None:
    def breaking() -> Any:
        raise RuntimeError(CANARY)

    met = check(breaking, [Expected("expect_column_values_to_not_be_null", {"column": "kind"})] * 2)

    assert met == [None, None]
    assert "kind=RuntimeError" in caplog.text
    assert CANARY not in caplog.text
