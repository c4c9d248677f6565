"""`actuals read` as a stranger meets it: a file in, transactions and totals out, and an exit code to trust."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from actuals_pipelines.cli import actuals
from actuals_pipelines.errors import ActualsError

ENTRY = (
    '<Ntry><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>{sign}</CdtDbtInd><Sts>{status}</Sts>'
    "<BookgDt><Dt>2026-01-31</Dt></BookgDt><AcctSvcrRef>{ref}</AcctSvcrRef></Ntry>"
)


def statement(*entries: str, closing: str = "150.00") -> bytes:
    """Opens with 100.00; EUR 60.00 in, EUR 10.00 out."""
    balances = "".join(
        f'<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">{amount}</Amt>'
        "<CdtDbtInd>CRDT</CdtDbtInd></Bal>"
        for code, amount in (("OPBD", "100.00"), ("CLBD", closing))
    )
    account = "<Acct><Id><IBAN>NL02ABNA0123456789</IBAN></Id></Acct>"
    body = f"<Stmt><Id>S1</Id>{account}{balances}{''.join(entries)}</Stmt>"
    return f"<Document><BkToCstmrStmt>{body}</BkToCstmrStmt></Document>".encode()


IN = ENTRY.format(amount="60.00", sign="CRDT", status="BOOK", ref="B1")
OUT = ENTRY.format(amount="10.00", sign="DBIT", status="BOOK", ref="B2")
PENDING = ENTRY.format(amount="7.00", sign="CRDT", status="PDNG", ref="B3")
FIVE_DECIMALS = ENTRY.format(amount="1.00001", sign="CRDT", status="BOOK", ref="B4")


def run(folder: Path, data: bytes, *more: str) -> Result:
    file = folder / "file.bin"
    file.write_bytes(data)
    return CliRunner().invoke(actuals, ["read", str(file), *more])


def document(folder: Path, data: bytes, *more: str) -> Any:
    return json.loads(run(folder, data, "--json", *more).stdout)


def test_the_document_has_statements_transactions_and_totals(tmp_path: Path) -> None:
    found = document(tmp_path, statement(IN, OUT, PENDING))

    assert found["format"] == "camt053"
    assert [(t["amount_minor_units"], t["status"]) for t in found["transactions"]] == [
        (6000, "booked"),
        (-1000, "booked"),
        (700, "pending"),
    ]
    [stated] = found["statements"]
    assert (stated["opening_balance_minor_units"], stated["closing_balance_minor_units"]) == (10000, 15000)
    assert (stated["balances_chain"], stated["gap_minor_units"]) == (True, 0)
    assert found["totals"] == {
        "entries": 2,
        "by_currency": {
            "EUR": {
                "entries": 2,
                "credits_minor_units": 6000,
                "debits_minor_units": 1000,
                "net_minor_units": 5000,
            }
        },
        "first_booked_on": "2026-01-31",
        "last_booked_on": "2026-01-31",
        "pending": 1,
        "informational": 0,
        "details": 0,
    }


def test_a_gap_between_the_balances_is_told_with_its_size(tmp_path: Path) -> None:
    [stated] = document(tmp_path, statement(IN, OUT, closing="149.99"))["statements"]

    assert (stated["balances_chain"], stated["gap_minor_units"]) == (False, -1)


def test_rejects_give_exit_code_one_and_their_place(tmp_path: Path) -> None:
    done = run(tmp_path, statement(IN, FIVE_DECIMALS), "--json")

    assert done.exit_code == 1
    [reject] = json.loads(done.stdout)["rejects"]
    assert (reject["line"], reject["field"]) == (2, "Ntry/Amt")
    assert "more than 2 decimals" in reject["reason"]


def test_lines_of_json_and_csv_hold_the_same_transactions(tmp_path: Path) -> None:
    by_json = [json.loads(line) for line in run(tmp_path, statement(IN, OUT), "--ndjson").stdout.splitlines()]
    by_csv = list(csv.DictReader(io.StringIO(run(tmp_path, statement(IN, OUT), "--csv").stdout)))

    assert [t["amount_minor_units"] for t in by_json] == [6000, -1000]
    assert [int(t["amount_minor_units"]) for t in by_csv] == [6000, -1000]
    assert [t["booked_on"] for t in by_csv] == [t["booked_on"] for t in by_json]


def test_the_table_stops_and_says_how_many_there_are_more(tmp_path: Path) -> None:
    done = run(tmp_path, statement(*[IN] * 5), "--rows", "2")

    assert done.exit_code == 0
    assert "3 more" in done.stdout
    assert "credits 300.00 EUR" in done.stdout


def test_totals_alone_print_no_transaction(tmp_path: Path) -> None:
    found = document(tmp_path, statement(IN, OUT), "--totals")

    assert "transactions" not in found
    assert found["totals"]["by_currency"]["EUR"]["net_minor_units"] == 5000


def test_gzip_reads_like_the_file_itself(tmp_path: Path) -> None:
    data = statement(IN, OUT)

    assert document(tmp_path, gzip.compress(data)) == document(tmp_path, data)


def test_each_file_of_an_archive_is_a_reading_of_its_own(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.xml", statement(IN))
        archive.writestr("b.xml", statement(OUT))

    found = document(tmp_path, packed.getvalue())["files"]

    assert [(each["file"], each["totals"]["entries"]) for each in found] == [("a.xml", 1), ("b.xml", 1)]


def test_a_plain_table_is_refused_with_its_columns_and_what_to_do(tmp_path: Path) -> None:
    done = run(tmp_path, b"when,what,how much\n2026-01-31,rent,-5\n", "--json")

    assert isinstance(done.exception, ActualsError)
    assert done.exception.exit_code == 2
    assert "'how much'" in str(done.exception)
    assert "--profile" in str(done.exception)


def test_a_text_that_is_no_table_is_said_to_be_none(tmp_path: Path) -> None:
    done = run(tmp_path, b"dear sir\nplease find attached\n")

    assert isinstance(done.exception, ActualsError)
    assert done.exception.exit_code == 2
    assert "neither a bank's format nor a table" in str(done.exception)


def test_a_file_that_spoils_an_archive_is_named_by_its_place(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.xml", statement(IN))
        archive.writestr("b.csv", "when,what\n2026-01-31,rent\n")

    done = run(tmp_path, packed.getvalue(), "--json")

    assert "File 2 of 2 in the archive" in str(done.exception)
    assert done.stdout == "", "half a document is none"


def test_the_table_tells_what_the_reader_noticed(tmp_path: Path) -> None:
    swift = b":20:X\n:25:NL1\n:28C:7\n:60F:C260201EUR0,00\n:61:260230C2,00NTRFB1\n:62F:C260228EUR2,00\n"

    done = run(tmp_path, swift)
    [stated] = document(tmp_path, swift)["statements"]

    assert "dates that the calendar does not have, taken as the month's last: 1" in done.stdout
    assert "1 entry" in done.stdout
    assert (stated["number"], stated["first_on"], stated["last_on"]) == ("7", "2026-02-01", "2026-02-28")


def test_a_file_without_a_currency_says_how_to_state_it(tmp_path: Path) -> None:
    ledger = b"Date,Amount,Text\n2026-01-31,2.00,rent\n"
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "name: mine\ncolumns: {day: Date, amount: Amount}\namounts: {columns: amount, decimal: '.'}\n"
        "dates: {columns: day, formats: '%Y-%m-%d'}\nentry: {booked_on: day, amount: amount, kind: payment}\n"
    )

    without = document(tmp_path, ledger, "--profile", str(mine))
    with_it = document(tmp_path, ledger, "--profile", str(mine), "--option", "currency=SEK")

    assert "--option currency=" in without["rejects"][0]["reason"]
    assert with_it["totals"]["by_currency"]["SEK"]["credits_minor_units"] == 200


@pytest.mark.parametrize("two", [("--json", "--csv"), ("--ndjson", "--csv")])
def test_two_ways_to_print_exclude_each_other(tmp_path: Path, two: tuple[str, str]) -> None:
    done = run(tmp_path, statement(IN), *two)

    assert done.exit_code == 2
    assert "exclude" in done.output


PROFILE = """
name: mine
title: the caterer's list
columns: {id: no, day: when, amount: how much}
amounts: {columns: amount, decimal: ","}
dates: {columns: day, formats: "%d.%m.%Y"}
entry: {currency: "'EUR'", transaction_id: id, booked_on: day, kind: payment, amount: amount}
"""


def test_a_profile_of_ones_own_makes_a_table_readable(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text(PROFILE)
    found = document(tmp_path, b"no;when;how much\n1;31.01.2026;-12,30\n", "--profile", str(own))

    [transaction] = found["transactions"]
    assert (transaction["transaction_id"], transaction["booked_on"]) == ("1", "2026-01-31")
    assert transaction["amount_minor_units"] == -1230


def test_a_profile_that_is_none_is_refused_with_its_place(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text(PROFILE.replace("entry:", "entries:"))
    done = run(tmp_path, b"a;b\n", "--profile", str(own))

    assert isinstance(done.exception, ActualsError)
    assert "mine.yaml" in str(done.exception)
