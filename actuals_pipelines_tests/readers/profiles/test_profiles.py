"""What a profile can say, one small file for each; how it complains; and which profiles fit a file."""

from __future__ import annotations

import io
import json
from typing import Any

import openpyxl
import pytest

from actuals_pipelines.readers import FileRefused, OptionRefused, Reading
from actuals_pipelines.readers.entries import ENTRY_COLUMNS, KINDS
from actuals_pipelines.readers.profiles import NAMES, ProfileReader, find, load, shipped
from actuals_pipelines.yaml_text import YamlRefused

BANK = """
name: bank
columns: {account: Konto, booked: [Tag, Day], amount: Betrag, currency: Waehrung, text?: Zweck}
amounts: {columns: amount, decimal: ",", thousands: "."}
dates: {columns: booked, formats: "%d.%m.%Y"}
entry: {account: account, currency: currency, booked_on: booked, kind: payment, amount: amount, text: text}
"""
HEADER = "Konto;Tag;Betrag;Waehrung;Zweck\n"


def begin(profile: str, data: str | bytes, **options: str) -> Reading:
    content = data.encode() if isinstance(data, str) else data
    return ProfileReader(load(profile, "mine.yaml")).read(io.BytesIO(content), options)


def read(profile: str, data: str | bytes, **options: str) -> tuple[list[dict[str, Any]], Reading]:
    reading = begin(profile, data, **options)
    return reading.table().to_pylist(), reading


def amounts(rows: list[dict[str, Any]]) -> list[str]:
    return [row["amount"] for row in rows]


def test_columns_are_found_by_header_in_any_language_whatever_their_order_and_what_stands_beside_them() -> None:
    rows, reading = read(BANK, "Extra;Waehrung;Betrag;Day;Konto\nx;EUR;-1.234,50;31.01.2026;DE1\n")

    [row] = rows
    assert tuple(row) == (*ENTRY_COLUMNS, "_line")
    assert (row["account"], row["booked_on"], row["amount"], row["currency"]) == (
        "DE1",
        "2026-01-31",
        "-1234.50",
        "EUR",
    )
    assert (row["level"], row["kind"], row["status"], row["text"], row["_line"]) == (
        "entry",
        "payment",
        "booked",
        None,
        2,
    )
    assert reading.controls[0].debits == 123450


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_a_file_reads_alike_in_each_encoding_and_with_each_line_end(encoding: str, line_end: str) -> None:
    text = (HEADER + "DE1;31.01.2026;1,00;EUR;Müller € 5\n").replace("\n", line_end)

    rows, _ = read(BANK + "encodings: [cp1252]\n", text.encode(encoding))

    assert rows[0]["text"] == "Müller € 5"


def test_central_european_pages_are_the_profile_s_to_name() -> None:
    rows, reading = read(BANK + "encodings: cp1250\n", (HEADER + "DE1;31.01.2026;1,00;EUR;Łódź\n").encode("cp1250"))

    assert rows[0]["text"] == "Łódź"
    assert reading.notes["encoding"] == "cp1250"


def test_rows_above_the_header_give_account_and_currency() -> None:
    profile = """
name: bank
columns: {booked: Date, amount: Amount}
metadata: {iban: "IBAN:? (.+)", unit: "Currency (.+)"}
amounts: {columns: amount, decimal: "."}
dates: {columns: booked, formats: "%Y-%m-%d"}
entry: {account: iban, currency: unit, booked_on: booked, kind: payment, amount: amount}
"""

    rows, _ = read(profile, "Statement\nIBAN:,DE1\nCurrency,CHF\n\nDate,Amount\n2026-01-31,1.50\n")

    assert [(row["account"], row["currency"], row["_line"]) for row in rows] == [("DE1", "CHF", 6)]


