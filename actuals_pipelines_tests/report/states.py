"""Closes for report tests, made by the engine itself from small ledgers."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from actuals_pipelines.domain.package import Due, ExplanationRule, MatchingPackage, Member, Side, Tolerance
from actuals_pipelines.reconcile.close import Closed, Pins, close
from actuals_pipelines.reconcile.due import due_day
from actuals_pipelines.report.explain import CloseFacts
from actuals_pipelines_tests.reconcile.ledgers import BY_ID, BY_PAYOUT, IN_TEXT, ORDERS_VS_PSP, ledger

DAY = date(2026, 2, 10)

ORDERS = replace(
    ORDERS_VS_PSP,
    passes=(BY_ID, IN_TEXT),
    tolerance=Tolerance({"EUR": 5}),
    due={Side.IST: Due(3, business=True)},
    explanations=(ExplanationRule("fee kept", "fee", "balance_difference = money('0.35 EUR')"),),
)
PAYOUTS = MatchingPackage(
    name="payout_made_up_of",
    soll=(Member("psp", take="kind <> 'payout'"),),
    ist=(Member("psp", take="kind = 'payout'", is_reversed=True),),
    passes=(BY_PAYOUT,),
)


def closed(text: str, package: MatchingPackage = ORDERS, day: date = DAY) -> Closed:
    """The first close of a package over a ledger."""
    return close(None, ledger(text), [], package, Pins(day))


def facts(package: MatchingPackage = ORDERS, day: date = DAY, coverage: dict[str, date] | None = None) -> CloseFacts:
    """What an explanation may know beside the rows; due days as the engine counts them."""

    def last_day(side: Side, first: date) -> date | None:
        due = package.due.get(side)
        return due_day(first, due) if due else None

    return CloseFacts(package, day, last_day, coverage)
