"""CAMT.053: entries, signs, statuses, details, balances; and what hostile or broken files get."""

from __future__ import annotations

import io
from datetime import date
from typing import Any

import pytest

from actuals_pipelines.readers import FileRefused, OptionRefused, Reading, open_reader
from actuals_pipelines_tests.readers import reading as readers
from actuals_pipelines_tests.readers.reading import references
from actuals_pipelines_tests.readers.samples import sample

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


def read(data: bytes, format: str = "camt053", **options: str) -> tuple[list[dict[str, Any]], Reading]:
    return readers.read(format, data, **options)


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
    reading = open_reader("camt053").read(io.BytesIO(document(statement(*[OLD] * 10_000))), {})

    sizes = [batch.num_rows for batch in reading.batches]

    assert sizes == [8192, 1808]
    assert reading.controls[0].credits == 10_000 * 6000


def entry(*parts: str, amount: str = "20.00", direction: str = "CRDT", currency: str = "EUR") -> str:
    return (
        f'<Ntry><NtryRef>9</NtryRef><Amt Ccy="{currency}">{amount}</Amt><CdtDbtInd>{direction}</CdtDbtInd>'
        f"<Sts>BOOK</Sts><BookgDt><Dt>2026-01-31</Dt></BookgDt>{''.join(parts)}</Ntry>"
    )


def detail(*parts: str, amount: str = "", direction: str = "") -> str:
    own = f'<Amt Ccy="EUR">{amount}</Amt>' if amount else ""
    return f"<TxDtls>{own}{f'<CdtDbtInd>{direction}</CdtDbtInd>' if direction else ''}{''.join(parts)}</TxDtls>"


def details(*parts: str) -> str:
    return f"<NtryDtls>{''.join(parts)}</NtryDtls>"


def test_the_details_of_a_batch_are_rows_below_it_where_asked_for_and_count_in_no_sum() -> None:
    parts = (detail("<Refs><TxId>t1</TxId></Refs>", amount="15.00"), detail(amount="5.00"))
    data = document(statement(entry(details(*parts))))

    rows, reading = read(data, details="true")

    assert [(row["level"], row["transaction_id"], row["parent_id"], row["amount"]) for row in rows] == [
        ("entry", "S1/9", None, "20.00"),
        ("detail", "t1", "S1/9", "15.00"),
        ("detail", "S1/9/2", "S1/9", "5.00"),
    ]
    assert reading.controls[0].credits == 2000
    assert len(read(data)[0]) == 1


@pytest.mark.parametrize(
    ("parts", "off"),
    [
        ((detail(amount="15.00"), detail(amount="5.00")), False),
        ((detail(amount="15.00"), detail(amount="4.00")), True),
        ((detail(amount="25.00"), detail(amount="5.00", direction="DBIT")), False),
        ((detail(amount="15.00"), detail()), False),
        (("<Btch><NbOfTxs>3</NbOfTxs></Btch>", detail(amount="15.00"), detail(amount="4.00")), False),
        (("<Btch><NbOfTxs>2</NbOfTxs></Btch>", detail(amount="15.00"), detail(amount="4.00")), True),
    ],
    ids=["they do", "they do not", "of both directions", "one has none", "some are missing", "none is missing"],
)
def test_whether_the_details_add_up_is_noted(parts: tuple[str, ...], off: bool) -> None:
    _, reading = read(document(statement(entry(details(*parts)))))

    assert reading.notes.get("details_off") == ("1, first at entry 1" if off else None)


@pytest.mark.parametrize(
    ("included", "gross", "fee", "net"),
    [("true", "22.50", "-2.50", "20.00"), ("false", None, None, None), (None, None, None, None)],
    ids=["inside", "beside", "it does not say"],
)
def test_charges_are_part_of_the_amount_only_where_the_bank_says_so(
    included: str | None, gross: str | None, fee: str | None, net: str | None
) -> None:
    flag = f"<ChrgInclInd>{included}</ChrgInclInd>" if included else ""
    charges = f'<Chrgs><Rcrd><Amt Ccy="EUR">2.50</Amt><CdtDbtInd>DBIT</CdtDbtInd>{flag}</Rcrd></Chrgs>'

    [row], _ = read(document(statement(entry(charges))))

    assert (row["amount"], row["gross"], row["fee"], row["net"]) == ("20.00", gross, fee, net)
    assert (row["charges"], row["charges_included"]) == ("-2.50", included)