@pytest.mark.parametrize(
    ("amount", "columns", "record", "expected"),
    [
        ("credit - debit", "credit: Cr, debit: Dr", "1.00,", "1.00"),
        ("credit - debit", "credit: Cr, debit: Dr", ",2.50", "-2.50"),
        ("abs(credit) - abs(debit)", "credit: Cr, debit: Dr", ",-2.50", "-2.50"),
        ("-credit", "credit: Cr, debit?: Dr", "7.00,", "-7.00"),
        ("case when side = 'D' then -credit else credit end", "credit: Cr, side: Dr", "7.00,D", "-7.00"),
        ("case when side in ('FEE', 'TAX') then -credit else credit end", "credit: Cr, side: Dr", "7.00,SALE", "7.00"),
    ],
    ids=["credit", "debit", "signed debit", "card", "letter", "type"],
)
def test_the_sign_comes_from_where_the_profile_says(amount: str, columns: str, record: str, expected: str) -> None:
    numbers = "[credit, debit]" if "debit" in columns else "[credit]"
    profile = f"""
name: signs
columns: {{{columns}}}
amounts: {{columns: {numbers}, decimal: "."}}
entry:
  currency: "'EUR'"
  kind: payment
  amount: {amount}
"""

    rows, _ = read(profile, f"Cr,Dr\n{record}\n")

    assert amounts(rows) == [expected]


@pytest.mark.parametrize(
    ("text", "marks", "expected"),
    [
        ("11'373.94", 'decimal: ".", thousands: "\'"', "11373.94"),
        ("1 234,5", 'decimal: ",", thousands: " "', "1234.50"),
        ("$1,036.47", 'decimal: ".", thousands: ",", symbols: "$"', "1036.47"),
        ("−49.99", 'decimal: "."', "-49.99"),
        ("12.30-", 'decimal: "."', "-12.30"),
        ("(12.30)", 'decimal: "."', "-12.30"),
        (".11", 'decimal: "."', "0.11"),
        ("0.1234", 'decimal: "."', "0.1234"),
        ("5200", "unit: hundredths", "52.00"),
        ("1234", "unit: minor", "12.34"),
    ],
)  # fmt: skip
def test_amounts_are_read_as_the_profile_writes_them(text: str, marks: str, expected: str) -> None:
    profile = f"""
name: marks
columns: {{amount: Amount}}
amounts: {{columns: amount, {marks}}}
entry: {{currency: "'EUR'", kind: payment, amount: amount}}
"""

    rows, reading = read(profile, f'Amount\n"{text}"\n')

    assert (amounts(rows), reading.rejects) == ([expected], [])


@pytest.mark.parametrize(
    "text", ["1,23,4", "1e3", "abc", "1.2.3", "--1", "12345678901234567", "1.123456", "0x10", "NaN"]
)
def test_what_is_no_amount_rejects_its_record_and_no_other(text: str) -> None:
    profile = """
name: marks
columns: {amount: Amount}
amounts: {columns: amount, decimal: ".", thousands: ","}
entry: {currency: "'EUR'", kind: payment, amount: amount}
"""

    rows, reading = read(profile, f'Amount\n1.00\n"{text}"\n2.00\n')

    assert amounts(rows) == ["1.00", "2.00"]
    assert reading.rejects == [(3, "amount", "expected an amount written with the profile's marks")]


def test_yen_in_minor_units_and_in_hundredths_are_whole_yen() -> None:
    profile = """
name: yen
columns: {amount: Amount, currency: Currency}
amounts: {columns: amount, unit: UNIT}
entry: {currency: currency, kind: payment, amount: amount}
"""

    minor, _ = read(profile.replace("UNIT", "minor"), "Amount,Currency\n5000,JPY\n1234,KWD\n")
    hundredths, reading = read(profile.replace("UNIT", "hundredths"), "Amount,Currency\n15000,JPY\n")

    assert amounts(minor) == ["5000.00", "1.234"]
    assert amounts(hundredths) == ["150.00"]
    assert reading.controls[0].credits == 150


OPEN = """
name: open
columns: {booked: Date, amount: Amount}
amounts: {columns: amount}
dates: {columns: booked}
entry: {currency: "'EUR'", booked_on: booked, kind: payment, amount: amount}
"""


@pytest.mark.parametrize(
    ("records", "booked_on", "amount"),
    [
        ("13/04/2026;1.5", "2026-04-13", "1.50"),
        ("04/13/2026;1,5", "2026-04-13", "1.50"),
        ("2026-04-03;1.234,50", "2026-04-03", "1234.50"),
        ("03.04.2026;1,234,567", "2026-04-03", "1234567.00"),
        ("03/04/2026;1\n14/04/2026;2", "2026-04-03", "1.00"),
    ],
)
def test_marks_and_date_order_are_taken_from_a_value_that_leaves_no_doubt(
    records: str, booked_on: str, amount: str
) -> None:
    rows, _ = read(OPEN, f"Date;Amount\n{records}\n")

    assert (rows[0]["booked_on"], rows[0]["amount"]) == (booked_on, amount)


