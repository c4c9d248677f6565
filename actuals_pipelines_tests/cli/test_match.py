"""`actuals match` as a stranger meets it: files in, one screen out, and an exit code that a script can trust."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from openpyxl import Workbook, load_workbook
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from actuals_pipelines.cli import actuals
from actuals_pipelines.errors import ActualsError

PACKAGE = """
name: orders_vs_psp
question: Is every order paid at the PSP for its exact amount?
soll:
  - source: shop
    mapping: {row_id: order_id, transaction_id: reference, timestamp: created_at, amount: total, currency: currency}
ist:
  - source: psp
    mapping: {transaction_id: merchant_reference, timestamp: booked, amount: gross, currency: currency}
tolerance: [0 EUR, 0 JPY]
"""

SHOP = """order_id,reference,created_at,total,currency
1,123,2026-01-31T10:00:00Z,60.00,EUR
2,124,2026-01-31T10:00:00Z,70.00,EUR
3,125,2026-01-31T10:00:00Z,30.00,EUR
"""
PSP = """merchant_reference,booked,gross,currency
123,2026-01-31T11:00:00Z,80.00,EUR
124,2026-01-31T11:00:00Z,60.00,EUR
"""
COLUMNS = [
    "side", "source", "row_id", "transaction_id", "currency", "amount_minor_units", "status", "reason",
    "balance_difference", "group_id", "pass", "category",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "package.yaml").write_text(PACKAGE)
    (tmp_path / "shop.csv").write_text(SHOP)
    (tmp_path / "psp.csv").write_text(PSP)
    return tmp_path


def run(*more: str, soll: str = "shop=shop.csv", ist: str = "psp=psp.csv") -> Result:
    return CliRunner().invoke(actuals, ["match", "package.yaml", "--soll", soll, "--ist", ist, *more])


def as_json(*more: str, **files: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run("--json", *more, **files).stdout)
    return document


@pytest.mark.usefixtures("folder")
def test_the_worked_example_fills_one_screen_and_ends_with_findings() -> None:
    """reconcile/MATCHING.md 3: impact 20 of A and -10 of B; the bridge leaves nothing."""
    result = run()

    assert result.exit_code == 1
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "shop SOLL 3 160.00 EUR 3 20.00 EUR 0.0 %" in lines
    assert "psp IST 2 140.00 EUR 2 -10.00 EUR 0.0 %" in lines
    assert "residual 0.00" in lines
    assert "125 is in SOLL, not in IST 30.00 EUR 1 0 2026-01-31" in lines
    assert any("--diagnose" in line for line in lines)
    assert "\x1b" not in result.stdout


def test_everything_matched_is_exit_code_0(folder: Path) -> None:
    """Nothing is left for a person."""
    (folder / "shop.csv").write_text("\n".join(SHOP.splitlines()[:2]) + "\n")
    (folder / "psp.csv").write_text("\n".join(PSP.replace("80.00", "60.00").splitlines()[:2]) + "\n")

    result = run()

    assert result.exit_code == 0
    assert "Everything is matched or explained." in result.stdout


@pytest.mark.usefixtures("folder")
def test_json_is_one_document_with_figures_bridge_and_proofs() -> None:
    """Nothing else is on standard output."""
    document = as_json("--as-of", "2026-02-01")

    assert {
        "sources", "statuses", "bridge", "stock_and_flow", "rejects", "warnings", "impact", "files", "open_items",
    } <= set(document)  # fmt: skip
    assert [source["impact"]["net"] for source in document["sources"]] == [2000, -1000]
    assert [bridge["residual"] for bridge in document["bridge"]] == [0]
    assert all(flow["residual"] == {"rows": 0, "amount": 0} for flow in document["stock_and_flow"])
    assert document["as_of"] == "2026-02-01"


@pytest.mark.parametrize("suffix", ["csv", "parquet", "xlsx"])
def test_results_have_one_line_per_row_whatever_the_format(folder: Path, suffix: str) -> None:
    """Both rows of a group carry its difference."""
    run("--out", f"results.{suffix}")

    lines = read_results(folder / f"results.{suffix}")
    assert list(lines[0]) == COLUMNS
    found = {(line["side"], line["transaction_id"]): int(line["balance_difference"]) for line in lines}
    assert found == {
        ("soll", "123"): -2000, ("ist", "123"): -2000, ("soll", "124"): 1000, ("ist", "124"): 1000,
        ("soll", "125"): 3000,
    }  # fmt: skip


def test_the_same_files_give_the_same_results_byte_for_byte(folder: Path) -> None:
    """Though the keys' pepper is another one each time."""
    run("--out", "one.csv")
    run("--out", "two.csv")

    assert (folder / "one.csv").read_bytes() == (folder / "two.csv").read_bytes()


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_a_text_is_never_a_formula_in_a_spreadsheet(folder: Path, suffix: str) -> None:
    """CWE-1236; a negative amount stays a number."""
    (folder / "shop.csv").write_text(
        SHOP
        + '4,"=HYPERLINK(""http://x"")",2026-01-31,-3.00,EUR\n5,@sum,2026-01-31,1.00,EUR\n6,-2+3,2026-01-31,1.00,EUR\n'
    )

    run("--out", f"results.{suffix}")

    lines = read_results(folder / f"results.{suffix}")
    ids = {line["transaction_id"] for line in lines}
    assert {'\'=HYPERLINK("http://x")', "'@sum", "'-2+3"} <= ids
    assert -300 in {int(line["amount_minor_units"]) for line in lines}


