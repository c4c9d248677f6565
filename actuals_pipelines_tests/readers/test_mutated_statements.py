"""Statements with bytes changed, cut out and put in: each entry is read or rejected, or the file is refused."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from actuals_pipelines.readers import FileRefused
from actuals_pipelines_tests.readers.reading import read

MT940 = (
    b"{1:F01BANKDEFF}{2:O940BANK}{4:\r\n:20:STARTUMS\r\n:25:10020030/1234567\r\n:28C:7/1\r\n:60F:C260130EUR100,00\r\n"
    b":61:2601300131DR60,5NTRFINV-17//B1\r\n/OCMT/USD70,1//CHGS/USD1,/\r\n:86:166?00GUT?20EREF+order-1?21SVWZ+Order "
    b"\r\n1?31DE89370400440532013000?32Anna?33B\r\n:61:260131RC1,00S051NONREF\r\n:NS:01one\r\n15Name\r\n"
    b":61:2602300301C2,00NMSCNONREF\r\n:86:/EREF/o-1//CNTP/NL91ABNA0417164300/B/J/A//REMI/USTD//Order \xc3\xbc/\r\n"
    b":62M:C260131EUR40,50\r\n:86:/SUM/1/2/3,00/12,00/\r\n-}{5:}\r\n:20:STARTUMS\r\n:25:10020030/1234567\r\n:28C:7/2\r\n"
    b":60M:C260131EUR40,50\r\n:61:260131EC5,NTRF\r\n:86:free\r\n-\r\ntext\r\n:62F:C260131EUR40,50\r\n-\r\n"
)
CAMT = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08">'
    b"<BkToCstmrStmt><GrpHdr/><Stmt><Id>S1</Id><Acct><Id><IBAN>NL02ABNA0123456789</IBAN></Id><Ccy>EUR</Ccy></Acct>"
    b'<Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">1.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>'
    b"<Dt><Dt>2026-01-30</Dt></Dt></Bal>"
    b'<Ntry><NtryRef>1</NtryRef><Amt Ccy="EUR">60.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><RvslInd>false</RvslInd>'
    b"<Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>2026-01-31</Dt></BookgDt><ValDt><DtTm>2026-02-01T08:00:00+01:00</DtTm>"
    b"</ValDt><AcctSvcrRef>B1</AcctSvcrRef><Chrgs><Rcrd><Amt Ccy='EUR'>1.00</Amt><ChrgInclInd>true</ChrgInclInd></Rcrd>"
    b'</Chrgs><NtryDtls><Btch><NbOfTxs>2</NbOfTxs></Btch><TxDtls><Refs><EndToEndId>a</EndToEndId></Refs><Amt Ccy="EUR">'
    b"20.00</Amt><RmtInf><Ustrd>Order &amp; \xc3\xbc</Ustrd></RmtInf></TxDtls><TxDtls><Refs><TxId>b</TxId></Refs>"
    b'<Amt Ccy="EUR">40.00</Amt><RltdPties><Dbtr><Pty><Nm>A</Nm></Pty></Dbtr></RltdPties></TxDtls></NtryDtls></Ntry>'
    b'<Ntry><Amt Ccy="USD">0.00</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts>PDNG</Sts></Ntry></Stmt>'
    b"</BkToCstmrStmt></Document>"
)
_PIECES = [
    *(b":61:", b"\n:61:260131C1,NTRFX", b":86:", b"\n-\n", b"\n:62F:C260131EUR1,", b"\n:20:", b"?20", b"//", b"\0"),
    *(
        b"<Ntry>",
        b"</Ntry>",
        b"<Stmt>",
        b"</Stmt>",
        b"<TxDtls/>",
        b"<!--",
        b"]]>",
        b"&x;",
        b"</Document>",
        b"<!DOCTYPE a>",
    ),
    *(b"99999999999999999999", b"-", b",", b"\xff", b"\xc3", b"\r", b"\n", b" ", b"\xef\xbb\xbf", b"\xe2\x82\xac"),
]
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1), st.integers(0, 30), st.one_of(st.sampled_from(_PIECES), st.binary(max_size=4), st.just(b""))
    ),
    min_size=1,
    max_size=5,
)


def mutated(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    """Each edit cuts some bytes out at a place and puts others in."""
    for place, cut, piece in edits:
        at = int(place * len(data))
        data = data[:at] + piece + data[at + cut :]
    return data


@settings(max_examples=150, deadline=None)
@given(EDITS)
def test_no_mutation_loses_an_entry_of_mt940(edits: list[tuple[float, int, bytes]]) -> None:
    data = mutated(MT940, edits)
    try:
        rows, reading = read("mt940", data)
    except FileRefused:
        return

    begun = len(re.findall(rb"(?:^|[\r\n]):61:", data.removeprefix(b"\xef\xbb\xbf")))
    assert len(rows) + len(reading.rejects) == begun
    assert sum(each.entries for each in reading.controls) == sum(row["status"] == "booked" for row in rows)


@settings(max_examples=150, deadline=None)
@given(EDITS, st.sampled_from(["true", "false"]))
def test_no_mutation_loses_an_entry_of_camt(edits: list[tuple[float, int, bytes]], details: str) -> None:
    data = mutated(CAMT, edits)
    try:
        rows, reading = read("camt053", data, details=details)
    except FileRefused:
        return

    entries = [row for row in rows if row["level"] == "entry"]
    assert _entries(data) in (None, len(entries) + len(reading.rejects))
    assert sum(each.entries for each in reading.controls) == sum(row["status"] == "booked" for row in entries)
    assert all(row["parent_id"] for row in rows if row["level"] == "detail")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["camt053", "camt052", "camt054", "mt940", "mt942"]))
def test_any_bytes_are_read_or_refused(data: bytes, format: str) -> None:
    try:
        rows, reading = read(format, data)
    except FileRefused:
        return

    assert rows == [] or reading.controls


def _entries(data: bytes) -> int | None:
    """How many Ntry another parser finds; None if that one takes a character for wrong that libxml2 takes."""
    whole = re.sub(rb"^\s*(?:\xef\xbb\xbf)?<\?xml.*?\?>", b"", data, flags=re.DOTALL)
    try:
        found = ET.fromstring(b"<All>" + whole + b"</All>")  # noqa: S314 - what libxml2 has read without harm
    except ET.ParseError:
        return None
    return sum(each.tag.rpartition("}")[2] == "Ntry" for each in found.iter())