def test_dates_that_read_in_two_ways_are_refused_with_both_readings() -> None:
    with pytest.raises(FileRefused, match=r"the first is 2026-04-03 or 2026-03-04.*%d/%m/%Y"):
        begin(OPEN, "Date;Amount\n03/04/2026;1,5\n05/06/2026;2,5\n")


def test_amounts_that_read_in_two_ways_are_refused_with_both_readings() -> None:
    with pytest.raises(FileRefused, match=r"1\.234 is 1234 .* or one and 234 thousandths"):
        begin(OPEN, "Date;Amount\n2026-04-03;1,234\n2026-04-04;5\n")


@pytest.mark.parametrize(
    ("written", "times", "options", "timestamp"),
    [
        ("2026-01-31 12:00:00", "zone: Europe/Amsterdam", {}, "2026-01-31T12:00:00+01:00"),
        ("2026-07-31 12:00:00", "zone: Europe/Amsterdam", {}, "2026-07-31T12:00:00+02:00"),
        ("2026-07-31 12:00:00", "zone: zone", {}, "2026-07-31T12:00:00-07:00"),
        ("2026-07-31 12:00:00", "zone: UTC", {"zone": "America/New_York"}, "2026-07-31T12:00:00-04:00"),
        ("2026-01-06T00:00:30-0800", "", {}, "2026-01-06T00:00:30-08:00"),
        ("2026-01-06T00:00:30.5Z", "", {}, "2026-01-06T00:00:30.5+00:00"),
        ("2026-01-06 00:00:30", "", {}, None),
        ("1678043844", "formats: epoch", {}, "2023-03-05T19:17:24+00:00"),
    ],
)
def test_an_instant_keeps_its_offset_or_gets_that_of_its_zone(
    written: str, times: str, options: dict[str, str], timestamp: str | None
) -> None:
    profile = f"""
name: times
columns: {{created: Created, amount: Amount, zone: Zone}}
amounts: {{columns: amount, decimal: "."}}
times: {{columns: created, {times}}}
entry: {{currency: "'EUR'", kind: payment, amount: amount, booked_on: created, timestamp: created}}
"""

    rows, _ = read(profile, f"Created,Amount,Zone\n{written},1,PDT\n", **options)

    assert (rows[0]["timestamp"], rows[0]["booked_on"]) == (timestamp, (timestamp or written)[:10])


PSP = """
name: psp
columns: {id: Id, type: Type, gross: Gross, fee: Fee, net: Net, batch: Batch, state?: State}
amounts: {columns: [gross, fee, net], decimal: "."}
checks: [gross + fee = net]
entry:
  statement: batch
  currency: "'EUR'"
  transaction_id: id
  kind: {of: type, is: {Sale: payment, Refund: refund, Payout: payout}}
  status: {of: "coalesce(state, 'ok')", is: {ok: booked, open: pending}}
  amount: gross
  gross: gross
  fee: fee
  net: net
  references: {psp_ref: id, batch: batch}
entries:
  - {}
  - when: fee <> 0
    transaction_id: concat(id, '/fee')
    parent_id: id
    kind: fee
    amount: fee
    gross:
    fee:
    net:
zero_sum: true
"""


def test_one_record_gives_a_payment_and_its_fee_and_a_batch_with_its_payout_is_nought() -> None:
    rows, reading = read(PSP, "Id,Type,Gross,Fee,Net,Batch\na,Sale,10,-0.30,9.70,1\nb,Payout,-9.70,,-9.70,1\n")

    told = [(row["transaction_id"], row["parent_id"], row["kind"], row["amount"], row["net"]) for row in rows]
    assert told == [
        ("a", None, "payment", "10.00", "9.70"),
        ("a/fee", "a", "fee", "-0.30", None),
        ("b", None, "payout", "-9.70", "-9.70"),
    ]
    assert json.loads(rows[0]["references"]) == {"batch": "1", "psp_ref": "a"}
    [control] = reading.controls
    assert (control.statement, control.entries, control.credits, control.debits, control.agrees) == (
        "1",
        3,
        1000,
        1000,
        True,
    )


