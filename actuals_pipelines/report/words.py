"""What codes mean, in the words of the people who act on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SIDES = {"soll": "SOLL (what should be)", "ist": "IST (what is)"}

REASONS = {
    "missing_ist": "is in SOLL, not in IST",
    "missing_soll": "is in IST, not in SOLL",
    "amount_differs": "is on both sides with different amounts",
    "currency_differs": "is on both sides in different currencies",
    "duplicate": "was booked twice on one side",
    "key_too_common": "has an id that too many rows share",
    "not_due": "is not due yet",
    "source_late": "waits for a source that is not complete",
    "proposed": "has no common id, but a pass proposes what it belongs to",
    "ambiguous": "fits several others equally well",
    "search_unfinished": "was looked for among too many others to tell",
    "contested": "was matched by hand, and a row outside carries its id",
    "explanation_void": "is not what it was when it was explained",
}
"""Every reason that the engine gives (MATCHING.md 3), and no other."""

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