@pytest.mark.parametrize("suffix", ["parquet", "xlsx"])
def test_parquet_and_xlsx_are_read_as_csv_is(folder: Path, suffix: str) -> None:
    """The same rows, the same figures."""
    from_csv = as_json()
    if suffix == "parquet":
        parquet.write_table(arrow_csv.read_csv(folder / "shop.csv"), folder / "shop.parquet")
    else:
        book = Workbook()
        for line in csv.reader(SHOP.splitlines()):
            book.active.append(line)  # type: ignore[union-attr]
        book.save(folder / "shop.xlsx")

    other = as_json(soll=f"shop=shop.{suffix}")

    assert other["sources"] == from_csv["sources"]
    assert other["bridge"] == from_csv["bridge"]


def test_a_record_that_cannot_be_read_is_listed_and_never_its_value(folder: Path) -> None:
    """File, line, field and reason; it is in no figure, and the exit code says so."""
    (folder / "shop.csv").write_text(SHOP + "4,126,2026-01-31,12.345,EUR\n5,127,2026-01-31,x77y,EUR\n")

    result = run()
    document = as_json()

    assert result.exit_code == 1
    assert "Rejected records: 2" in result.stdout
    assert [(each["file"], each["line"], each["field"]) for each in document["rejects"]] == [
        ("shop.csv", 5, "amount"),
        ("shop.csv", 6, "amount"),
    ]
    assert "12.345" not in result.stdout
    assert "x77y" not in result.stdout
    assert document["files"][0]["records"] == 5


def test_a_row_id_that_is_used_twice_is_a_reject_with_both_lines(folder: Path) -> None:
    """The same line again, or another line under its id: either way no money counts twice."""
    (folder / "shop.csv").write_text(
        SHOP + "3,125,2026-01-31T10:00:00Z,30.00,EUR\n1,999,2026-01-31T10:00:00Z,5.00,EUR\n"
    )

    document = as_json()

    assert sorted(each["reason"] for each in document["rejects"]) == [
        "another line with the row_id of line 2",
        "the same line again as line 4",
    ]
    assert document["sources"][0]["amount"] == 16000


def test_due_is_judged_at_the_day_given(folder: Path) -> None:
    """On the next day the payment may still come."""
    (folder / "package.yaml").write_text(PACKAGE + "due: {ist: 3 business days}\n")

    early = as_json("--as-of", "2026-02-01")
    late = as_json("--as-of", "2026-02-10")

    assert "not_due" in {status["reason"] for status in early["statuses"]}
    assert "missing_ist" in {status["reason"] for status in late["statuses"]}