def test_a_batch_that_lacks_a_record_shows_its_gap() -> None:
    _, reading = read(PSP, "Id,Type,Gross,Fee,Net,Batch\na,Sale,10,-0.30,9.70,1\n")

    assert [(control.gap, control.agrees) for control in reading.controls] == [(-970, False)]


def test_an_unknown_type_is_other_keeps_its_word_and_is_counted() -> None:
    rows, reading = read(PSP, "Id,Type,Gross,Fee,Net,Batch\na,Bonus,1,,1,1\nb,Bonus,2,,2,1\nc,Sale,3,,3,1\n")

    assert [(row["kind"], row["bank_code"]) for row in rows] == [
        ("other", "Bonus"),
        ("other", "Bonus"),
        ("payment", "Sale"),
    ]
    assert reading.notes["kinds"] == "taken as other: 'Bonus' (2)"


def test_pending_entries_are_marked_and_count_in_no_sum() -> None:
    rows, reading = read(PSP, "Id,Type,Gross,Fee,Net,Batch,State\na,Sale,1,,1,1,open\nb,Sale,2,,2,1,ok\n")

    assert [row["status"] for row in rows] == ["pending", "booked"]
    assert [(control.entries, control.credits) for control in reading.controls] == [(1, 200)]


@pytest.mark.parametrize(
    ("record", "field", "reason"),
    [
        ("a,Sale,10,-0.30,9.80,1,ok", "", "contradicts itself: gross + fee = net"),
        ("a,Sale,10,,10,1,gone", "status", "not in the profile's table"),
        ("a,Sale,,,,1,ok", "amount", "there is none"),
        ("a,Sale,1,,1", "", "expected 7 fields, found 5"),
    ],
    ids=["contradiction", "status", "no amount", "too short"],
)
def test_a_record_that_cannot_be_trusted_is_a_reject_with_its_reason(record: str, field: str, reason: str) -> None:
    rows, reading = read(PSP, f"Id,Type,Gross,Fee,Net,Batch,State\nx,Sale,1,,1,1,ok\n{record}\n")

    assert [row["transaction_id"] for row in rows] == ["x"]
    assert reading.rejects == [(3, field, reason)]


def test_a_contradiction_may_be_noted_instead() -> None:
    profile = PSP.replace("checks: [gross + fee = net]", "checks: [{that: gross + fee = net, else: note}]")

    rows, reading = read(profile, "Id,Type,Gross,Fee,Net,Batch\na,Payout,24,,23.05,1\n")

    assert amounts(rows) == ["24.00"]
    assert reading.notes["contradicts"] == "gross + fee = net: not in 1, first line 2"


CHAIN = (
    BANK.replace("text?: Zweck", "balance: Saldo")
    .replace("columns: amount", "columns: [amount, balance]")
    .replace(", text: text", "")
    + "balance: balance\n"
)


@pytest.mark.parametrize(
    ("records", "opening", "closing"),
    [
        (["01;10,00;110,00", "02;-30,00;80,00"], 10000, 8000),
        (["02;-30,00;80,00", "01;10,00;110,00"], 10000, 8000),
    ],
    ids=["newest last", "newest first"],
)
def test_a_running_balance_chains_in_either_order(records: list[str], opening: int, closing: int) -> None:
    lines = [f"DE1;{day}.01.2026;{amount};EUR;{saldo}" for day, amount, saldo in (r.split(";") for r in records)]

    _, reading = read(CHAIN, "Konto;Tag;Betrag;Waehrung;Saldo\n" + "\n".join(lines))

    assert [(c.opening, c.closing, c.gap) for c in reading.controls] == [(opening, closing, 0)]
    assert reading.notes["balance"] == "chains"


