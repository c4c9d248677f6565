"""Mutate files of a format byte by byte for some seconds: each must be read, rejected in part, or refused.

    python -m actuals_pipelines_tests.fuzz ofx --seconds 60 [--seed 1] [--files FOLDER] [--apart]

Seeds are our own fixtures, and the files of FOLDER where one is named. A crash, or an answer that takes more than ten
seconds of CPU, ends it with exit code 1, and the bytes that did it are printed as hex.
"""

from __future__ import annotations

import argparse
import io
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from actuals_pipelines.errors import ActualsError
from actuals_pipelines.readers import FORMATS, open_reader
from actuals_pipelines.readers.detect import detect
from actuals_pipelines.readers.sandbox import read_apart
from actuals_pipelines_tests.readers import test_bai2, test_berlin_group, test_camt, test_detect, test_ofx, test_readers

_PATIENCE_SECONDS = 10  # of CPU: how busy the machine is says nothing about a reader
_DEADLINE_SECONDS = 300  # for what waits and does not compute
_LONGEST_SHOWN = 4_000
SEEDS: dict[str, list[bytes]] = {
    "bai2": [test_bai2.statement("16,195,60,V,260202,,B1,C1,text/", "88,more/", "16,495,10,D,1,0,5,,,x/")],
    "ofx": [test_ofx.document(test_ofx.entry(more="<NAME>a &amp; b<CURRENCY><CURSYM>USD</CURRENCY>"))],
    "berlin_group": [test_berlin_group.answer(booked=[test_berlin_group.ENTRY], balances=("1.00", "2.00"))],
    "camt053": [test_camt.document(test_camt.statement())],
    "mt940": [test_detect.MT940],
    "mt942": [test_detect.MT942],
    "csv": [b'id;amount\n1;"2,50"\n2;3\n'],
    "ndjson": [b'{"id": 1, "amount": 2.50}\n{"id": 2}\n'],
    "xlsx": [test_readers.workbook({"one": [["a", "b"], [1, "x"]]})],
}


class _TooSlow(Exception):
    pass


def _mutated(seeds: list[bytes], dice: random.Random) -> bytes:
    data = bytearray(dice.choice(seeds))
    for _ in range(dice.choice((1, 1, 2, 4, 16))):
        place = dice.randrange(len(data) + 1)
        span = min(dice.choice((1, 2, 8, 64)), len(data) - place)
        match dice.randrange(6):
            case 0:
                data[place : place + 1] = bytes([dice.randrange(256)])
            case 1:
                del data[place : place + span]
            case 2:
                data[place:place] = data[place : place + span] * dice.choice((1, 2, 50))
            case 3:
                data[place:place] = dice.choice(
                    (b"\0", b"\r", b"\n", b'"', b"<", b">", b"/", b",", b"-", b"\xff", b"9" * 40)
                )
            case 4:
                other = dice.choice(seeds)
                data[place : place + span] = other[(start := dice.randrange(len(other) + 1)) : start + span]
            case _:
                del data[place:]
        if not data:
            break
    return bytes(data)


def _outcome(format: str, data: bytes, *, is_apart: bool) -> str:
    try:
        stream, options = io.BytesIO(data), {"details": "true"}
        reading = read_apart(format, stream, options) if is_apart else open_reader(format).read(stream, options)
        rows = reading.table().num_rows
    except ActualsError:
        return "refused"
    return "rejects" if reading.rejects else "read" if rows else "nothing"


def _seeds(format: str, folder: str | None) -> list[bytes]:
    found = list(SEEDS.get(format, []))
    for path in sorted(Path(folder).rglob("*")) if folder else ():
        if path.is_file() and path.stat().st_size < 200_000:
            data = path.read_bytes()
            try:
                fits = detect(data) in (format, "csv", "json", "xlsx")
            except ActualsError:
                fits = False
            if fits:
                found.append(data)
    return found


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise _TooSlow


def main() -> int:
    """Run; 0 if every outcome was one of those that may be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--files", metavar="FOLDER")
    parser.add_argument("--apart", action="store_true", help="read in the confined process")
    given = parser.parse_args()
    seeds = _seeds(given.format, given.files)
    if not seeds:
        parser.error(f"there is no fixture of {given.format}: name a folder with --files")
    dice, counts = random.Random(given.seed), Counter[str]()
    signal.signal(signal.SIGPROF, _stop)
    signal.signal(signal.SIGALRM, _stop)
    end = time.monotonic() + given.seconds
    while time.monotonic() < end:
        data = _mutated(seeds, dice)
        signal.setitimer(signal.ITIMER_PROF, _PATIENCE_SECONDS)
        signal.alarm(_DEADLINE_SECONDS)
        try:
            counts[_outcome(given.format, data, is_apart=given.apart)] += 1
        except Exception as failure:
            sys.stderr.write(f"{type(failure).__name__}: {failure}\n{data[:_LONGEST_SHOWN].hex()}\n")
            return 1
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)
    sys.stdout.write(f"{given.format}: {counts.total():,} files: {dict(counts)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
