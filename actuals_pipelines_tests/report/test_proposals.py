"""Proposals as people read them: who would belong to whom, by which pass, and how sure that is."""

from __future__ import annotations

from dataclasses import replace

from actuals_pipelines.domain.package import Pass
from actuals_pipelines.report.explain import explain
from actuals_pipelines.report.proposals import PROPOSED, proposed_lines
from actuals_pipelines.report.wanted import Wanted
from actuals_pipelines_tests.report.states import ORDERS, closed, facts

PACKAGE = replace(
    ORDERS, passes=(*ORDERS.passes, Pass("same amount", "amount", days=(0, 3), result="proposed")), due={}
)
LEDGER = """
    row  side  id       booked      amount
    a    SOLL  order-1  2026-01-10  60.00 EUR
    b    IST   order-2  2026-01-12  60.00 EUR
    c    SOLL  order-3  2026-01-10  10.00 EUR
    d    SOLL  order-4  2026-01-10  10.00 EUR
    e    IST   order-5  2026-01-10  10.00 EUR
    f    SOLL  order-6  2026-01-10  99.00 EUR
    """
FOUND = closed(LEDGER, PACKAGE)


def sentence(row: str) -> str:
    [found] = explain(FOUND.state.rows, Wanted(row), facts(PACKAGE), FOUND.proposals)
    return found.sentences[-1]


def test_the_list_has_what_can_be_decided_first_and_keeps_a_proposal_together() -> None:
    """One line per group, with its own id, day and amount."""
    lines = proposed_lines(FOUND.state.rows, FOUND.proposals, PACKAGE.name)

    assert lines.schema == PROPOSED
    told = [(each["verdict"], each["side"], each["ids"], each["days_apart"]) for each in lines.to_pylist()]
    assert told[:2] == [("proposed", "soll", "order-1", 2), ("proposed", "ist", "order-2", 2)]
    assert sorted(told[2:4]) == [("ambiguous", "soll", "order-3", None), ("ambiguous", "soll", "order-4", None)]
    assert told[4:] == [("ambiguous", "ist", "order-5", None)]
    assert len(set(lines["proposal"].to_pylist())) == 2
    assert [each["difference"] for each in lines.to_pylist()] == [0, 0, 1000, 1000, 1000]


def test_an_explanation_names_what_is_proposed_and_why() -> None:
    """From either side."""
    assert sentence("order-1") == (
        "Proposed by pass 'same amount' with order-2 on IST, because they add up exactly, 2 days apart; nothing else "
        "does."
    )
    assert "with order-1 on SOLL" in sentence("order-2")


def test_an_explanation_says_how_many_others_fit_equally_well() -> None:
    """Two orders, one payment."""
    assert sentence("order-3") == (
        "Pass 'same amount' cannot tell what it belongs to: order-5 on IST would fit, and 0 others there and 1 other "
        "on its own side fit equally well."
    )


def test_what_no_pass_proposes_is_explained_as_before() -> None:
    """Nothing has its amount."""
    assert sentence("order-6").startswith("No row of psp on IST (what is) has this id")


def test_a_close_without_proposals_has_an_empty_list() -> None:
    assert proposed_lines(FOUND.state.rows, None, PACKAGE.name).equals(PROPOSED.empty_table())