def test_a_missing_record_breaks_the_chain_at_its_line() -> None:
    lines = "DE1;01.01.2026;10,00;EUR;110,00\nDE1;02.01.2026;1,00;EUR;111,00\nDE1;04.01.2026;1,00;EUR;117,00\n"

    _, reading = read(CHAIN, "Konto;Tag;Betrag;Waehrung;Saldo\n" + lines)

    assert [control.gap for control in reading.controls] == [500]
    assert reading.notes["balance"] == "does not chain at line 4"


SECTIONS = """
name: sections
columns: {record: CH, id: Id, amount: Amount, currency: Currency}
pad: true
skip: record in ('CH', 'SF')
amounts: {columns: amount, unit: hundredths}
entry: {currency: currency, transaction_id: id, kind: payment, when: record = 'SB', amount: amount}
entries: [{when: record = 'SB'}]
stated: [{when: record = 'SF', currency: id, credits: number(amount)}]
"""


@pytest.mark.parametrize(("footer", "agrees"), [("300", True), ("301", False)])
def test_a_section_s_footer_is_held_against_its_records(footer: str, agrees: bool) -> None:
    data = f"SH,acme\nCH,Id,Amount,Currency\nSB,a,100,EUR\nSB,b,200,EUR\nSF,EUR,{footer}\n"

    rows, reading = read(SECTIONS, data)

    assert amounts(rows) == ["1.00", "2.00"]
    assert [control.agrees for control in reading.controls] == [agrees]


def test_a_record_of_a_type_that_no_entry_fits_is_never_dropped() -> None:
    _, reading = read(SECTIONS, "CH,Id,Amount,Currency\nXX,a,100,EUR\n")

    assert reading.rejects == [(2, "", "no entry of the profile fits it")]


def test_a_value_stands_for_the_blank_ones_below_it() -> None:
    profile = BANK.replace("text?: Zweck", "text?: Zweck") + "fill_down: [currency]\n"

    rows, _ = read(profile, HEADER + "DE1;01.01.2026;1,00;EUR;a\nDE1;02.01.2026;2,00;;b\n")

    assert [row["currency"] for row in rows] == ["EUR", "EUR"]


def test_a_workbook_reads_with_the_csv_file_s_profile_and_refuses_cut_ids() -> None:
    book = openpyxl.Workbook()
    sheet = [
        ["Statement"],
        HEADER.strip().split(";"),
        ["DE1", "31.01.2026", -1234.5, "EUR", "a"],
        ["DE1", "01.02.2026", "1.000,25", "EUR", 12345678901234567],
    ]
    for row in sheet:
        book.active.append(row)  # type: ignore[union-attr]
    out = io.BytesIO()
    book.save(out)

    rows, reading = read(BANK, out.getvalue())

    assert [(row["amount"], row["_line"]) for row in rows] == [("-1234.50", 3)]
    [(line, field, reason)] = reading.rejects
    assert (line, field.split(" ")[0]) == (4, "Zweck")
    assert "more than 15 digits" in reason


JSON = """
name: api
file: json
records: [data, periods.*.costs]
columns: {path: "@records", owner: $.owner, id: id, amount: amount.value, currency: amount.unit, first?: "log[0].at"}
amounts: {columns: amount, decimal: "."}
entry: {account: owner, currency: currency, transaction_id: id, kind: payment, amount: amount, text: "path || first"}
"""


def test_records_of_a_document_are_found_by_path_and_keep_their_digits() -> None:
    document = (
        '{"owner": "acme", "data": [{"id": 1, "amount": {"value": 0.10, "unit": "EUR"}, "log": [{"at": "x"}]}], '
        '"periods": {"2026": {"costs": [{"id": 90071992547409931, "amount": {"value": "2.50", "unit": "EUR"}}]}}}'
    )

    rows, _ = read(JSON, document)

    assert [(r["account"], r["transaction_id"], r["amount"], r["text"]) for r in rows] == [
        ("acme", "1", "0.10", "datax"),
        ("acme", "90071992547409931", "2.50", None),
    ]


def test_a_document_a_line_reads_alike_and_a_record_without_its_fields_is_a_reject() -> None:
    line = '{"owner": "acme", "data": [{"id": 1, "amount": {"value": "1.00", "unit": "EUR"}}]}'

    rows, reading = read(JSON, f'{line}\nnonsense\n{line}\n{{"owner": "acme", "data": [{{"id": 2}}]}}\n')

    assert [row["_line"] for row in rows] == [1, 3]
    assert [line for line, _, _ in reading.rejects] == [2, 4]


