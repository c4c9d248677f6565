"""CAMT.053: entries, signs, statuses, details, balances; and what hostile or broken files get."""

from __future__ import annotations

import io
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from actuals_pipelines.readers import FileRefused, Reading, open_reader

# A plain entry, a batch, a reversal and a pending entry, written for these tests.
ENTRY = """
<Ntry><NtryRef>1</NtryRef><Amt Ccy="EUR">60.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>{status}
  <BookgDt><Dt>2026-01-31</Dt></BookgDt><ValDt><DtTm>2026-02-01T08:00:00+01:00</DtTm></ValDt>
  <AcctSvcrRef>BANK-1</AcctSvcrRef>
  <BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn></BkTxCd>
  <NtryDtls><TxDtls><Refs><EndToEndId>order-123</EndToEndId></Refs>
    <RltdPties>{debtor}<DbtrAcct><Id><IBAN>NL91ABNA0417164300</IBAN></Id></DbtrAcct></RltdPties>
    <RmtInf><Ustrd>Order 123</Ustrd><Ustrd>thanks</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>"""
OLD = ENTRY.format(status="<Sts>BOOK</Sts>", debtor="<Dbtr><Nm>A. Customer</Nm></Dbtr>")
NEW = ENTRY.format(status="<Sts><Cd>BOOK</Cd></Sts>", debtor="<Dbtr><Pty><Nm>A. Customer</Nm></Pty></Dbtr>")
BATCH = """
<Ntry><NtryRef>2</NtryRef><Amt Ccy="EUR">20.00</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts>BOOK</Sts>
  <BookgDt><DtTm>2026-01-31T23:30:00+01:00</DtTm></BookgDt>
  <NtryDtls><Btch><NbOfTxs>2</NbOfTxs></Btch>
    <TxDtls><Refs><EndToEndId>a</EndToEndId></Refs></TxDtls><TxDtls><Refs><EndToEndId>b</EndToEndId></Refs></TxDtls>
  </NtryDtls><AddtlNtryInf>Batch of two</AddtlNtryInf></Ntry>"""
REVERSAL = """
<Ntry><Amt Ccy="EUR">5.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><RvslInd>true</RvslInd><Sts>BOOK</Sts>
  <BookgDt><Dt>2026-01-31</Dt></BookgDt></Ntry>"""
PENDING = '<Ntry><Amt Ccy="EUR">7.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>PDNG</Sts></Ntry>'


def balance(code: str, amount: str, direction: str = "CRDT", sub: str = "") -> str:
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry>{sub}</Tp>"
        f'<Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>{direction}</CdtDbtInd></Bal>'
    )


def statement(*parts: str, name: str = "S1") -> str:
    account = "<Acct><Id><IBAN>NL02ABNA0123456789</IBAN></Id><Ccy>EUR</Ccy></Acct>"
    return f"<Stmt><Id>{name}</Id>{account}{''.join(parts)}</Stmt>"


def document(*statements: str, version: str = "02") -> bytes:
    space = f' xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version}"' if version else ""
    body = "".join(statements)
    return f'<?xml version="1.0"?>\n<Document{space}><BkToCstmrStmt>{body}</BkToCstmrStmt></Document>'.encode()


def read(data: bytes, format: str = "camt053") -> tuple[list[dict[str, Any]], Reading]:
    reading = open_reader(format).read(io.BytesIO(data), {})
    return reading.table().to_pylist(), reading


@pytest.mark.parametrize(("entry", "version"), [(OLD, "02"), (OLD, "07"), (NEW, "08"), (NEW, "14"), (OLD, "")])
def test_an_entry_with_one_detail_is_one_row_with_its_details_columns(entry: str, version: str) -> None:
    [row], _ = read(document(statement(entry), version=version))

    expected = {
        "statement": "S1",
        "account": "NL02ABNA0123456789",
        "level": "entry",
        "transaction_id": "BANK-1",
        "amount": "60.00",
        "currency": "EUR",
        "status": "booked",
        "booked_on": "2026-01-31",
        "value_date": "2026-02-01",
        "bank_code": "PMNT/RCDT/ESCT",
        "end_to_end": "order-123",
        "counterparty": "A. Customer",
        "counterparty_account": "NL91ABNA0417164300",
        "text": "Order 123\nthanks",
        "_line": 1,
    }
    assert {name: row[name] for name in expected} == expected


def test_a_batch_stays_one_row_with_the_amount_that_moved() -> None:
    [row], _ = read(document(statement(BATCH)))

    assert (row["amount"], row["details"], row["transactions"]) == ("-20.00", "2", "2")
    assert (row["end_to_end"], row["text"]) == (None, "Batch of two")
    assert (row["booked_on"], row["transaction_id"]) == ("2026-01-31", "S1/2")


def test_a_reversal_keeps_the_sign_of_its_direction() -> None:
    """RvslInd says that a debit is undone; CRDT says already that money comes in."""
    [row], _ = read(document(statement(REVERSAL)))

    assert (row["amount"], row["is_reversal"]) == ("5.00", "true")


def test_pending_entries_are_rows_and_in_no_sum() -> None:
    rows, reading = read(document(statement(balance("OPBD", "100"), balance("CLBD", "160"), OLD, PENDING)))

    assert [row["status"] for row in rows] == ["booked", "pending"]
    [controls] = reading.controls
    assert (controls.credits, controls.entries, controls.gap) == (6000, 1, 0)


def test_balances_chain_from_opening_to_closing() -> None:
    _, reading = read(document(statement(balance("OPBD", "100.00"), balance("CLBD", "145.00"), OLD, BATCH, REVERSAL)))

    [controls] = reading.controls
    assert (controls.opening, controls.closing) == (10000, 14500)
    assert (controls.credits, controls.debits, controls.entries) == (6500, 2000, 3)
    assert controls.gap == 0 and controls.agrees


