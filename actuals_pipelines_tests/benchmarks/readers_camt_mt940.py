"""CAMT.053 and MT940 against what others use: `python -m actuals_pipelines_tests.benchmarks.readers_camt_mt940 [MB]`.

Files are written here: CAMT.053.001.08 with batches (each third entry has five details), MT940 with GVC subfields and
SEPA tags, reversals included. Right means: as many entries and the same signed sum as were written. mt-940 reads
with all its corrections on (`Options.all()`). A peer that is not installed is left out; pycamt and bankstatementparser
read a file of a tenth of the size, because they hold it whole or take minutes.

How to read it: compare CPU on a busy machine. `flat` reads ten times the size, in this process: its peak should stay.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lxml import etree

from actuals_pipelines.readers import open_reader
from actuals_pipelines_tests.benchmarks.stopwatch import measured, tell

_ENTRY = """<Ntry><NtryRef>{number}</NtryRef><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>{sign}</CdtDbtInd>
 <Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>2026-01-31</Dt></BookgDt><ValDt><Dt>2026-01-31</Dt></ValDt>
 <AcctSvcrRef>B{number}</AcctSvcrRef><BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly>
 </Domn></BkTxCd><NtryDtls>{details}</NtryDtls><AddtlNtryInf>Received</AddtlNtryInf></Ntry>
"""
_DETAIL = """<TxDtls><Refs><InstrId>I{number}-{place}</InstrId><EndToEndId>order-{number}-{place}</EndToEndId></Refs>
  <Amt Ccy="EUR">10.00</Amt><CdtDbtInd>{sign}</CdtDbtInd><AmtDtls><TxAmt><Amt Ccy="EUR">10.00</Amt></TxAmt></AmtDtls>
  <RltdPties><Dbtr><Pty><Nm>Customer {number}</Nm><PstlAdr><StrtNm>Street</StrtNm><TwnNm>Town</TwnNm></PstlAdr></Pty>
  </Dbtr><DbtrAcct><Id><IBAN>NL91ABNA0417164300</IBAN></Id></DbtrAcct></RltdPties>
  <RltdAgts><DbtrAgt><FinInstnId><BICFI>ABNANL2A</BICFI></FinInstnId></DbtrAgt></RltdAgts>
  <RmtInf><Ustrd>Payment for order {number}-{place}</Ustrd></RmtInf></TxDtls>
"""
_LINE = (
    ":61:2601310131{mark}R{whole},{cents:02d}NTRFNONREF//B{number:012d}\n"
    ":86:166?00GUTSCHRIFT?100399?20EREF+order-{number:08d}             ?21SVWZ+Payment for order nu?22mber {number}"
    "?30DEUTDEFF?31DE89370400440532013000?32Customer\n"
)


@dataclass(frozen=True, slots=True)
class Made:
    """A file, and what a reader must find in it."""

    path: Path
    entries: int
    net: int  # minor units

    @property
    def mb(self) -> float:
        return self.path.stat().st_size / 1e6


def main() -> None:
    """Write the files, read them with each reader, print."""
    for format in ("camt053", "mt940"):
        open_reader(format)  # what is imported is no reader's work
    size = float(sys.argv[1]) if len(sys.argv) > 1 else 20
    logging.disable(logging.CRITICAL)  # mt-940 logs what it cannot read
    with tempfile.TemporaryDirectory(prefix="actuals-benchmark-") as name:
        folder = Path(name)
        camt, small = a_camt(folder / "camt.xml", size), a_camt(folder / "small.xml", size / 10)
        swift = an_mt940(folder / "swift.sta", size / 10)
        runs: list[tuple[str, Made, Callable[[Path], tuple[int, int]]]] = [
            ("camt053 ours", camt, lambda path: ours("camt053", path)),
            ("lxml alone", camt, lxml_alone),
            ("camt053 ours, a tenth", small, lambda path: ours("camt053", path)),
            ("mt940 ours", swift, lambda path: ours("mt940", path)),
        ]
        peers = {"mt940": ("mt-940", swift, mt940), "pycamt": ("pycamt, a tenth", small, pycamt)}
        peers["bankstatementparser"] = ("bankstatementparser, a tenth", small, bankstatementparser)
        runs += [peer for module, peer in peers.items() if find_spec(module)]
        tell(f"{'':32} {'MB':>6} {'entries':>8} {'CPU s':>8} {'MB/s':>7} {'entries/s':>10} {'peak MiB':>9}  right")
        rates = {name: run(name, made, read) for name, made, read in runs}
        limit = rates["lxml alone"] / rates["camt053 ours"]
        tell(f"ratio of CPU, camt053 ours to lxml alone: {limit:.1f}")
        if "mt-940" in rates:
            tell(f"ratio of entries/s, mt940 ours to mt-940: {rates['mt940 ours'] / rates['mt-940']:.1f}")
        run("camt053 ours, flat", a_camt(folder / "large.xml", size * 10), lambda path: ours("camt053", path))


def run(name: str, made: Made, read: Callable[[Path], tuple[int, int]]) -> float:
    """Measure one reader on one file; gives its entries per CPU second."""
    with measured(name) as step:
        found = read(made.path)
    right = "yes" if found == (made.entries, made.net) else f"no: {found[0]} entries, net {found[1] - made.net:+d}"
    rate = made.entries / step.cpu_seconds
    speed = f"{step.cpu_seconds:8.2f} {made.mb / step.cpu_seconds:7.1f} {rate:10,.0f} {step.peak_mib:9.0f}"
    tell(f"{name:32} {made.mb:6.1f} {made.entries:8,} {speed}  {right}")
    return rate


def ours(format: str, path: Path) -> tuple[int, int]:
    """Entries and net as the statement's controls have them, after all batches went by."""
    with path.open("rb") as stream:
        reading = open_reader(format).read(stream, {})
        entries = sum(batch.num_rows for batch in reading.batches)
    return entries, sum(each.credits - each.debits for each in reading.controls)