def test_options_say_what_the_file_does_not() -> None:
    rows, _ = read(BANK, HEADER + ";01.01.2026;1,00;;a\n", account="DE9", currency="EUR")

    assert (rows[0]["account"], rows[0]["currency"]) == ("DE9", "EUR")
    with pytest.raises(OptionRefused, match="zone"):
        begin(BANK, HEADER, zone="Mars/Base")


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (("kind: payment", "kind: paiment"), "mine.yaml:6:", "'paiment'"),
        (("columns: amount", "columns: amunt"), "mine.yaml:4:20", "'amunt'"),
        (("decimal: \",\"", "decimal: \";\""), "mine.yaml:4:", "expected . | ,"),
        (("entry:", "entri:"), "mine.yaml:6:1", "'entri'"),
        (("text: text}", "text: txt}"), "mine.yaml:6:", "no column `txt`"),
        (("text: text}", "text: system('x')}"), "mine.yaml:6:", "no function `system`"),
        (("amount: amount, text", "amount: text, text"), "mine.yaml:6:", "columns that are text"),
        (
            ("amount: amount, text", "amount: case when true then text else amount end, text"),
            "mine.yaml:6:",
            "a text used",
        ),
        (("%d.%m.%Y", "%Q.%m"), "mine.yaml:5:", "'%Q.%m'"),
        (("entry:", "times: {zone: Mars/Base}\nentry:"), "mine.yaml:6:", "a time zone such as"),
    ],
    ids=["kind", "word", "mark", "key", "column", "function", "text", "mixed", "format", "zone"],
)  # fmt: skip
def test_a_profile_s_mistake_is_told_with_its_line_and_column(change: tuple[str, str], place: str, words: str) -> None:
    with pytest.raises(YamlRefused) as told:
        read(BANK.replace(*change), HEADER + "DE1;01.01.2026;1,00;EUR;a\n")

    assert place in str(told.value)
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("end", "what"),
    [(b'DE1;01.01.2026;1,00;EUR;"a\n', "ends inside a quoted field"), (b"DE1;\0;1,00;EUR;a\n", "NUL bytes")],
    ids=["open quote", "binary"],
)
def test_what_is_found_wrong_late_in_a_file_refuses_it_by_its_own_words(end: bytes, what: str) -> None:
    """The records pass through the engine by then, which has no word for it."""
    many = b"DE1;01.01.2026;1,00;EUR;a\n" * 60_000  # beyond what is looked at before

    with pytest.raises(FileRefused, match=what):
        begin(BANK, HEADER.encode() + many + end).table()


def test_a_file_of_another_kind_says_which_columns_are_wanted() -> None:
    with pytest.raises(FileRefused, match="'Konto', 'Tag / Day'"):
        begin(BANK, "a,b\n1,2\n")


def test_a_file_is_known_by_its_header_and_the_profile_that_knows_more_of_it_comes_first() -> None:
    small = load(BANK, "small.yaml")
    large = load(CHAIN.replace("name: bank", "name: chain"), "large.yaml")

    both = find(b"Konto;Tag;Betrag;Waehrung;Saldo;Zweck\n", [small, large])
    one = find(HEADER.encode(), [small, large])

    assert [candidate.format for candidate in both] == ["bank", "chain"]
    assert [(candidate.format, candidate.reasons) for candidate in one] == [
        ("bank", ("the header on line 1 has 5 of its columns",))
    ]
    assert find(b"%PDF-1.4 nothing of the kind") == []
    assert find(b'{"cut": [{"id": 1') == []


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_of_the_library_compiles_and_reads_an_empty_table(name: str) -> None:
    profile = shipped(name)
    assert profile.name == name
    if profile.file == "json" or profile.header:
        return
    header = (profile.delimiter or ",").join(f'"{column.headers[0]}"' for column in profile.columns)

    reading = ProfileReader(profile).read(io.BytesIO(f"{header}\n".encode()), {})

    assert reading.table().num_rows == 0
    assert reading.rejects == []
    assert all(set(entry.coded["kind"].table.values()) <= KINDS for entry in profile.entries if "kind" in entry.coded)
