"""OFX: SGML and XML, encodings, amounts, dates, currencies, corrections; what is broken, and banks' samples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actuals_pipelines.readers import FileRefused
from actuals_pipelines_tests.readers.reading import minor_units, outcome, read, references
from actuals_pipelines_tests.readers.samples import sample

SGML = "OFXHEADER:100\nDATA:OFXSGML\nVERSION:102\nENCODING:USASCII\nCHARSET:1252\n\n"
XML = '<?xml version="1.0" encoding="UTF-8"?>\n<?OFX OFXHEADER="200" VERSION="211"?>\n'


def entry(amount: str = "-5.50", posted: str = "20260131", more: str = "", fitid: str = "F1") -> str:
    return f"<STMTTRN><TRNTYPE>DEBIT<DTPOSTED>{posted}<TRNAMT>{amount}<FITID>{fitid}{more}</STMTTRN>"


def document(*entries: str, currency: str = "EUR", header: str = SGML, encoding: str = "utf-8") -> bytes:
    """One bank statement of January 2026 that closes with 94.50."""
    body = "\n".join(entries)
    return (
        f"{header}<OFX><BANKMSGSRSV1><STMTTRNRS><STATUS><CODE>0<SEVERITY>INFO</STATUS><STMTRS><CURDEF>{currency}"
        f"<BANKACCTFROM><BANKID>1<ACCTID>4711</BANKACCTFROM><BANKTRANLIST><DTSTART>20260101<DTEND>20260131\n"
        f"{body}</BANKTRANLIST><LEDGERBAL><BALAMT>94.50<DTASOF>20260131</LEDGERBAL></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>"
    ).encode(encoding)


def test_an_entry_of_unclosed_tags_is_a_row() -> None:
    more = "<CHECKNUM>12<NAME>Shop &amp; Sons<MEMO>Order 4711"
    [row], reading = read("ofx", document(entry(more=more)))

    assert row["transaction_id"] == "F1"
    assert row["booked_on"] == "2026-01-31"
    assert minor_units([row]) == [-550]
    assert (row["account"], row["statement"]) == ("4711", "2026-01-01/2026-01-31")
    assert (row["counterparty"], row["text"]) == ("Shop & Sons", "Shop & Sons\nOrder 4711")
    assert references(row) == {"check": "12"}
    [controls] = reading.controls
    assert (controls.opening, controls.closing, controls.debits, controls.gap) == (None, 9450, 550, None)


def test_xml_and_sgml_read_alike() -> None:
    closed = document(entry(more="<MEMO>a"), header=XML).decode()
    for name in ("TRNTYPE", "DTPOSTED", "TRNAMT", "FITID", "MEMO", "CURDEF", "ACCTID", "BALAMT"):
        start, _, rest = closed.partition(f"<{name}>")
        value, _, tail = rest.partition("<")
        closed = f"{start}<{name}>{value}</{name}><{tail}"

    rows, _ = read("ofx", closed.encode())

    assert [{**row, "_line": 0} for row in rows] == [
        {**row, "_line": 0} for row in read("ofx", document(entry(more="<MEMO>a")))[0]
    ]


@pytest.mark.parametrize(
    ("written", "minor"),
    [
        ("-5.50", -550), ("+5.5", 550), ("12,50", 1250), ("1.234,56", 123456), ("1,234.56", 123456), ("7", 700),
        ("-00000000001500.0000", -150000), (".5", 50), ("1,234,567.89", 123456789), ("1 234,50", 123450),
    ],
)  # fmt: skip
def test_amounts_are_read_with_point_or_comma(written: str, minor: int) -> None:
    [row], _ = read("ofx", document(entry(written)))

    assert minor_units([row]) == [minor]


@pytest.mark.parametrize("written", ["$120", "", "1,234", "12-", "1,2,3", "1.2.3", "abc", "--5", "NaN", "1e5"])
def test_an_amount_that_is_none_rejects_its_row_alone(written: str) -> None:
    rows, reading = read("ofx", document(entry(written), entry("1.00")))

    assert minor_units(rows) == [100]
    assert [(line, field) for line, field, _ in reading.rejects] == [(8, "TRNAMT")]


def test_more_decimals_than_the_currency_has_need_a_stated_rule() -> None:
    assert read("ofx", document(entry("115.8351")))[1].rejects
    [row], reading = read("ofx", document(entry("115.8351")), rounding="half_up")

    assert (row["amount"], row["original_amount"]) == ("115.84", "115.8351")
    assert reading.controls[0].credits == 11584


@pytest.mark.parametrize(
    ("posted", "day", "instant"),
    [
        ("20260131", "2026-01-31", None),
        ("20260131233000", "2026-01-31", None),
        ("20260131233000.000[-5:EST]", "2026-01-31", "2026-01-31T23:30:00-05:00"),
        ("20260131013000[+5.5:IST]", "2026-01-31", "2026-01-31T01:30:00+05:30"),
        ("20260131120000[-:EST]", "2026-01-31", None),
    ],
)
def test_the_booking_day_is_the_one_that_is_written(posted: str, day: str, instant: str | None) -> None:
    [row], _ = read("ofx", document(entry(posted=posted)))

    assert (row["booked_on"], row["timestamp"]) == (day, instant)


@pytest.mark.parametrize("posted", ["", "20260230", "31.01.2026"])
def test_a_day_that_is_none_rejects_its_row(posted: str) -> None:
    rows, reading = read("ofx", document(entry(posted=posted)))

    assert not rows
    assert [field for _, field, _ in reading.rejects] == ["DTPOSTED"]


@pytest.mark.parametrize("header", [SGML, XML, SGML.replace("1252", "NONE"), ""])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_the_bytes_tell_the_encoding_better_than_the_header(header: str, encoding: str) -> None:
    [row], _ = read("ofx", document(entry(more="<MEMO>Müller"), header=header, encoding=encoding))

    assert row["text"] == "Müller"


def test_an_amount_in_another_currency_stays_in_it_and_a_converted_one_does_not() -> None:
    foreign = entry(more="<CURRENCY><CURRATE>1.1<CURSYM>USD</CURRENCY>")
    converted = entry(more="<ORIGCURRENCY><CURRATE>1.1<CURSYM>USD</ORIGCURRENCY>")
    rows, reading = read("ofx", document(foreign, converted))

    assert [(r["currency"], r["original_currency"], r["rate"]) for r in rows] == [
        ("USD", None, "1.1"),
        ("EUR", "USD", "1.1"),
    ]
    assert {(c.currency, c.debits, c.closing) for c in reading.controls} == {("USD", 550, None), ("EUR", 550, 9450)}


def test_a_correction_takes_the_place_of_what_it_corrects() -> None:
    replaced = entry(fitid="F2", more="<CORRECTFITID>F1<CORRECTACTION>REPLACE")
    deleted = entry(fitid="F3", more="<CORRECTFITID>F0<CORRECTACTION>DELETE")
    rows, reading = read("ofx", document(replaced, deleted))

    assert [(r["transaction_id"], r["status"]) for r in rows] == [("F1", "booked"), ("F0", "informational")]
    assert reading.controls[0].entries == 1


@pytest.mark.parametrize("fitid", ["0", "", "0000"])
def test_an_id_of_zeros_is_none(fitid: str) -> None:
    [row], _ = read("ofx", document(entry(fitid=fitid)))

    assert row["transaction_id"] is None


def test_texts_keep_their_stray_signs_and_sections() -> None:
    rows, _ = read("ofx", document(entry(more="<MEMO>a < b & c"), entry(more="<MEMO><![CDATA[x <b> &amp; y]]>")))

    assert [row["text"] for row in rows] == ["a < b & c", "x <b> &amp; y"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (document(entry())[:-6], "cut off"),
        (b"<!DOCTYPE x [<!ENTITY e 'e'>]>" + document(entry(), header=""), "DOCTYPE"),
        (b"OFXHEADER:100\n\n<OFX></OFX>", "no statement"),
        (b"OFXHEADER:100\n\n", "no OFX element"),
    ],
)
def test_what_is_no_statement_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(FileRefused, match=why):
        read("ofx", data)


def test_many_entries_are_read_in_batches_and_none_is_lost() -> None:
    rows, reading = read("ofx", document(*(entry(f"-{place}.00", fitid=f"F{place}") for place in range(1, 20_001))))

    assert len(rows) == 20_000
    assert reading.controls[0].debits == 100 * sum(range(1, 20_001))
    assert rows[-1]["_line"] == 20_007


# Entries, credits, debits, closing, rejects; added up by hand from the samples.
@pytest.mark.parametrize(
    ("name", "statements", "rejects"),
    [
        ("anzcc.ofx", [(1, 0, 550, -12345)], 0),
        ("bank_medium.ofx", [(3, 0, 660 + 31667 + 2200, 38234)], 0),
        ("checking.ofx", [(3, 1, 3451 + 2500, 10099)], 0),
        ("date_missing.ofx", [(0, 0, 0, 0)], 3),
        ("decimal_error.ofx", [(0, 0, 0, 0)], 2),
        ("empty_balance.ofx", [(1, 12000, 0, None)], 0),
        ("fidelity-savings.ofx", [(1, 0, 150000, None)], 3),  # the others have four decimals
        ("investment_medium.ofx", [(3, 335, 730, None), (0, 0, 0, None)], 0),
        ("multiple_accounts.ofx", [(0, 0, 0, 11100), (0, 0, 0, 22200)], 0),
        ("ofx-v102-empty-tags.ofx", [(1, 1234, 0, None)], 0),
        ("suncorp.ofx", [(1, 0, 1685, 123412)], 0),
    ],
)
def test_the_banks_samples_add_up(name: str, statements: list[tuple[int, int, int, int | None]], rejects: int) -> None:
    _, reading = read("ofx", sample("ofx", name))

    assert [(c.entries, c.credits, c.debits, c.closing) for c in reading.controls] == statements
    assert len(reading.rejects) == rejects


@pytest.mark.parametrize(("name", "code"), [("error_message.ofx", "2000"), ("signon_fail.ofx", "15500")])
def test_an_answer_that_is_an_error_is_no_empty_statement(name: str, code: str) -> None:
    with pytest.raises(FileRefused, match=f"error {code}"):
        read("ofx", sample("ofx", name))


_PIECES = (
    "<STMTTRN>", "</STMTTRN>", "<TRNAMT>", "1.00", "<DTPOSTED>20260131", "<![CDATA[", "]]>", "<", ">", "<!--", "-->",
    "<CURRENCY>", "</STMTRS>", "<STMTRS>", "é", "<?x", "&#0;",
)  # fmt: skip


@given(st.lists(st.sampled_from(_PIECES)))
def test_any_order_of_tags_is_read_rejected_or_refused(parts: list[str]) -> None:
    outcome("ofx", document("".join(parts)))


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    outcome("ofx", b"OFXHEADER:100\n<OFX>" + data)
