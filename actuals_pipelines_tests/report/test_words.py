"""What the engine says in codes is said in words."""

from __future__ import annotations

import re
from pathlib import Path

from actuals_pipelines import reconcile
from actuals_pipelines.reconcile import claims, reasons
from actuals_pipelines.reconcile.proposals import VERDICTS
from actuals_pipelines.report.words import REASONS, reason_in_words

_MATCHING = (Path(reconcile.__path__[0]) / "MATCHING.md").read_text()


def test_every_reason_of_the_engine_has_words_and_none_is_never_given() -> None:
    """Held against the engine's own decision, and against what MATCHING.md promises."""
    decision = re.search(r"CASE(.*?)END AS reason", Path(reasons.__file__).read_text(), re.DOTALL)
    table = re.search(r"\| reason \| when \|(.*?)\n\n", _MATCHING, re.DOTALL)
    assert decision is not None
    assert table is not None

    given = {*re.findall(r"(?:THEN|ELSE) '(\w+)'", decision[1]), *VERDICTS}
    given |= set(re.findall(r"THEN '(\w+)'", Path(claims.__file__).read_text()))
    promised = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]*)\|", table[1], re.MULTILINE))))

    assert len(given) > 5
    assert given == promised == set(REASONS)


def test_a_reason_without_words_is_still_told() -> None:
    assert reason_in_words("missing_ist") == "is in SOLL, not in IST"
    assert reason_in_words("a_newer_one") == "a newer one"
    assert reason_in_words(None) is None
