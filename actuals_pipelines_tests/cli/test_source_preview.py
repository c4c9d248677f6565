"""`actuals source preview --yaml`: what a source makes of a file, without a home and before anything is saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actuals_pipelines.cli import main

TENANT = """\
name: acme
ids:
  order: {field: transaction_id, find: "ORD-([0-9]+)"}
sources:
- name: psp
  kind: upload
  format: csv
  adds_up: {gross: Gross, fee: Fee, net: Net}
  mapping: {row_id: Id, transaction_id: Order, booked_on: Day, text: Memo, iban: Account}
  iterations:
  - {amount: Gross, constants: {currency: EUR}}
  - {amount: Fee, where: number(Fee) <> 0, constants: {currency: EUR, kind: fee}}
  columns: {iban: token}
"""
HEADER = "Id,Order,Day,Gross,Fee,Net,Memo,Account,Name\n"
GOOD = "1,ORD-1,2026-11-01,10.00,-0.30,9.70,for ORD-1 by jan@example.com,NL91 ABNA 0417 1643 00,Jan\n"
CARD = "4111 1111 1111 1111"
BAD = f"2,ORD-2,2026-11-02,10.00,-0.30,9.80,x,,Jan\n3,ORD-3,soon,5,0,5,{CARD},,Piet\n"


class Tried:
    """The command in this process, with its streams and its exit code."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.monkeypatch, self.capsys = folder, monkeypatch, capsys
        self.yaml, self.file = folder / "acme.yaml", folder / "psp.csv"

    def __call__(self, content: str, *more: str, yaml: str = TENANT) -> tuple[int, str, str]:
        self.yaml.write_text(yaml)
        self.file.write_text(content)
        words = ["actuals", "source", "preview", "--yaml", str(self.yaml), "psp", str(self.file), *more]
        self.monkeypatch.setattr("sys.argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        printed = self.capsys.readouterr()
        return int(str(ended.value.code)), printed.out, printed.err

    def document(self, content: str, yaml: str = TENANT) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self(content, "--json", yaml=yaml)[1])
        return found


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tried:
    """Runs the command on a tenant's YAML and a file's content."""
    return Tried(tmp_path, monkeypatch, capsys)


def test_the_first_rows_are_shown_as_they_would_be_kept(tried: Tried) -> None:
    code, out, _ = tried(HEADER + GOOD)

    assert code == 0
    assert "1 records: 1 read as 2 rows, 0 rejected" in out
    assert "10.00 EUR" in out and "-0.30 EUR" in out and "9.70 EUR" in out
    assert "jan@example.com" not in out and "NL91" not in out and "tok_" in out
    assert "not mapped, so dropped: Net, Name" in out


def test_rejects_are_named_by_line_field_and_reason_and_never_by_value(tried: Tried) -> None:
    code, out, _ = tried(HEADER + GOOD + BAD)
    document = tried.document(HEADER + GOOD + BAD)

    assert code == 1
    assert CARD not in out and CARD not in json.dumps(document)
    assert document["rejects"] == [
        {"line": 3, "field": "net", "reason": "gross + fee + tax is not net"},
        {"line": 4, "field": "booked_on", "reason": "not an ISO 8601 date"},
        {"line": 4, "field": "text", "reason": "card number"},
    ]
    assert document["counts"]["raw"] == document["counts"]["stored"] + document["counts"]["rejected"] == 3


def test_totals_and_keys_are_counted_over_the_whole_file(tried: Tried) -> None:
    many = "".join(GOOD.replace("1,ORD-1", f"{n},ORD-{n}", 1) for n in range(30))

    document = tried.document(HEADER + many)

    assert len(document["rows"]) == 10
    [total] = document["totals"]
    assert (total["currency"], total["rows"], total["net"]) == ("EUR", 60, 30 * 970)
    assert (total["credits"], total["debits"], total["rejected"]) == (30_000, -900, 0)
    assert document["keys"] == {"order": {"filled": 60, "keyed": 60}}
    assert document["warnings"] == []


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        (GOOD.replace("-0.30,9.70", "0.30,10.30"), "Every 'fee' has the other sign than usual"),
        (GOOD.replace("10.00,-0.30,9.70", "1000,-30,970") * 10, "No amount in the column 'Gross' has decimals"),
        (GOOD.replace("ORD-1,", "17,", 1), "The id scheme 'order' finds an id in 0 of 2 filled values"),
    ],
    ids=["sign", "factor 100", "id"],
)
def test_what_looks_wrong_is_said_before_it_is_saved(tried: Tried, content: str, warning: str) -> None:
    yaml = TENANT.replace("  - {amount: Gross, constants: {currency: EUR}}\n", "  - {constants: {currency: EUR}}\n")
    yaml = yaml.replace("iban: Account}", "iban: Account, amount: Gross}")

    [found] = tried.document(HEADER + content, yaml)["warnings"]

    assert found.startswith(warning)


@pytest.mark.parametrize(
    ("written", "instead", "complaint"),
    [
        ("amount: Gross,", "amount: Gros,", "acme.yaml:11:14: Source 'psp' maps amount to the column 'Gros'"),
        ("where: number(Fee)", "where: numbr(Fee)", "acme.yaml:12:26: source psp, where: there is no function"),
        ("kind: upload", "kind: uplod", "acme.yaml:6:9: expected one of upload"),
    ],
)
def test_a_mistake_is_named_by_file_line_and_column(tried: Tried, written: str, instead: str, complaint: str) -> None:
    code, out, err = tried(HEADER + GOOD, yaml=TENANT.replace(written, instead))

    assert (code, out) == (2, "")
    assert complaint in err


def test_a_source_that_is_not_there_is_refused_with_those_that_are(tried: Tried) -> None:
    code, _, err = tried(HEADER + GOOD, yaml=TENANT.replace("- name: psp", "- name: bank"))

    assert code == 2
    assert "has no source 'psp'. It has: bank." in err