def test_the_amount_in_the_other_currency_stands_beside_with_its_rate() -> None:
    exchange = "<CcyXchg><SrcCcy>USD</SrcCcy><XchgRate>1.15</XchgRate></CcyXchg>"
    amounts = (
        f'<AmtDtls><InstdAmt><Amt Ccy="USD">23.00</Amt></InstdAmt><TxAmt><Amt Ccy="EUR">20.00</Amt>{exchange}</TxAmt>'
        "</AmtDtls>"
    )

    [row], _ = read(document(statement(entry(details(detail(amounts)), direction="DBIT"))))

    assert (row["original_amount"], row["original_currency"], row["rate"]) == ("-23.00", "USD", "1.15")


@pytest.mark.parametrize(
    ("wrong", "path", "reason"),
    [
        (entry(amount="8.85001"), "Ntry/Amt", "more than 2 decimals"),
        (entry(amount="-8.85"), "Ntry/Amt", "a sign beside its direction"),
        (entry(amount="8,85"), "Ntry/Amt", "not a decimal number"),
        (entry(amount="8.85", currency="eur"), "Ntry/Amt", "ISO 4217"),
        (entry(direction="CREDIT"), "Ntry/CdtDbtInd", "CRDT or DBIT"),
        (entry().replace("2026-01-31", "2026-02-31"), "Ntry/BookgDt", "not a date"),
        (entry().replace("BOOK", "LATER"), "Ntry/Sts", "BOOK, PDNG"),
    ],
)
def test_an_entry_that_cannot_be_read_is_a_reject_with_its_path_and_without_its_value(
    wrong: str, path: str, reason: str
) -> None:
    rows, reading = read(document(statement(entry(), wrong, entry())))

    assert [row["_line"] for row in rows] == [1, 3]
    [(line, field, why)] = reading.rejects
    assert (line, field) == (2, path) and reason in why
    assert "8.85" not in why and "8,85" not in why


@pytest.mark.parametrize(
    ("amount", "options", "text", "stated"),
    [
        ("8.85000", {}, "8.85", None),
        ("8.855", {"rounding": "half_up"}, "8.86", "8.855"),
        ("8.845", {"rounding": "half_even"}, "8.84", "8.845"),
        ("8.859", {"rounding": "down"}, "8.85", "8.859"),
        ("0", {}, "0", None),
    ],
)
def test_decimals_beyond_the_currencys_are_rounded_only_by_a_stated_rule(
    amount: str, options: dict[str, str], text: str, stated: str | None
) -> None:
    [row], _ = read(document(statement(entry(amount=amount))), **options)

    assert (row["amount"], row["amount_stated"]) == (text, stated)


@pytest.mark.parametrize("option", [{"rounding": "up"}, {"details": "yes"}])
def test_an_option_without_meaning_is_refused(option: dict[str, str]) -> None:
    with pytest.raises(OptionRefused):
        read(document(statement(OLD)), **option)


@pytest.mark.parametrize("between", [b"", b"\n\n", b"\n<!-- next -->\n", b"\xef\xbb\xbf"])
def test_documents_that_follow_one_another_in_a_file_are_all_read(between: bytes) -> None:
    one, two = document(statement(OLD, name="S1")), document(statement(BATCH, name="S2"), version="08")

    rows, reading = read(between.join([one, two.split(b"\n", 1)[1] if between == b"" else two, one]))

    assert [row["statement"] for row in rows] == ["S1", "S2", "S1"]
    assert (reading.notes["documents"], len(reading.controls)) == ("3", 3)


def test_the_second_document_of_a_file_may_not_be_broken() -> None:
    with pytest.raises(FileRefused, match="document 2"):
        read(document(statement(OLD)) + document(statement(OLD))[:-30])


def test_a_document_in_its_business_envelope_is_read() -> None:
    inner = document(statement(OLD)).split(b"\n", 1)[1]

    rows, _ = read(b"<BizMsg><AppHdr><MsgDefIdr>camt.053.001.02</MsgDefIdr></AppHdr>" + inner + b"</BizMsg>")

    assert len(rows) == 1


def test_utf_16_is_read() -> None:
    text = document(statement(OLD)).decode().replace('<?xml version="1.0"?>', '<?xml version="1.0" encoding="UTF-16"?>')

    assert len(read(text.encode("utf-16"))[0]) == 1