def test_ids_in_text_and_explanations_work_on_plain_files(folder: Path) -> None:
    """A shop against its PSP on two files: an id in a text, and a fee that a rule explains."""
    (folder / "package.yaml").write_text(
        """
name: orders_vs_psp
ids:
  order: {field: transaction_id, find: "ORD[^0-9]{0,3}([0-9]{4})", clean: upper}
soll:
  - source: shop
    mapping: {transaction_id: ref, booked_on: day, amount: total, currency: currency}
ist:
  - source: psp
    mapping: {transaction_id: ref, booked_on: day, amount: total, currency: currency, reference: words}
passes:
  - {name: order number, by: order}
  - {name: order number in text, by: order, look_in: [reference]}
explanations:
  - name: fee kept
    category: fee
    when: "ist_rows > 0 and balance_difference between money('0.01 EUR') and money('0.35 EUR')"
"""
    )
    (folder / "shop.csv").write_text(
        "ref,day,total,currency\nORD-0001,2026-01-31,10.00,EUR\nORD-0002,2026-01-31,20.00,EUR\nORD-0003,2026-01-31,5.00,EUR\n"
    )
    (folder / "psp.csv").write_text(
        "ref,day,total,currency,words\nORD 0001,2026-01-31,9.70,EUR,\n,2026-01-31,20.00,EUR,payment ORD 0002 thanks\n"
        "ORD0003,2026-01-31,5.00,EUR,\n"
    )

    document = as_json()

    found = {(s["status"], s["category"] or s["pass_name"] or s["reason"]): s["groups"] for s in document["statuses"]}
    assert found == {("matched", "order number in text"): 1, ("matched", "order number"): 1, ("explained", "fee"): 1}


@pytest.mark.usefixtures("folder")
def test_diagnose_tells_how_ids_differ(folder: Path) -> None:
    """With examples from the user's own files."""
    (folder / "psp.csv").write_text(PSP.replace("\n12", "\nORD-12"))

    result = run("--diagnose")

    assert "the same but for letters before or after the number" in result.stdout
    assert "'ORD-123'" in result.stdout


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"soll": "nobody=shop.csv"}, "shop"),
        ({"soll": "shop=missing.csv"}, "missing.csv"),
        ({"soll": "shop=package.yaml"}, "ending"),
    ],
)
def test_files_that_do_not_fit_the_package_are_refused(options: dict[str, str], words: str) -> None:
    """With the name of what is wrong."""
    result = run(**options)

    assert isinstance(result.exception, ActualsError)
    assert words in str(result.exception)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("out", ["results.pdf", "no_such_folder/results.csv", "shop.csv"])
def test_a_target_that_cannot_be_is_refused_before_any_work(out: str) -> None:
    """Above all one of the inputs."""
    result = run("--out", out)

    assert isinstance(result.exception, ActualsError)
    assert out in str(result.exception)


def test_a_pass_that_is_not_built_is_refused_by_name(folder: Path) -> None:
    """Leaving it out would give a result that looks complete."""
    (folder / "package.yaml").write_text(PACKAGE + "passes: [{name: same amount, by: amount, result: matched}]\n")

    result = run()

    assert isinstance(result.exception, ActualsError)
    assert "pass 'same amount' (by: amount, result: matched) is not built yet" in str(result.exception)


def test_what_a_pass_without_ids_proposes_is_shown_and_matches_nothing(folder: Path) -> None:
    """124 was paid as X-1, and 125 is in no file."""
    (folder / "package.yaml").write_text(
        PACKAGE + "passes: [{name: id, by: transaction_id}, {name: same amount, by: amount, days: [0, 3]}]\n"
    )
    (folder / "psp.csv").write_text(PSP.replace("124,", "X-1,").replace("60.00", "70.00"))

    document = as_json()

    assert [(each["proposal"], each["verdict"], each["ids"], each["amount"]) for each in document["proposals"]] == [
        (1, "proposed", "124", 7000),
        (1, "proposed", "X-1", 7000),
    ]
    assert {status["status"] for status in document["statuses"]} == {"unmatched"}
    assert "Proposals: nothing is matched by them" in run().stdout


def test_help_loads_neither_duckdb_nor_arrow_nor_rich() -> None:
    """It answers at once."""
    code = (
        "import sys\nfrom actuals_pipelines.cli import actuals\n"
        "actuals(['match', '--help'], standalone_mode=False)\n"
        "print([name for name in ('duckdb', 'pyarrow', 'rich', 'sqlglot', 'openpyxl') if name in sys.modules])"
    )

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert shown.stdout.endswith("[]\n")
    assert isinstance(actuals, click.Group)


def read_results(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        table: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return table
    if path.suffix == ".csv":
        return list(csv.DictReader(path.read_text().splitlines()))
    header, *rows = load_workbook(path).active.iter_rows(values_only=True)  # type: ignore[union-attr]
    return [dict(zip([str(name) for name in header], row, strict=True)) for row in rows]
