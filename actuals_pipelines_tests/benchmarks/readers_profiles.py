"""How fast profiles read: `python -m actuals_pipelines_tests.benchmarks.readers_profiles [ROWS]`. Needs no home.

A settlement detail report of 31 columns is written, in which each record gives a payment and its fee, and a bank's
workbook of a thirtieth of its rows. Ours gives entries of 24 columns, two a record, with batches that are held against
their payouts; the peers take out the net amount alone: csv with Decimal, polars (all columns as text, the amounts to
decimals), and openpyxl, which reads cells. `right` says whether the sum is the one that was written.

How to read it: rates are by CPU, because other programs run beside it. `flat` is a file of four times the rows: its
peak must be about the same.
"""

from __future__ import annotations

import csv
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import openpyxl

from actuals_pipelines.readers import open_reader
from actuals_pipelines.readers.profiles import ProfileReader, load
from actuals_pipelines_tests.benchmarks.stopwatch import measured, tell

_HEADER = (
    "Company Account,Merchant Account,Psp Reference,Merchant Reference,Payment Method,Creation Date,TimeZone,Type,"
    "Modification Reference,Gross Currency,Gross Debit (GC),Gross Credit (GC),Exchange Rate,Net Currency,"
    "Net Debit (NC),Net Credit (NC),Commission (NC),Markup (NC),Scheme Fees (NC),Interchange (NC),"
    "Payment Method Variant,Modification Merchant Reference,Batch Number,Reserved4,Reserved5,Reserved6,Reserved7,"
    "Reserved8,Reserved9,Reserved10,Booking Date\n"
)
_BANK = """
name: bank
columns: {account: Account, booked: Booked, amount: Amount, text: Text}
amounts: {columns: amount, decimal: "."}
dates: {columns: booked, formats: "%Y-%m-%d"}
entry: {account: account, currency: "'EUR'", booked_on: booked, kind: payment, amount: amount, text: text}
"""
_NET = "Net Credit (NC)"


@dataclass(frozen=True, slots=True)
class Made:
    """A file, its records, and what they add up to in minor units."""

    path: Path
    rows: int
    net: int


def main() -> None:
    """Write the files, read them with each reader, print."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    with tempfile.TemporaryDirectory(prefix="actuals-benchmark-") as name:
        folder = Path(name)
        report, book = a_report(folder / "report.csv", rows), a_workbook(folder / "bank.xlsx", rows // 30)
        tell(f"{'':28} {'rows':>9} {'MB':>7} {'CPU s':>8} {'rows/s':>10} {'peak MiB':>9}  right")
        ours = run("csv, profile", report, profile)
        peers = {"csv + Decimal": run("csv + Decimal", report, by_hand)}
        if find_spec("polars"):
            peers["polars"] = run("polars", report, polars)
        for peer, rate in peers.items():
            tell(f"ratio of rows/s, profile to {peer}: {ours / rate:.2f}")
        cells = run("xlsx, profile", book, workbook)
        tell(f"ratio of rows/s, profile to openpyxl: {cells / run('openpyxl', book, by_openpyxl):.1f}")
        run("csv, profile, flat", a_report(folder / "large.csv", rows * 4), profile)


def run(name: str, made: Made, read: Callable[[Path], int]) -> float:
    """Measure one reader on one file; gives its rows per CPU second."""
    with measured(name) as step:
        net = read(made.path)
    rate = made.rows / step.cpu_seconds
    size = made.path.stat().st_size / 1e6
    right = "yes" if net == made.net else f"no, by {net - made.net}"
    tell(f"{name:28} {made.rows:9,} {size:7.1f} {step.cpu_seconds:8.2f} {rate:10,.0f} {step.peak_mib:9.0f}  {right}")
    return rate


def profile(path: Path) -> int:
    """Entries by the library's profile, all batches; the sum is the controls'."""
    with path.open("rb") as stream:
        reading = open_reader("adyen_settlement").read(stream, {})
        for _ in reading.batches:
            pass
    return sum(control.credits - control.debits for control in reading.controls)


def by_hand(path: Path) -> int:
    """The standard library's csv with Decimal."""
    net = Decimal(0)
    with path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            _ = row["Type"], row["Psp Reference"]
            net += Decimal(row[_NET] or "0") - Decimal(row["Net Debit (NC)"] or "0")
    return int(net * 100)


def polars(path: Path) -> int:
    """All columns as text, six of them to decimals."""
    import polars as pl  # noqa: PLC0415

    amounts = [_NET, "Net Debit (NC)", "Commission (NC)", "Markup (NC)", "Scheme Fees (NC)", "Interchange (NC)"]
    frame = pl.read_csv(path, infer_schema=False).with_columns(pl.col(name).cast(pl.Decimal(18, 2)) for name in amounts)
    return int((frame[_NET].sum() or Decimal(0)) * 100)


def workbook(path: Path) -> int:
    """Entries of the workbook by a profile."""
    with path.open("rb") as stream:
        reading = ProfileReader(load(_BANK, "bank.yaml")).read(stream, {})
        for _ in reading.batches:
            pass
    return sum(control.credits - control.debits for control in reading.controls)


def by_openpyxl(path: Path) -> int:
    """Cells, read only."""
    sheet = openpyxl.load_workbook(path, read_only=True).worksheets[0]
    return sum(round(Decimal(str(row[2])) * 100) for row in sheet.iter_rows(min_row=2, values_only=True))


def a_report(path: Path, rows: int) -> Made:
    """Payments with three fees each, 50,000 a batch."""
    dice = random.Random(1)
    total = 0
    with path.open("w", newline="\n") as out:
        out.write(_HEADER)
        for number in range(rows):
            gross, fees = dice.randint(100, 99_999), [dice.randint(1, 20) for _ in range(3)]
            net = gross - sum(fees)
            total += net
            markup, scheme, interchange = (f"{fee / 100:.2f}" for fee in fees)
            day, minute = 1 + number % 28, number % 60
            out.write(
                f"Shop,ShopCOM,{10**15 + number},order-{number}.1,visa,2026-02-{day:02d} 16:{minute:02d}:51,"
                f"CET,Settled,{2 * 10**15 + number},EUR,,{gross / 100:.2f},1,EUR,,{net / 100:.2f},,{markup},{scheme},"
                f"{interchange},visadebit,order-{number}.1,{number // 50_000},,,,,,,,2026-03-{day:02d} 11:09:55\n"
            )
    return Made(path, rows, total)


def a_workbook(path: Path, rows: int) -> Made:
    """A bank's account, numbers in numeric cells."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    sheet.append(["Account", "Booked", "Amount", "Text"])
    for number in range(rows):
        sheet.append(["DE1", f"2026-01-{1 + number % 28:02d}", (number % 9_000 - 4_000) / 100, f"order {number}"])
    book.save(path)
    return Made(path, rows, sum(number % 9_000 - 4_000 for number in range(rows)))


if __name__ == "__main__":
    main()