def lxml_alone(path: Path) -> tuple[int, int]:
    """The limit: the file is parsed and forgotten, and no field is read."""
    entries = 0
    for _, element in etree.iterparse(path, events=("end",), tag=("{*}TxDtls", "{*}Ntry")):
        entries += element.tag.endswith("}Ntry")
        element.clear()
    return entries, 0


def mt940(path: Path) -> tuple[int, int]:
    """mt-940, with reversals signed."""
    import mt940 as library  # noqa: PLC0415

    amounts = [each.data["amount"].amount for each in library.parse(path.read_text(), options=library.Options.all())]
    return len(amounts), int(sum(amounts) * 100)


def pycamt(path: Path) -> tuple[int, int]:
    """pycamt gives one row per detail."""
    from pycamt.parser import Camt053Parser  # noqa: PLC0415

    rows: list[dict[str, Any]] = Camt053Parser(path.read_text()).get_transactions()
    signed = (Decimal(row["Amount"]) * (-1 if row["CreditDebitIndicator"] == "DBIT" else 1) for row in rows)
    return len(rows), int(sum(signed) * 100)


def bankstatementparser(path: Path) -> tuple[int, int]:
    """bankstatementparser gives a data frame with floats."""
    from bankstatementparser import CamtParser  # noqa: PLC0415

    rows = CamtParser(str(path)).get_transactions()
    return len(rows), round(float(rows["Amount"].sum()) * 100) if len(rows) else 0


def a_camt(path: Path, mb: float) -> Made:
    """One statement of about that size."""
    number, net = 0, 0
    with path.open("w") as file:
        file.write(
            '<?xml version="1.0"?>\n<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>'
            "<GrpHdr><MsgId>M</MsgId></GrpHdr><Stmt><Id>S1</Id><CreDtTm>2026-01-31T23:59:00Z</CreDtTm>"
            "<Acct><Id><IBAN>NL02ABNA0123456789</IBAN></Id><Ccy>EUR</Ccy></Acct>\n"
        )
        while file.tell() < mb * 1e6:
            number += 1
            count, sign = 5 if number % 3 == 0 else 1, "DBIT" if number % 4 == 0 else "CRDT"
            net += count * (-1000 if sign == "DBIT" else 1000)
            details = "".join(_DETAIL.format(number=number, place=place, sign=sign) for place in range(count))
            file.write(_ENTRY.format(number=number, amount=f"{count * 10}.00", sign=sign, details=details))
        file.write("</Stmt></BkToCstmrStmt></Document>")
    return Made(path, number, net)


def an_mt940(path: Path, mb: float) -> Made:
    """Statements of a hundred entries, about that size together."""
    number, net = 0, 0
    with path.open("w") as file:
        while file.tell() < mb * 1e6:
            opening = f"{'C' if net >= 0 else 'D'}260130EUR{abs(net) // 100},{abs(net) % 100:02d}"
            file.write(f":20:STARTUMS\n:25:10020030/1234567\n:28C:{number // 100 + 1}/1\n:60F:{opening}\n")
            for _ in range(100):
                number += 1
                mark, minor = ("C", "D", "RC", "RD", "C")[number % 5], 1000 + number % 9000
                net += minor if mark in ("C", "RD") else -minor
                file.write(_LINE.format(mark=mark, whole=minor // 100, cents=minor % 100, number=number))
            closing = f"{'C' if net >= 0 else 'D'}260131EUR{abs(net) // 100},{abs(net) % 100:02d}"
            file.write(f":62F:{closing}\n-\n")
    return Made(path, number, net)


if __name__ == "__main__":
    main()
