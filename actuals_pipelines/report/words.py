"""What codes mean, in the words of the people who act on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SIDES = {"soll": "SOLL (what should be)", "ist": "IST (what is)"}

REASONS = {
    "missing_ist": "nothing on IST answers it",
    "missing_soll": "nothing on SOLL calls for it",
    "amount_differs": "both sides are there, their amounts differ",
    "currency_differs": "the other side has this id in another currency",
    "duplicate": "a second real line on one side",
    "not_due": "the other side is still in time",
    "source_late": "the other side's source has not delivered yet",
    "key_too_common": "its id is on too many rows to join them",
    "proposed": "a match is proposed and waits for approval",
    "ambiguous": "several matches fit equally well",
    "search_unfinished": "the search for a match ran out of its budget",
    "contested": "a match by hand is contested by a later row",
    "reopened": "a late row opened it again",
    "explanation_void": "it changed after it was explained",
    "rate_missing": "its exchange rate is missing",
    "period_closed": "its period is closed",
}

BRIDGE = {
    "unmatched": "unmatched",
    "in_transit": "in transit",
    "explained": "explained",
    "expected": "expected difference",
    "within_tolerance": "within tolerance",
}

CHECKS = {
    "readable": "it cannot be read",
    "totals_agree": "what the source states does not agree with what it delivered",
    "rejects": "records could not become transactions",
    "ids": "ids are missing or repeated",
    "complete": "records, rows or amounts got lost on the way",
    "own_rows": "rows fail an expectation of the tenant's own",
}

FINDINGS = {
    "gap": "a statement is missing between these",
    "overlap": "these two overlap",
    "reissue": "the second came again with other balances; it counts",
    "out_of_order": "the first came after the second",
}


def reason_in_words(reason: str | None) -> str | None:
    """A reason's code in a few words; the code itself where there are none."""
    return None if reason is None else REASONS.get(reason, reason.replace("_", " "))


def plural(count: int, noun: str) -> str:
    """Return "1 row", "2 rows"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def check_in_words(check: Mapping[str, Any]) -> str:
    """Why a check of a unit did not pass: what it means, whose it is, what was counted; names and counts only."""
    if check["outcome"] == "could_not_run":
        start = "it could not run, which says nothing about the data"
    else:
        start = check.get("reason") or CHECKS.get(check["check"], "it does not hold")
    subject = f" [{check['subject']}]" if check.get("subject") else ""
    counted = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in check.get("counts", {}).items() if n)
    return f"{start}{subject}" + (f": {counted}" if counted else "")