def test_we_are_not_our_own_counterparty() -> None:
    """Some banks give the parties of a reversal, or of an odd direction, the other way round."""
    own = "<DbtrAcct><Id><IBAN>NL02ABNA0123456789</IBAN></Id></DbtrAcct>"
    other = "<Cdtr><Nm>B. Supplier</Nm></Cdtr><CdtrAcct><Id><IBAN>NL91ABNA0417164300</IBAN></Id></CdtrAcct>"
    parties = detail(f"<RltdPties>{own}{other}</RltdPties>")

    [row], _ = read(document(statement(entry(details(parties)))))

    assert (row["counterparty"], row["counterparty_account"]) == ("B. Supplier", "NL91ABNA0417164300")


def test_references_and_kinds_come_from_the_only_detail() -> None:
    refs = "<Refs><EndToEndId>NOTPROVIDED</EndToEndId><InstrId>i</InstrId><MndtId>m</MndtId><UETR>u</UETR></Refs>"
    structured = (
        "<RmtInf><Strd><RfrdDocInf><Tp><CdOrPrtry><Cd>CINV</Cd></CdOrPrtry></Tp><Nb>INV-1</Nb></RfrdDocInf>"
        "<CdtrRefInf><Ref>RF1</Ref></CdtrRefInf></Strd></RmtInf>"
    )
    back = "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>"
    code = "<BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>IDDT</Cd><SubFmlyCd>UPDD</SubFmlyCd></Fmly></Domn></BkTxCd>"

    [row], _ = read(document(statement(entry(code, details(detail(refs, structured, back))))))

    assert references(row) == {
        "instruction": "i",
        "mandate": "m",
        "uetr": "u",
        "creditor_ref": "RF1",
        "document": "INV-1",
        "invoice": "INV-1",
    }
    assert (row["kind"], row["return_reason"], row["end_to_end"]) == ("chargeback", "AC04", None)


def test_a_statement_tells_its_number_and_its_days() -> None:
    period = (
        "<ElctrncSeqNb>17</ElctrncSeqNb><FrToDt><FrDtTm>2026-01-30T00:00:00+01:00</FrDtTm>"
        "<ToDtTm>2026-01-31T00:00:00+01:00</ToDtTm></FrToDt>"
    )

    _, reading = read(document(statement(period, entry())))

    [controls] = reading.controls
    assert (controls.number, controls.first_on, controls.last_on) == ("17", date(2026, 1, 30), date(2026, 1, 31))


# Entries with their details, sums of booked credits and debits in minor units, whether the balances chain (None: one of
# them is missing or in another currency): counted with the standard library's parser.
@pytest.mark.parametrize(
    ("name", "rows", "credits", "debits", "chain"),
    [
        ("camt052.v1.xml", 1, 0, 20000000, [None]),
        ("camt052.v2.other-account.xml", 1, 0, 20000000, [None]),
        ("camt052.v2.xml", 1, 0, 20000000, [None]),
        ("camt052.v6.Amt-zero.xml", 1, 0, 0, [None]),
        ("camt052.v8.xml", 1, 0, 20000000, [None]),
        ("camt053.v2.all-balance-types.xml", 1, 885, 0, [False]),
        ("camt053.v2.five.decimals.xml", 1, 885, 0, [False]),
        ("camt053.v2.minimal.ultimate.xml", 1, 885, 0, [None]),
        ("camt053.v2.multi.statement.xml", 2, 885, 700, [True, True]),
        ("camt053.v2.with-party-ids.xml", 1, 885, 0, [None]),
        ("camt053.v3.xml", 1, 885, 0, [None]),
        ("camt053.v4.xml", 1, 885, 0, [None]),
        ("camt053.v8.xml", 1, 885, 0, [None]),
        ("camt53.only-Dt-with-DtTm.xml", 0, 0, 0, [None]),
        ("camt054.v2.xml", 4, 0, 20000000, [None]),
        ("camt054.v4.xml", 4, 0, 20000000, [None]),
        ("camt054.v8-with-UETR.xml", 1, 0, 20000000, [None]),
        ("camt054.v8.xml", 4, 0, 20000000, [None]),
    ],
)
def test_the_samples_of_banks_are_read_whole(
    name: str, rows: int, *, credits: int, debits: int, chain: list[bool | None]
) -> None:
    format = "camt053" if name.startswith("camt53") else name.split(".", maxsplit=1)[0]

    found, reading = read(sample(format, name), format, details="true")

    assert (len(found), reading.rejects) == (rows, [])
    assert sum(each.credits for each in reading.controls) == credits
    assert sum(each.debits for each in reading.controls) == debits
    assert [None if each.gap is None else each.gap == 0 for each in reading.controls] == chain


def test_the_sample_without_a_statement_is_refused() -> None:
    with pytest.raises(FileRefused, match="no Stmt"):
        read(sample("camt053", "camt053.v2.wrong.xml"))
