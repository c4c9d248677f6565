"""The evaluator counts defects, not rows, and calls every other open group a false alarm."""

from __future__ import annotations

from datetime import date
from uuid import UUID

import pyarrow as pa

from actuals_pipelines.operations.demo_data import compare, missed
from actuals_pipelines.operations.demo_data.defects import TRUTH
from actuals_pipelines.tables import RESULTS

PACKAGE = "orders_vs_psp"


def test_a_defect_is_found_when_status_reason_and_difference_are_right() -> None:
    truth = _truth(_defect("missing_ist-1", "missing_ist", "S1", 500, reasons=["missing_ist"]))
    results = _results(_result("soll", "shop", "S1", "unmatched", reason="missing_ist", difference=500))

    assert _scores(truth, results) == {"missing_ist": (1, 1, 0)}


def test_a_defect_under_another_reason_is_missed_and_shown() -> None:
    truth = _truth(_defect("missing_ist-1", "missing_ist", "S1", 500, reasons=["missing_ist"]))
    results = _results(_result("soll", "shop", "S1", "unmatched", reason="not_due", difference=500))

    assert _scores(truth, results) == {"missing_ist": (1, 0, 0)}
    [row] = missed(truth, results, PACKAGE).to_pylist()
    assert (row["row_id"], row["reason"]) == ("S1", "not_due")


def test_a_wrong_difference_is_not_found() -> None:
    truth = _truth(_defect("missing_ist-1", "missing_ist", "S1", 500, reasons=["missing_ist"]))
    results = _results(_result("soll", "shop", "S1", "unmatched", reason="missing_ist", difference=499))

    assert _scores(truth, results) == {"missing_ist": (1, 0, 0)}


def test_a_defect_with_two_rows_counts_once_and_needs_both() -> None:
    truth = _truth(
        _defect("typo-1", "typo", "S1", 500, reasons=["missing_ist"]),
        _defect("typo-1", "typo", "P1", -500, side="ist", source="psp", reasons=["missing_soll"]),
    )
    one = _result("soll", "shop", "S1", "unmatched", reason="missing_ist", difference=500)
    both = (one, _result("ist", "psp", "P1", "unmatched", reason="missing_soll", difference=-500, group="g2"))

    assert _scores(truth, _results(one)) == {"typo": (1, 0, 0)}
    assert _scores(truth, _results(*both)) == {"typo": (1, 1, 0)}


def test_an_open_group_without_a_defect_is_one_false_alarm_of_the_kind_it_claims() -> None:
    truth = _truth(_defect("missing_ist-1", "missing_ist", "S1", 500, reasons=["missing_ist"]))
    results = _results(
        _result("soll", "shop", "S1", "unmatched", reason="missing_ist", difference=500),
        _result("soll", "shop", "S2", "explained", category="refund_due", difference=-700, group="g2"),
        _result("ist", "psp", "P2", "explained", category="refund_due", difference=-700, group="g2"),
        _result("soll", "shop", "S3", "matched", difference=0, group="g3"),
    )

    assert _scores(truth, results) == {"missing_ist": (1, 1, 0), "duplicate": (0, 0, 1)}


def test_the_other_rows_of_a_defects_group_are_no_false_alarm() -> None:
    truth = _truth(_defect("duplicate-1", "duplicate", "S1", -500, status="explained", category="refund_due"))
    results = _results(
        _result("soll", "shop", "S1", "explained", category="refund_due", difference=-500),
        _result("ist", "psp", "P1", "explained", category="refund_due", difference=-500),
    )

    assert _scores(truth, results) == {"duplicate": (1, 1, 0)}


def test_other_packages_truth_does_not_count() -> None:
    truth = _truth({**_defect("payout_missing-1", "payout_missing", "PO1", 5), "package": "payout_vs_bank"})

    assert _scores(truth, _results()) == {}


def _scores(truth: pa.Table, results: pa.Table) -> dict[str, tuple[int, int, int]]:
    rows = compare(truth, results, PACKAGE).to_pylist()
    return {row["kind"]: (row["injected"], row["found"], row["false_alarms"]) for row in rows}


def _defect(
    defect: str,
    kind: str,
    row_id: str,
    difference: int,
    *,
    side: str = "soll",
    source: str = "shop",
    status: str = "unmatched",
    reasons: list[str] | None = None,
    category: str | None = None,
) -> dict[str, object]:
    return {
        "defect_id": defect,
        "package": PACKAGE,
        "kind": kind,
        "day": date(2026, 1, 12),
        "side": side,
        "source": source,
        "row_id": row_id,
        "transaction_id": "ORD-1",
        "currency": "EUR",
        "balance_difference": difference,
        "expected_status": status,
        "expected_reasons": reasons or [],
        "expected_category": category,
    }


def _result(
    side: str,
    source: str,
    row_id: str,
    status: str,
    *,
    reason: str | None = None,
    category: str | None = None,
    difference: int = 0,
    group: str = "g1",
) -> dict[str, object]:
    return {
        "side": side,
        "source": source,
        "row_uid": UUID(int=hash(row_id) & 0xFFFF),
        "row_id": row_id,
        "transaction_id": "ORD-1",
        "currency": "EUR",
        "amount_minor_units": 500,
        "status": status,
        "reason": reason,
        "balance_difference": difference,
        "group_id": group,
        "pass": None,
        "category": category,
    }


def _truth(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=TRUTH)


def _results(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist([{**row, "row_uid": row["row_uid"].bytes} for row in rows], schema=RESULTS)  # type: ignore[attr-defined]
