"""MT940 and MT942: signs, dates, references, the dialects of :86:, pages, balances; and what broken files get."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest

from actuals_pipelines.readers import FileEmpty, FileRefused, Reading
from actuals_pipelines_tests.readers import reading as readers
from actuals_pipelines_tests.readers.reading import references
from actuals_pipelines_tests.readers.samples import sample

HEAD = ":20:STARTUMS\n:25:10020030/1234567\n:28C:00007/001\n:60F:C260130EUR100,00\n"


def statement(*fields: str, closing: str = ":62F:C260131EUR100,00", head: str = HEAD) -> str:
    return head + "\n".join((*fields, closing)) + "\n-\n"


def read(text: str | bytes, format: str = "mt940", **options: str) -> tuple[list[dict[str, Any]], Reading]:
    return readers.read(format, text if isinstance(text, bytes) else text.encode(), **options)


def entry(line: str, *more: str) -> dict[str, Any]:
    [row], reading = read(statement(line, *more))
    assert reading.rejects == []
    return row


def test_an_entry_has_its_dates_sign_amount_and_references() -> None:
    row = entry(":61:2601300131DR60,5NTRFINV-2026-17//BANKREF1", ":86:Office rent")

    expected = {
        "statement": "00007",
        "account": "10020030/1234567",
        "level": "entry",
        "transaction_id": "BANKREF1",
        "kind": "payment",
        "status": "booked",
        "value_date": "2026-01-30",
        "booked_on": "2026-01-31",
        "amount": "-60.5",
        "currency": "EUR",
        "text": "Office rent",
        "bank_code": "NTRF",
        "_line": 5,
    }
    assert {name: row[name] for name in expected} == expected
    assert references(row) == {"acct_svcr": "BANKREF1", "customer_ref": "INV-2026-17"}


@pytest.mark.parametrize(
    ("mark", "amount", "is_reversal"),
    [
        ("C", "5.00", "false"),
        ("D", "-5.00", "false"),
        ("RC", "-5.00", "true"),
        ("RD", "5.00", "true"),
        ("CR", "5.00", "false"),
        ("DR", "-5.00", "false"),
        ("RCR", "-5.00", "true"),
        ("rd", "5.00", "true"),
    ],
)
def test_a_reversed_credit_is_money_out_and_a_reversed_debit_is_money_in(
    mark: str, amount: str, is_reversal: str
) -> None:
    """The R after C or D is the funds code, the third letter of EUR; before it, it is the reversal."""
    row = entry(f":61:260130{mark}5,00NTRFNONREF")

    assert (row["amount"], row["is_reversal"]) == (amount, is_reversal)


def test_reversals_chain_with_the_balances() -> None:
    _, reading = read(
        statement(
            ":61:260131C10,00NTRFNONREF",
            ":61:260131RC10,00NTRFNONREF",
            ":61:260131D3,00NTRFNONREF",
            ":61:260131RD3,00NTRFNONREF",
            ":61:260131D0,01NTRFNONREF",
            closing=":62F:C260131EUR99,99",
        )
    )

    [controls] = reading.controls
    assert (controls.opening, controls.closing, controls.credits, controls.debits) == (10000, 9999, 1300, 1301)
    assert controls.gap == 0
    assert (controls.number, controls.first_on, controls.last_on) == ("00007", date(2026, 1, 30), date(2026, 1, 31))


def test_expected_entries_are_pending_and_in_no_sum() -> None:
    rows, reading = read(statement(":61:260131EC10,00NTRFNONREF", ":61:260131ED4,00NTRFNONREF"))

    assert [(row["status"], row["amount"]) for row in rows] == [("pending", "10.00"), ("pending", "-4.00")]
    assert (reading.controls[0].entries, reading.controls[0].gap) == (0, 0)


@pytest.mark.parametrize(
    ("dates", "value_date", "booked_on", "stated"),
    [
        ("2601310201", "2026-01-31", "2026-02-01", None),
        ("2512310102", "2025-12-31", "2026-01-02", None),
        ("2601021231", "2026-01-02", "2025-12-31", None),
        ("260131", "2026-01-31", "2026-01-31", None),
        ("260131    ", "2026-01-31", "2026-01-31", None),
        ("2602300301", "2026-02-28", "2026-03-01", "2602300301"),
        ("2402300301", "2024-02-29", "2024-03-01", "2402300301"),
        ("991231", "1999-12-31", "1999-12-31", None),
    ],
)
def test_the_entry_date_takes_the_nearest_year_and_30_february_the_last_day(
    dates: str, value_date: str, booked_on: str, stated: str | None
) -> None:
    row = entry(f":61:{dates}C5,00NTRFNONREF")

    assert (row["value_date"], row["booked_on"], row["stated_date"]) == (value_date, booked_on, stated)


@pytest.mark.parametrize(
    ("line", "customer_ref", "bank_ref"),
    [
        ("C5,NTRF", None, None),
        ("C5,NTRFNONREF", None, None),
        ("C5,NTRFNONREF//", None, None),
        ("C5,NTRFA reference longer than sixteen", "A reference longer than sixteen", None),
        ("C000000000005,00N102EREF", None, None),
        ("C5,00S   X//9X", "X", "9X"),
        ("CN5,00NTRFone//two", "one", "two"),
        ("C5,", None, None),
    ],
)
def test_references_are_taken_as_banks_write_them(line: str, customer_ref: str | None, bank_ref: str | None) -> None:
    row = entry(f":61:260131{line}")

    assert (row["amount"].rstrip("0").rstrip("."), row["acct_svcr_ref"]) == ("5", bank_ref)
    assert references(row).get("customer_ref") == customer_ref


def test_an_account_in_the_place_of_the_reference_is_the_counterparty_and_no_reference() -> None:
    row = entry(":61:260131C5,NOVBNL91ABNA0417164300\na person", ":86:NL91ABNA0417164300 a person\n\nThanks")

    assert (row["counterparty_account"], row["counterparty"]) == ("NL91ABNA0417164300", "a person")
    assert row["references"] is None


def test_a_bank_reference_that_stands_twice_in_a_message_is_no_id() -> None:
    rows, _ = read(
        statement(":61:260131C5,NTRFa//SAME", ":61:260131C5,NTRFb//SAME", ":61:260131C5,NTRFc//OTHER", closing="")
    )

    assert [row["transaction_id"] for row in rows] == [None, None, "OTHER"]
    assert [row["acct_svcr_ref"] for row in rows] == ["SAME", "SAME", "OTHER"]


def test_subfields_with_sepa_tags_give_references_text_and_counterparty() -> None:
    """Subfields of 27 characters go on in the next one, and lines of 65 are cut anywhere."""
    row = entry(
        ":61:260131C5,NTRFKREF+",
        ":86:166?00GUTSCHRIFT?109300?20EREF+order-2026-000000000123?214567?22M",
        "REF+MANDATE-1?23CRED+DE98ZZZ09999999999?24SVWZ+Order 1234 and other g?25oods?30DEUTDEFF?31",
        "DE89370400440532013000?32Anna?33Beispiel?34000?60ABWA+The real payer",
    )

    assert references(row) == {"end_to_end": "order-2026-0000000001234567", "mandate": "MANDATE-1"}
    assert row["text"] == "Order 1234 and other goods"
    assert (row["counterparty"], row["counterparty_account"]) == ("Anna Beispiel", "DE89370400440532013000")
    assert (row["ultimate_party"], row["creditor_id"]) == ("The real payer", "DE98ZZZ09999999999")
    assert (row["bank_code"], row["booking_text"], row["end_to_end"]) == (
        "NTRF/166",
        "GUTSCHRIFT",
        "order-2026-0000000001234567",
    )


@pytest.mark.parametrize(
    "text",
    [
        "~00PRZELEW~20Faktura 17/2026~21za styczen~3010600076~31PL61109010140000071219812874~32Jan~33Kowalski",
        "020+00PRZELEW+20Faktura 17/2026+21za styczen+3010600076+31PL61109010140000071219812874+32Jan+33Kowalski",
        "020<00PRZELEW<20Faktura 17/2026<21za styczen<38PL61109010140000071219812874<32Jan<33Kowalski",
    ],
    ids=["tilde", "plus", "less than"],
)
def test_subfields_with_other_signs_are_the_same(text: str) -> None:
    row = entry(":61:260131C5,NTRFNONREF", f":86:{text}")

    assert (row["text"], row["counterparty"]) == ("Faktura 17/2026 za styczen", "Jan Kowalski")
    assert row["counterparty_account"] == "PL61109010140000071219812874"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "/TRTP/SEPA OVERBOEKING/IBAN/NL91ABNA0417164300/BIC/ABNANL2A/NAME/J. Jansen/REMI/Order 17/EREF/order-17",
            ("J. Jansen", "NL91ABNA0417164300", "Order 17", {"end_to_end": "order-17"}),
        ),
        (
            "/EREF/order-17//CNTP/NL91ABNA0417164300/ABNANL2A/J. Jansen/AMSTERDAM//REMI/USTD//Order 17/",
            ("J. Jansen", "NL91ABNA0417164300", "Order 17", {"end_to_end": "order-17"}),
        ),
        (
            "/EREF/NOTPROVIDED/ORDP//NAME/J. Jansen/REMI/STRD/CUR/RF18539007547034/MARF/M-1/CSID/NL99ZZZ1",
            ("J. Jansen", None, "STRD/CUR/RF18539007547034", {"creditor_ref": "RF18539007547034", "mandate": "M-1"}),
        ),
    ],
    ids=["ABN AMRO", "ING", "structured"],
)
def test_codes_between_slashes_give_references_text_and_counterparty(
    text: str, expected: tuple[str, str | None, str, dict[str, str]]
) -> None:
    row = entry(":61:260131C5,NTRFNONREF", f":86:{text}")

    assert (row["counterparty"], row["counterparty_account"], row["text"], references(row)) == expected


def test_a_full_line_goes_on_in_the_middle_of_a_word_and_a_short_one_does_not() -> None:
    first = "x" * 57 + "Invo"  # 61 and the tag make 65

    row = entry(":61:260131C5,NTRFNONREF", f":86:{first}\nice 17\nthanks")

    assert row["text"] == "x" * 57 + "Invoice 17\nthanks"


def test_non_swift_lines_give_purpose_and_name() -> None:
    row = entry(":61:260131C5,S051NONREF", ":NS:01Purpose one\n02Purpose two\n15Anna\n16Beispiel\n17Credit")

    assert (row["text"], row["counterparty"], row["booking_text"]) == (
        "Purpose one\nPurpose two",
        "Anna Beispiel",
        "Credit",
    )


def test_an_amount_in_another_currency_and_charges_are_taken_from_the_supplementary_details() -> None:
    other = entry(":61:260131D5,NTRFNONREF//1\n/OCMT/USD5,75/")
    charged = entry(":61:260131D5,NTRFNONREF//1\n/OCMT/EUR4,50//CHGS/EUR0,50/")

    assert (other["original_amount"], other["original_currency"]) == ("-5.75", "USD")
    assert (charged["gross"], charged["fee"], charged["net"]) == ("-4.50", "-0.50", "-5")


def test_pages_that_chain_are_one_statement() -> None:
    page = (
        ":20:R\n:25:ACC\n:28C:9/{page}\n:60{opens}:C260131EUR{opening}\n:61:260131C1,00NTRFNONREF\n"
        ":62{ends}:C260131EUR{closing}\n-\n"
    )
    text = "".join(
        page.format(page=number, opens=opens, ends=ends, opening=opening, closing=closing)
        for number, opens, ends, opening, closing in (
            (1, "F", "M", "10,00", "11,00"),
            (2, "M", "M", "11,00", "12,00"),
            (3, "M", "F", "12,00", "13,00"),
        )
    )

    rows, reading = read(text)

    [controls] = reading.controls
    assert (controls.opening, controls.closing, controls.entries, controls.gap) == (1000, 1300, 3, 0)
    assert {row["statement"] for row in rows} == {"9"}


def test_a_missing_page_leaves_two_parts_that_do_not_meet() -> None:
    text = (
        ":20:R\n:25:ACC\n:28C:9/1\n:60F:C260131EUR10,00\n:62M:C260131EUR10,00\n-\n"
        ":20:R\n:25:ACC\n:28C:9/3\n:60M:C260131EUR12,00\n:62F:C260131EUR12,00\n-\n"
    )

    _, reading = read(text)

    assert [(each.opening, each.closing) for each in reading.controls] == [(1000, 1000), (1200, 1200)]


@pytest.mark.parametrize("totals", ["D000001C000002D3,00C12,00", "/SUM/1/2/3,00/12,00/"])
def test_what_the_bank_sums_up_after_the_closing_balance_is_held_against_what_was_read(totals: str) -> None:
    fields = (":61:260131D3,00NTRFNONREF", ":86:text", ":61:260131C12,00NTRFNONREF")

    _, reading = read(statement(*fields, closing=f":62F:C260131EUR109,00\n:86:{totals}"))

    [controls] = reading.controls
    assert (controls.stated_entries, controls.stated_debits, controls.stated_credits) == (3, 300, 1200)
    assert controls.gap == 0 and not controls.agrees


@pytest.mark.parametrize(
    "wrap",
    [
        "{1:F01BANKDEFFXXXX0000000000}{2:O940BANKDEFFXXXXN}{3:}{4:\n%s-}{5:}\n",
        "0000 01INGBNL2AXXXX00001\n940 00\n%s-XXX\n",
        ":940:\n%s",
        "\x01\n%s-\x03",
        "\ufeff%s",
        "BANK\n940\nBANK\n%s-\n\n\n",
    ],
    ids=["blocks", "ING", "Rabobank", "control characters", "byte order mark", "header lines"],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_a_message_is_found_in_whatever_wrapping(wrap: str, end: str) -> None:
    bare = HEAD + ":61:260131C5,00NTRFNONREF\n:86:text\n:62F:C260131EUR105,00\n"

    [row], reading = read((wrap % bare).replace("\n", end))

    assert (row["amount"], row["text"]) == ("5.00", "text")
    assert reading.controls[0].gap == 0


def test_two_wrapped_messages_are_two_statements() -> None:
    message = "{1:F01}{2:O940}{4:\n" + HEAD + ":61:260131C5,NTRFNONREF\n:62F:C260131EUR105,\n-}{5:}\n"

    rows, reading = read(message * 2)

    assert [row["text"] for row in rows] == [None, None]
    assert [each.gap for each in reading.controls] == [0, 0]


def test_a_dash_alone_in_a_text_does_not_end_the_statement() -> None:
    rows, reading = read(statement(":61:260131C5,NTRFNONREF", ":86:one\n-\ntwo", ":61:260131D5,NTRFNONREF"))

    assert [row["text"] for row in rows] == ["one\n-\ntwo", None]
    assert reading.controls[0].gap == 0


@pytest.mark.parametrize("line", [":99:Zurich", ":x", "::", ":2026", "-5 EUR", "{1"])
def test_a_line_of_a_text_that_looks_like_a_field_or_an_end_is_text(line: str) -> None:
    rows, reading = read(statement(":61:260131C5,NTRFNONREF", f":86:one\n{line}\ntwo", ":61:260131D5,NTRFNONREF"))

    assert [row["text"] for row in rows] == [f"one\n{line}\ntwo", None]
    assert reading.controls[0].gap == 0


def test_the_statement_number_may_be_broken_over_lines_and_a_balance_may_lack_its_currency() -> None:
    head = ":20:R\n:25:ACC\n:28C:0072\n/001\n:60F:C260130HUF100,00\n"

    [row], reading = read(statement(":61:260131C5,NTRFNONREF", closing=":62F:C260131105,00", head=head))

    assert (row["statement"], row["currency"], reading.controls[0].gap) == ("0072", "HUF", 0)


@pytest.mark.parametrize(
    ("data", "options", "taken", "text"),
    [
        ("Überweisung".encode(), {}, "utf-8", "Überweisung"),
        ("Überweisung €".encode("cp1252"), {}, "cp1252", "Überweisung €"),
        ("p\u00e9nz\u00fcgy".encode("cp852"), {}, "iso8859-1", "p\x82nz\x81gy"),
        ("p\u00e9nz\u00fcgy".encode("cp852"), {"encoding": "cp852"}, "cp852", "pénzügy"),
    ],
    ids=["UTF-8", "CP1252", "neither", "stated"],
)
def test_the_code_page_is_utf_8_else_the_stated_one_and_is_noted(
    data: bytes, options: dict[str, str], taken: str, text: str
) -> None:
    whole = statement(":61:260131C5,NTRFNONREF", ":86:@").encode().replace(b"@", data)

    [row], reading = read(whole, **options)

    assert (reading.notes["encoding"], row["text"]) == (taken, text)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (":61:260131X5,00NTRFNONREF", "a mark"),
        (":61:261331C5,00NTRFNONREF", "no such month"),
        (":61:260131C5,001NTRFNONREF", "more than 2 decimals"),
        (":61:260131C1.234,56NTRFNONREF", "not a decimal number"),
        (":61:260131C9999999999999999,NTRFNONREF", "beyond the largest"),
    ],
)
def test_an_entry_that_cannot_be_read_is_a_reject_with_its_line_and_the_others_stay(line: str, reason: str) -> None:
    rows, reading = read(statement(":61:260131C1,00NTRFNONREF", line, ":86:its text", ":61:260131C2,00NTRFNONREF"))

    assert [row["amount"] for row in rows] == ["1.00", "2.00"]
    [(at, field, why)] = reading.rejects
    assert (at, field) == (6, ":61:") and reason in why
    assert "99999" not in why and "234" not in why


def test_an_amount_with_too_many_decimals_is_rounded_where_a_rule_is_stated() -> None:
    [row], _ = read(statement(":61:260131D5,005NTRFNONREF"), rounding="half_up")

    assert (row["amount"], row["amount_stated"]) == ("-5.01", "-5.005")


def test_an_entry_outside_a_statement_is_a_reject() -> None:
    rows, reading = read(statement(":61:260131C1,00NTRFNONREF") + ":61:260131C2,00NTRFNONREF\n")

    assert len(rows) == 1
    assert "outside a statement" in reading.rejects[0][2]


def test_an_interim_report_has_sums_and_no_balances() -> None:
    text = (
        ":20:R\n:25:ACC\n:28C:1/1\n:34F:EUR0,\n:13D:2601311815+0100\n:61:260131C5,00NTRFNONREF\n"
        ":61:260131D2,00NTRFNONREF\n:90D:1EUR2,00\n:90C:1EUR5,00\n-\n"
    )

    rows, reading = read(text, "mt942")

    [controls] = reading.controls
    assert [row["currency"] for row in rows] == ["EUR", "EUR"]
    assert (controls.stated_entries, controls.stated_credits, controls.stated_debits) == (2, 500, 200)
    assert controls.gap is None and controls.agrees


@pytest.mark.parametrize(
    ("data", "format", "what"),
    [
        (":20:R\n:25:A\n:28C:1\n:34F:EUR0,\n:61:260131C5,NTRFX\n:90C:1EUR5,\n-", "mt940", "it is mt942"),
        (statement(":61:260131C5,NTRFX"), "mt942", "it is mt940"),
        ("1\n2\n3\n", "mt940", "no statement"),
        ("<?xml version='1.0'?><Document/>", "mt940", "an XML document"),
        (HEAD + ":86:" + "x" * 2_000_000, "mt940", "a field is longer"),
    ],
    ids=["an interim report", "a statement", "no fields", "XML", "an endless field"],
)
def test_what_is_not_the_message_is_refused(data: str, format: str, what: str) -> None:
    with pytest.raises(FileRefused, match=what):
        read(data, format)


def test_an_empty_file_is_refused_as_empty() -> None:
    with pytest.raises(FileEmpty):
        read(b" \n")


# Entries, sums of credits and debits in minor units: added up with another library where it reads the file, else by
# hand. `pocket_gaps` works out whether the balances chain.
SAMPLES = [
    ("mt940", "abnamro.sta", 10, 0, 34593),
    ("mt940", "asnb.txt", 8, 282890, 277196),
    ("mt940", "citi.txt", 5, 0, 114275),
    ("mt940", "cmxl.sta", 16, 7243674, 6010944),
    ("mt940", "february_30.sta", 1, 0, 600),
    ("mt940", "ing.sta", 7, 468, 5027),
    ("mt940", "malformed_details.sta", 1, 0, 23315),
    ("mt940", "mbank-mt940.sta", 3, 3, 0),
    ("mt940", "multiline.sta", 1, 0, 500),
    ("mt940", "rabobank-iban.sta", 4, 0, 7000),
    ("mt940", "raiffeisen-cmi.sta", 7, 206663700, 307885050),
    ("mt940", "raphaelm.sta", 9, 14500000, 5000000),
    ("mt940", "sberbank.sta", 3, 0, 943700),
    ("mt940", "sepa_mt9401.sta", 97, 518847494, 1445761084),
    ("mt940", "transaction_details_wrapped.sta", 1, 0, 600),
    ("mt940", "with_binary_character.sta", 4, 1421530, 19328205),
    ("mt942", "mbank-mt942.sta", 3, 3, 0),
    ("mt942", "mt942.sta", 1, 0, 42),
]


def pocket_gaps(text: str) -> list[int | None]:
    """Closing less opening and entries of each statement: a few patterns, and nothing of the reader."""
    number = r"(\d+),(\d{0,2})"
    gaps: list[int | None] = []
    before, opening_before, moved_before = "", None, 0
    for message in re.split(r"(?m)^\s*(?:\{4:)?:20:", text)[1:]:
        found = [re.findall(rf"(?m)^:6{place}[FM]:([CD])\d{{6}}(?:[A-Z]{{3}})?{number}", message) for place in "02"]
        lines = re.findall(
            rf"(?m)^:61:\d{{6}}(?:\d{{4}}|    )?\s*(R?)([CD])[A-Z]?\s*{number}", re.split("(?m)^:62", message)[0]
        )
        opening, closing = (sum(signed(*each) for each in balances) if balances else None for balances in found)
        moved = sum(signed(mark, *more) * (-1 if reversal else 1) for reversal, mark, *more in lines)
        if ":62M:" in before and ":60M:" in message:  # the next page
            opening, moved = opening_before, moved + moved_before
            gaps.pop()
        gaps.append(None if opening is None or closing is None else closing - opening - moved)
        before, opening_before, moved_before = message, opening, moved
    return gaps


def signed(mark: str, whole: str, decimals: str) -> int:
    """Minor units of a currency with two decimals."""
    return (1 if mark == "C" else -1) * int(whole + decimals.ljust(2, "0"))


@pytest.mark.parametrize(("format", "name", "entries", "credits", "debits"), SAMPLES)
def test_the_samples_of_banks_are_read_whole(
    format: str, name: str, *, entries: int, credits: int, debits: int
) -> None:
    data = sample(format, name)

    rows, reading = read(data, format)

    assert len(rows) == entries
    assert sum(each.entries for each in reading.controls) == entries
    assert (sum(each.credits for each in reading.controls), sum(each.debits for each in reading.controls)) == (
        credits,
        debits,
    )
    assert [each.gap for each in reading.controls] == pocket_gaps(data.decode("latin-1").replace("\r\n", "\n"))


def test_the_sample_without_a_field_is_refused() -> None:
    with pytest.raises(FileRefused, match="no statement"):
        read(sample("mt940", "invalid_statement.sta"))


def test_the_samples_stray_entry_without_a_statement_is_a_reject() -> None:
    _, reading = read(sample("mt940", "multiline.sta"))

    assert [(line, field) for line, field, _ in reading.rejects] == [(38, ":61:")]
