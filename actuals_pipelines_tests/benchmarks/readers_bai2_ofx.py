"""BAI2 and OFX: `python -m actuals_pipelines_tests.benchmarks.readers_bai2_ofx [ENTRIES]`, against bai2, ofxparse and
ofxtools where they are installed (requirements-benchmarks.lock).

Every line says whether the number of entries and their sum came out right. Times are printed, never asserted.
"""

from __future__ import annotations

import importlib
import io
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from actuals_pipelines.readers import Reading, open_reader
from actuals_pipelines.readers.sandbox import read_apart
from actuals_pipelines_tests.benchmarks.stopwatch import tell
from actuals_pipelines_tests.readers import test_ofx

_HEADER = (  # whole, as ofxtools wants it
    "OFXHEADER:100\nDATA:OFXSGML\nVERSION:102\nSECURITY:NONE\nENCODING:USASCII\nCHARSET:1252\nCOMPRESSION:NONE\n"
    "OLDFILEUID:NONE\nNEWFILEUID:NONE\n\n"
)
Found = tuple[int, int]  # entries, their sum in minor units


def bai2_file(entries: int) -> bytes:
    """Credits and debits in turn, each with a continuation; its trailers state the right totals."""
    records = [
        f"16,{195 if n % 2 else 495},{n},Z,BANK{n},CUST{n},Invoice {n}/\n88,of customer {n}/"
        for n in range(1, entries + 1)
    ]
    total = sum(range(1, entries + 1))
    head = "01,BANK,US,260131,0800,1,,,2/\n02,US,BANK,1,260131,2400,EUR,2/\n03,4711,EUR,/\n"
    lines = 2 * entries + 2
    tail = f"49,{total},{lines}/\n98,{total},1,{lines + 2}/\n99,{total},1,{lines + 4}/\n"
    return (head + "\n".join(records) + "\n" + tail).encode()


def ofx_file(entries: int) -> bytes:
    """Amounts of both signs."""
    lines = (
        test_ofx.entry(f"{'-' if n % 2 else ''}{n}.{n % 100:02}", more=f"<NAME>Shop {n}<MEMO>Order {n}", fitid=f"F{n}")
        for n in range(1, entries + 1)
    )
    return test_ofx.document(*lines, header=_HEADER)


def _ours(format: str, data: bytes) -> Found:
    return _found(open_reader(format).read(io.BytesIO(data), {}))


def _ours_apart(format: str, data: bytes) -> Found:
    return _found(read_apart(format, io.BytesIO(data), {}))


def _found(reading: Reading) -> Found:
    rows = reading.table().num_rows
    return rows, sum(each.credits - each.debits for each in reading.controls)


def _by_bai2(data: bytes) -> Found:
    parser = importlib.import_module("bai2.bai2")
    file = parser.parse_from_file(io.StringIO(data.decode()), check_integrity=False)
    rows = [t for group in file.children for account in group.children for t in account.children]
    credit = importlib.import_module("bai2.constants").TypeCodeTransaction.credit
    return len(rows), sum(row.amount if row.type_code.transaction is credit else -row.amount for row in rows)


def _by_ofxparse(data: bytes) -> Found:
    parser = importlib.import_module("ofxparse")
    rows = parser.OfxParser.parse(io.BytesIO(data)).account.statement.transactions
    return len(rows), sum(int(Decimal(row.amount).scaleb(2)) for row in rows)


def _by_ofxtools(data: bytes) -> Found:
    tree = importlib.import_module("ofxtools.Parser").OFXTree()
    tree.parse(io.BytesIO(data))
    rows = list(tree.getroot().iter("STMTTRN"))
    return len(rows), sum(int(Decimal(row.findtext("TRNAMT") or "0").scaleb(2)) for row in rows)


def _run(name: str, size: int, expected: Found, do: Callable[[], Found]) -> float | None:
    started = time.perf_counter()
    try:
        found = do()
    except ImportError:
        tell(f"  {name:28} is not installed")
        return None
    except Exception as failure:
        tell(f"  {name:28} failed with {type(failure).__name__}")
        return None
    seconds = time.perf_counter() - started
    verdict = "right" if found == expected else f"WRONG: {found}"
    rates = f"{expected[0] / seconds:12,.0f} entries/s {size / 1e6 / seconds:8.1f} MB/s"
    tell(f"  {name:28} {seconds:8.2f} s {rates}  {verdict}")
    return seconds


def main() -> None:
    """Print one block per format, and how many times faster than the fastest peer that was right."""
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    formats: dict[str, tuple[bytes, Found, dict[str, Callable[[bytes], Any]]]] = {
        "bai2": (
            bai2_file(entries),
            (entries, sum(n if n % 2 else -n for n in range(1, entries + 1))),
            {"bai2": _by_bai2},
        ),
        "ofx": (
            ofx_file(entries),
            (entries, sum((-1 if n % 2 else 1) * (100 * n + n % 100) for n in range(1, entries + 1))),
            {"ofxparse": _by_ofxparse, "ofxtools": _by_ofxtools},
        ),
    }
    for format, (data, expected, peers) in formats.items():
        tell(f"{format}: {entries:,} entries, {len(data) / 1e6:.1f} MB")
        _ours(format, data), _ours_apart(format, data)  # libraries and processes are loaded once
        ours = _run("ours", len(data), expected, lambda: _ours(format, data))  # noqa: B023
        _run("ours, in the confined process", len(data), expected, lambda: _ours_apart(format, data))  # noqa: B023
        for name, peer in peers.items():
            theirs = _run(name, len(data), expected, lambda: peer(data))  # noqa: B023
            if ours and theirs:
                tell(f"  {'':28} ours takes 1/{theirs / ours:.1f} of its time")


if __name__ == "__main__":
    main()
