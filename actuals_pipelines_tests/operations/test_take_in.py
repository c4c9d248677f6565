"""What a day's verdict says of the day before: statements must go on where the last ones ended."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import date

import pytest
import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.landing import destroy_raw, land
from actuals_pipelines.operations.days import statement_findings
from actuals_pipelines.operations.take_in import validate
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines.validate import FindingKind

TENANT = """
name: acme
start: 2026-11-01
sources:
- {name: bank, kind: upload, format: camt053}
"""
MONDAY, TUESDAY, WEDNESDAY = date(2026, 11, 16), date(2026, 11, 17), date(2026, 11, 18)


@pytest.fixture
def acme(applied: Callable[[str], TenantEnvironment]) -> TenantEnvironment:
    """A tenant with a bank account and nothing landed."""
    return applied(TENANT)


def statement(day: date, opening: str, credit: str, closing: str) -> bytes:
    """A camt.053.001.08 statement of one account with one entry (ISO 20022, Stmt/Bal and Stmt/Ntry)."""

    def balance(code: str, amount: str) -> str:
        return (
            f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy='EUR'>{amount}</Amt>"
            f"<CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>"
        )

    entry = (
        f"<Ntry><NtryRef>1</NtryRef><Amt Ccy='EUR'>{credit}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>"
        f"<BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt><AcctSvcrRef>A{day}</AcctSvcrRef></Ntry>"
    )
    return (
        "<Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'><BkToCstmrStmt><Stmt>"
        f"<Id>S{day}</Id><Acct><Id><IBAN>NL02ABNA0123456789</IBAN></Id><Ccy>EUR</Ccy></Acct>"
        f"{balance('OPBD', opening)}{balance('CLBD', closing)}{entry}</Stmt></BkToCstmrStmt></Document>"
    ).encode()


@pytest.mark.parametrize(
    ("opening", "closing", "verdict"),
    [("110.00", "115.00", "passed"), ("111.00", "116.00", "failed")],
    ids=["goes on", "one euro is missing between"],
)
def test_tuesdays_statement_goes_on_where_mondays_ended(
    acme: TenantEnvironment, opening: str, closing: str, verdict: str
) -> None:
    """Each statement chains within itself; only the two together show the gap. It warns and holds nothing."""
    bank = acme.tenant.source("bank")
    for day, content in (
        (MONDAY, statement(MONDAY, "100.00", "10.00", "110.00")),
        (TUESDAY, statement(TUESDAY, opening, "5.00", closing)),
    ):
        land(acme, bank, io.BytesIO(content), door="upload", delivery=str(day), partition=day)

    monday, tuesday = validate(acme, bank, [MONDAY, TUESDAY])

    assert [one.outcome for one in (monday, tuesday)] == ["passed", "passed"]
    assert {check.outcome for check in monday.checks if check.name == "continuity"} == {"passed"}
    assert {check.outcome for check in tuesday.checks if check.name == "continuity"} == {verdict}


def test_the_missing_range_is_told_to_the_tenants_people_and_only_counted_elsewhere(acme: TenantEnvironment) -> None:
    """Monday closes with 110.00, Tuesday opens with 111.00; Wednesday brings what was between, late."""
    bank = acme.tenant.source("bank")
    late = statement(MONDAY, "110.00", "1.00", "111.00").replace(b"<Id>S2026-11-16</Id>", b"<Id>S-between</Id>")
    for day, content in (
        (MONDAY, statement(MONDAY, "100.00", "10.00", "110.00")),
        (TUESDAY, statement(TUESDAY, "111.00", "5.00", "116.00")),
        (WEDNESDAY, late),
    ):
        land(acme, bank, io.BytesIO(content), door="upload", delivery=str(day), partition=day)

    results = validate(acme, bank, [MONDAY, TUESDAY, WEDNESDAY])

    [gap] = statement_findings(acme, bank, TUESDAY)
    assert (gap.kind, gap.before.closing, gap.after.opening) == (FindingKind.GAP, 11000, 11100)
    assert (gap.before.statement, gap.after.statement) == (f"S{MONDAY}", f"S{TUESDAY}")
    [out_of_order] = statement_findings(acme, bank, WEDNESDAY)
    assert (out_of_order.kind, out_of_order.after.opening) == (FindingKind.OUT_OF_ORDER, 11100)
    assert [[c.outcome for c in day.checks if c.name == "continuity"] for day in results] == [
        *(["passed"], ["failed"], ["failed"])
    ]
    assert "11100" not in repr(results)


def test_what_a_killed_run_read_is_judged_without_reading_it_again(acme: TenantEnvironment) -> None:
    """Its raw bytes are gone by then; the profile and the rows that were kept are enough for a verdict."""
    bank = acme.tenant.source("bank")
    content = statement(MONDAY, "100.00", "10.00", "110.00")
    unit = land(acme, bank, io.BytesIO(content), door="upload", delivery="monday", partition=MONDAY)
    validate(acme, bank, [MONDAY])
    with acme.engine.begin() as connection:
        made = sa.update(tables.generation).where(tables.generation.c.unit_id == unit.id)
        connection.execute(made.values(state="superseded"))
        connection.execute(made.values(state="candidate", verdict=None))
    destroy_raw(acme, unit)

    [monday] = validate(acme, bank, [MONDAY])

    assert (monday.outcome, monday.counts["transactions"]) == ("passed", 1)
