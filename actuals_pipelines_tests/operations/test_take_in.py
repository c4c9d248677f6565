"""What a day's verdict says of the day before: statements must go on where the last ones ended."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import date
from pathlib import Path
from uuid import uuid4

import pytest

from actuals_pipelines.encryption.keyring import TenantKeys
from actuals_pipelines.landing import land
from actuals_pipelines.operations.take_in import validate
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines.tenants.parse import parse_tenant
from actuals_pipelines_tests.conftest import TenantDatabase

TENANT = """
name: acme
start: 2026-11-01
sources:
- {name: bank, kind: upload, format: camt053}
"""
MONDAY, TUESDAY = date(2026, 11, 16), date(2026, 11, 17)


@pytest.fixture
def acme(tenant_database: Callable[..., TenantDatabase], tmp_path: Path) -> TenantEnvironment:
    """A tenant with a bank account and nothing landed."""
    database = tenant_database()
    prefix = tmp_path / database.ref.prefix
    prefix.mkdir(mode=0o700)
    keys = TenantKeys(database.ref, uuid4().bytes * 2, uuid4().bytes * 2, uuid4().bytes * 2)
    return TenantEnvironment(database.ref, parse_tenant(TENANT, "acme.yaml"), database.app, keys, prefix)


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
