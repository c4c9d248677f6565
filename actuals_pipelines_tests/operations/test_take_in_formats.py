"""Bank statements in two formats and a settlement report, from landing to the store: nothing is lost on the way."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest

from actuals_pipelines.landing import land as land_stream
from actuals_pipelines.operations.days import statement_findings
from actuals_pipelines.operations.results import DayResult
from actuals_pipelines.operations.take_in import land, publish, validate
from actuals_pipelines.store.live import live
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines.validate import FindingKind
from actuals_pipelines_tests.operations.test_take_in import statement as camt

_SETTLED = (
    "transaction_id: transaction_id, row_id: transaction_id, amount: amount, currency: currency, kind: kind, "
    "booked_on: booked_on"
)
TENANT = f"""
name: acme
start: 2026-11-01
sources:
- {{name: bank, kind: upload, format: camt053}}
- {{name: bank_nl, kind: upload, format: mt940}}
- {{name: payments, kind: upload, format: adyen_settlement, mapping: {{{_SETTLED}, where: kind = 'payment'}}}}
- {{name: fees, from: payments, mapping: {{{_SETTLED}, where: kind = 'fee'}}}}
- {{name: payouts, from: payments, mapping: {{{_SETTLED}, where: kind = 'payout'}}}}
"""
MONDAY, TUESDAY, NOW = date(2026, 11, 16), date(2026, 11, 17), datetime(2026, 11, 18, 12, tzinfo=UTC)
_HEADER = (
    "Merchant Account,Psp Reference,Merchant Reference,Creation Date,TimeZone,Type,Modification Reference,"
    "Gross Currency,Gross Debit (GC),Gross Credit (GC),Exchange Rate,Net Currency,Net Debit (NC),Net Credit (NC),"
    "Commission (NC),Markup (NC),Scheme Fees (NC),Interchange (NC),Batch Number\n"
)


def settlement(*records: tuple[str, str, str, str]) -> bytes:
    """A settlement detail report of one batch; a record is reference, type, net (negative: debit) and commission."""
    lines = []
    for reference, kind, net, commission in records:
        debit, credit = (net[1:], "") if net.startswith("-") else ("", net)
        lines.append(
            f"Shop,P{reference},{reference},2026-11-16 10:00:00,CET,{kind},M{reference},EUR,,,1,EUR,{debit},{credit},"
            f"{commission},,,,7\n"
        )
    return (_HEADER + "".join(lines)).encode()


def mt940(day: date, number: int, opening: str, credit: str, closing: str) -> bytes:
    """A statement of one account with one entry."""
    entry = f":61:{day:%y%m%d}C{credit}NTRFNONREF//B{number}\n:86:Order {number}\n"
    return (
        f":20:S\n:25:NL91ABNA0417164300\n:28C:{number}/1\n:60F:C{day:%y%m%d}EUR{opening}\n{entry}"
        f":62F:C{day:%y%m%d}EUR{closing}\n-\n"
    ).encode()


@pytest.fixture
def acme(applied: Callable[[str], TenantEnvironment]) -> TenantEnvironment:
    """A tenant with two banks and a PSP."""
    return applied(TENANT)


def deliver(acme: TenantEnvironment, source: str, content: bytes, day: date = MONDAY, delivery: str = "") -> None:
    land_stream(
        acme,
        acme.tenant.source(source),
        io.BytesIO(content),
        door="upload",
        delivery=delivery or f"{source} {day}",
        partition=day,
    )


def take_in(acme: TenantEnvironment, name: str, days: tuple[date, ...] = (MONDAY,)) -> list[DayResult]:
    source = acme.tenant.source(name)
    land(acme, source, days, now=NOW)
    judged = validate(acme, source, days)
    publish(acme, source, days)
    return judged


def amounts(acme: TenantEnvironment, name: str) -> list[int]:
    return sorted(live(acme, name).read_all()["amount_minor_units"].to_pylist())


def test_two_banks_and_a_settlement_are_stored_whole_and_once(acme: TenantEnvironment) -> None:
    """The batch: 100.00 less 1.00, 50.00 less 0.50, paid out 148.50."""
    deliver(acme, "bank", camt(MONDAY, "100.00", "10.00", "110.00"))
    deliver(acme, "bank_nl", mt940(MONDAY, 1, "0,00", "5,25", "5,25"))
    report = settlement(
        ("A", "Settled", "99.00", "1.00"), ("B", "Settled", "49.50", "0.50"), ("C", "MerchantPayout", "-148.50", "")
    )
    deliver(acme, "payments", report)
    names = ("bank", "bank_nl", "payments", "fees", "payouts")

    results = {name: take_in(acme, name)[0] for name in names}
    first = {name: amounts(acme, name) for name in names}
    deliver(acme, "payments", report + b"\n", delivery="again")
    deliver(acme, "bank_nl", mt940(MONDAY, 1, "0,00", "5,25", "5,25") + b"\n", delivery="again")
    again = {name: take_in(acme, name) and amounts(acme, name) for name in names}

    assert {name: result.outcome for name, result in results.items()} == dict.fromkeys(names, "passed")
    assert first == {
        "bank": [1000],
        "bank_nl": [525],
        "payments": [5000, 10000],
        "fees": [-100, -50],
        "payouts": [-14850],
    }
    assert again == first, "what comes twice is booked once"
    assert sum(sum(first[name]) for name in ("payments", "fees", "payouts")) == 0
    read = results["payments"].counts
    assert (read["raw"], read["transactions"], read["rejected"]) == (5, 2, 0)


def test_what_cannot_be_read_is_a_reject_and_the_day_says_so(acme: TenantEnvironment) -> None:
    """In is stored and rejected: of two entries one has a mark that means nothing, and the balances show its amount."""
    data = mt940(MONDAY, 1, "0,00", "5,25", "6,25").replace(b":62F:", b":61:261116X1,00NTRFNONREF\n:62F:")
    deliver(acme, "bank_nl", data)

    [result] = take_in(acme, "bank_nl")

    assert result.outcome == "held"
    assert (result.counts["transactions"], result.counts["rejected"]) == (1, 1)
    assert amounts(acme, "bank_nl") == [], "what is held is not published"


def test_a_missing_statement_is_found_by_its_number_and_its_balance(acme: TenantEnvironment) -> None:
    """Statement 1 closes with 5.25, statement 3 opens with 9.00."""
    deliver(acme, "bank_nl", mt940(MONDAY, 1, "0,00", "5,25", "5,25"))
    deliver(acme, "bank_nl", mt940(TUESDAY, 3, "9,00", "1,00", "10,00"), TUESDAY)

    results = take_in(acme, "bank_nl", (MONDAY, TUESDAY))

    [gap] = statement_findings(acme, acme.tenant.source("bank_nl"), TUESDAY)
    assert (gap.kind, gap.before.closing, gap.after.opening) == (FindingKind.GAP, 525, 900)
    assert (gap.before.number, gap.after.number) == ("1", "3")
    assert [[c.outcome for c in day.checks if c.name == "continuity"] for day in results] == [["passed"], ["failed"]]
    assert amounts(acme, "bank_nl") == [100, 525], "it warns and holds nothing"