def test_a_missing_entry_shows_as_a_gap_and_in_the_stated_sums() -> None:
    summary = (
        "<TxsSummry><TtlNtries><NbOfNtries>2</NbOfNtries></TtlNtries>"
        "<TtlCdtNtries><Sum>65.00</Sum></TtlCdtNtries><TtlDbtNtries><Sum>0</Sum></TtlDbtNtries></TxsSummry>"
    )
    _, reading = read(document(statement(balance("PRCD", "0"), balance("CLBD", "65"), summary, OLD)))

    [controls] = reading.controls
    assert controls.gap == 500
    assert (controls.stated_entries, controls.stated_credits, controls.stated_debits) == (2, 6500, 0)
    assert not controls.agrees


def test_a_sub_balance_is_not_the_statements_balance() -> None:
    sub = "<SubTp><Cd>XXXX</Cd></SubTp>"
    _, reading = read(document(statement(balance("OPBD", "1", sub=sub), balance("OPBD", "9", "DBIT"))))

    assert reading.controls[0].opening == -900


def test_each_statement_of_a_file_has_its_own_controls() -> None:
    rows, reading = read(document(statement(OLD, name="S1"), statement(name="S2"), statement(BATCH, name="S3")))

    assert [(row["statement"], row["_line"]) for row in rows] == [("S1", 1), ("S3", 2)]
    assert [(c.statement, c.credits, c.debits) for c in reading.controls] == [
        ("S1", 6000, 0),
        ("S2", 0, 0),
        ("S3", 0, 2000),
    ]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b'<!DOCTYPE a [<!ENTITY x "y">]>\n' + document(statement(OLD)).split(b"\n", 1)[1], "DOCTYPE"),
        (document(statement(OLD))[:-40], "ends in the middle"),
        (document(statement(OLD)) + b"and more", "not well-formed"),
        (document(), "no Stmt"),
        (document(statement(OLD)).replace(b"BkToCstmrStmt", b"BkToCstmrAcctRpt"), "it is camt052"),
        (b"<Invoice><Id>1</Id></Invoice>", "not a Document with BkToCstmrStmt"),
        (b"<a>" * 5000, "not well-formed"),
    ],
    ids=["doctype", "half a file", "something after it", "no statement", "another message", "another root", "deep"],
)
def test_what_is_no_whole_statement_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(FileRefused, match=what):
        read(data)


def test_an_entity_is_never_expanded() -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>'
    data = bomb + document(statement(OLD.replace("Order 123", "&b;&c;"))).split(b"\n", 1)[1]

    with pytest.raises(FileRefused) as refusal:
        read(data)
    assert "root:" not in str(refusal.value)


def test_broken_xml_is_refused_with_its_line_and_without_its_text() -> None:
    data = document(statement("\n\n<Ntry><Amt>SECRET</Ntry>"))

    with pytest.raises(FileRefused) as refusal:
        read(data)
    assert refusal.value.line == 4
    assert "SECRET" not in str(refusal.value)


def test_memory_does_not_grow_with_the_number_of_entries() -> None:
    """Entries are forgotten as they pass: the second batch comes from a tree that does not hold the first."""
    reading = open_reader("camt053").read(io.BytesIO(document(statement(*[OLD] * 20_000))), {})

    sizes = [batch.num_rows for batch in reading.batches]

    assert sizes == [8192, 8192, 3616]
    assert reading.controls[0].credits == 20_000 * 6000


@pytest.fixture
def bank_files() -> Path:
    """Banks' own sample files, which are not ours to copy: ACTUALS_SAMPLES names the folder with their `camt053`."""
    named = os.environ.get("ACTUALS_SAMPLES")
    if not named:
        pytest.skip("the banks' sample files are not part of the repository; ACTUALS_SAMPLES names their folder")
    return Path(named) / "camt053"


@pytest.mark.parametrize(
    ("name", "entries", "amounts"),
    [
        ("camt053.v2.all-balance-types.xml", 1, ["8.85"]),
        ("camt053.v2.five.decimals.xml", 1, ["8.85"]),
        ("camt053.v2.minimal.ultimate.xml", 1, ["8.85"]),
        ("camt053.v2.multi.statement.xml", 2, ["8.85", "-7.00"]),
        ("camt053.v2.with-party-ids.xml", 1, ["8.85"]),
        ("camt053.v3.xml", 1, ["8.85"]),
        ("camt053.v4.xml", 1, ["8.85"]),
        ("camt053.v8.xml", 1, ["8.85"]),
        ("camt53.only-Dt-with-DtTm.xml", 0, []),
    ],
)
def test_the_banks_samples_are_read_whole(bank_files: Path, name: str, entries: int, amounts: list[str]) -> None:
    rows, reading = read((bank_files / name).read_bytes())

    assert len(rows) == entries
    assert [Decimal(row["amount"]) for row in rows] == [Decimal(amount) for amount in amounts]
    assert all(row["status"] == "booked" and row["booked_on"] for row in rows)
    assert reading.controls


def test_the_sample_of_several_statements_chains(bank_files: Path) -> None:
    _, reading = read((bank_files / "camt053.v2.multi.statement.xml").read_bytes())

    assert [controls.gap for controls in reading.controls] == [0, 0]


def test_the_sample_without_a_statement_is_refused(bank_files: Path) -> None:
    with pytest.raises(FileRefused, match="no Stmt"):
        read((bank_files / "camt053.v2.wrong.xml").read_bytes())
