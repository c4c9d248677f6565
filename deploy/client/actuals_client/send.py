"""actuals-send: pipe a CSV or NDJSON file into the inbox. Nothing read is lost, and nothing is stored twice."""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from actuals_client.client import InboxClient
from actuals_client.exchange import Delivered, Refused, Unavailable
from actuals_client.rows import Columns, FileRefused, RowRefused, read_csv, read_ndjson
from actuals_client.spool import Spool, line_of

_EXIT_SENT, _EXIT_REFUSED, _EXIT_USAGE, _EXIT_WAITS = 0, 1, 2, 3
_SPOOLED_AT_ONCE = 5_000
_SHOWN = 20

_EPILOG = """
examples:
  ACTUALS_KEY=prod_... actuals-send --url https://inbox.example:8444 --source shop \\
      --id-column order_id --timestamp-column created_at --time-zone Europe/Amsterdam orders.csv
  generate | actuals-send --url https://inbox.example:8444 --key-file key.txt --format ndjson -

Rows are first kept in a spool on disk and removed when the inbox has acknowledged them. After a crash or an outage,
say the same without FILE to send what waits; sending a file again does no harm, ids are stored once.

exit codes: 0 all acknowledged; 1 some refused (told, and kept in the spool or in --refused); 2 the command, the file
or the key is wrong; 3 the inbox could not be reached: the rest waits in the spool.
"""


def main() -> None:
    """The command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    shown = _Shown(as_json=options.json)
    try:
        return _send(options, shown)
    except Unavailable as unavailable:
        return shown.end(_EXIT_WAITS, f"{unavailable} What is not acknowledged waits in {options.spool}.")
    except (FileRefused, Refused, ValueError, ssl.SSLError, OSError, UnicodeError) as error:
        return shown.end(_EXIT_USAGE, str(error))


def _send(options: argparse.Namespace, shown: _Shown) -> int:
    client = InboxClient(
        options.url,
        _key(options.key_file),
        ca_file=options.ca,
        client_certificate=tuple(options.client_certificate) if options.client_certificate else None,
        keep_trying_seconds=options.keep_trying,
    )
    with ExitStack() as stack:
        spool = stack.enter_context(Spool(options.spool))
        inbox = stack.enter_context(client)
        delivered = Delivered()
        if len(spool):
            shown.say(f"{len(spool)} rows wait from before: they go first")
            delivered = inbox.deliver(spool, shown.progress)
        if options.file:
            stream, size = _opened(options.file, stack)
            shown.size, shown.position = size, stream.buffer.tell if size else None
            for some in _spooled(_rows(stream, options), spool, shown):
                shown.spooled = some
                _add(delivered, inbox.deliver(spool, shown.progress))
        refused = list(spool.refused())
        if options.refused and refused:
            with os.fdopen(os.open(options.refused, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab") as kept:
                kept.writelines(line_of(transaction) + b"\n" for _, transaction, _ in refused)
            spool.discard_refused(number for number, _, _ in refused)
    return shown.result(delivered, [reason for _, _, reason in refused], options.refused or options.spool)


def _add(total: Delivered, more: Delivered) -> None:
    total.new, total.duplicates, total.refused = (
        total.new + more.new,
        total.duplicates + more.duplicates,
        total.refused + more.refused,
    )


def _spooled(rows: Iterator[bytes | RowRefused], spool: Spool, shown: _Shown) -> Iterator[int]:
    """Put rows into the spool, some at a time; yields after each how many were put in all."""
    pending: list[bytes] = []
    count = 0
    try:
        for row in rows:
            if isinstance(row, RowRefused):
                shown.row_refused(row)
                continue
            pending.append(row)
            if len(pending) >= _SPOOLED_AT_ONCE:
                count += spool.put_lines(pending)
                pending = []
                yield count
    finally:  # a file that breaks off in the middle: what was read before is kept too
        count += spool.put_lines(pending)
    if pending:
        yield count


def _rows(stream: TextIO, options: argparse.Namespace) -> Iterator[bytes | RowRefused]:
    zone = None
    if options.time_zone:
        try:
            zone = ZoneInfo(options.time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise FileRefused(f"--time-zone {options.time_zone!r} is none; say one like Europe/Amsterdam.") from None
    columns = Columns(options.source, options.id_column, options.timestamp_column, options.type, zone)
    ending = options.format or Path(options.file).suffix.lstrip(".").lower()
    if ending == "csv":
        return read_csv(stream, columns, options.delimiter)
    if ending in ("ndjson", "jsonl"):
        return read_ndjson(stream, columns)
    raise FileRefused("Say --format csv or --format ndjson: the file's name does not tell.")


def _opened(file: str, stack: ExitStack) -> tuple[Any, int]:
    if file == "-":
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="strict", newline="")  # type: ignore[union-attr]
        return sys.stdin, 0
    stream = stack.enter_context(open(file, encoding="utf-8-sig", newline=""))  # noqa: SIM115 the stack closes it
    return stream, Path(file).stat().st_size


def _key(key_file: str | None) -> str:
    key = Path(key_file).read_text(encoding="ascii").strip() if key_file else os.environ.get("ACTUALS_KEY", "")
    if not key:
        raise FileRefused("There is no API key: set ACTUALS_KEY or say --key-file.")
    return key


class _Shown:
    """What the person sees: progress on a terminal, refusals as they come, and the end."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json, self._began, self._told = as_json, time.monotonic(), 0.0
        self._is_terminal = sys.stderr.isatty()
        self.rows_refused: list[RowRefused] = []
        self.size, self.spooled = 0, 0
        self.position: Any = None

    def say(self, text: str) -> None:
        sys.stderr.write(text + "\n")

    def row_refused(self, row: RowRefused) -> None:
        self.rows_refused.append(row)
        if len(self.rows_refused) <= _SHOWN and not self._as_json:
            self.say(f"not sent: {row}")

    def progress(self, delivered: Delivered) -> None:
        now = time.monotonic()
        if not self._is_terminal or now - self._told < 0.1:
            return
        self._told = now
        share = min(1.0, self.position() / self.size) if self.size and self.position else None
        bar = "" if share is None else f"[{'#' * round(share * 30):<30}] {share:4.0%} "
        rate = delivered.total / max(now - self._began, 1e-3)
        sys.stderr.write(f"\r{bar}{delivered.total:,} rows, {rate:,.0f}/s  ")

    def result(self, delivered: Delivered, reasons: list[dict[str, Any]], kept_in: str) -> int:
        refused = len(reasons) + len(self.rows_refused)
        if self._is_terminal:
            sys.stderr.write("\r\033[K")
        if self._as_json:
            local = [{"line": row.line, "field": row.field, "detail": row.what} for row in self.rows_refused]
            found = {"new": delivered.new, "duplicates": delivered.duplicates, "refused": refused}
            print(json.dumps({**found, "errors": local + reasons, "seconds": round(time.monotonic() - self._began, 3)}))  # noqa: T201
            return _EXIT_REFUSED if refused else _EXIT_SENT
        for reason in reasons[:_SHOWN]:
            self.say(f"refused: {reason.get('code')}: {reason.get('detail')}")
        if reasons:
            self.say(f"{len(reasons)} refused rows are kept in {kept_in}; correct them and send them again.")
        print(f"{delivered.new:,} new, {delivered.duplicates:,} received before, {refused:,} refused")  # noqa: T201
        return _EXIT_REFUSED if refused else _EXIT_SENT

    def end(self, code: int, text: str) -> int:
        if self._as_json:
            print(json.dumps({"error": text}))  # noqa: T201
        else:
            self.say(("\n" if self._is_terminal else "") + text)
        return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="actuals-send",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", nargs="?", help="CSV or NDJSON in UTF-8, `-` for standard input")
    parser.add_argument("--url", required=True, help="the inbox, https://HOST:PORT")
    parser.add_argument("--key-file", metavar="FILE", help="holds the API key [default: the variable ACTUALS_KEY]")
    parser.add_argument("--ca", metavar="PEM", help="the authority that signed the inbox's certificate")
    parser.add_argument("--client-certificate", nargs=2, metavar=("PEM", "KEY"), help="for keys that ask for one")
    parser.add_argument("--source", help="the source the rows are for")
    parser.add_argument("--id-column", metavar="COLUMN", help="what tells a row from all others, for ever")
    parser.add_argument("--timestamp-column", metavar="COLUMN", help="when it happened, ISO 8601")
    parser.add_argument("--time-zone", metavar="ZONE", help="of timestamps without an offset")
    parser.add_argument("--type", help="the rows' type, such as order")
    parser.add_argument("--format", choices=("csv", "ndjson"), help="[default: by the file's name]")
    parser.add_argument("--delimiter", default=",", help="of CSV [default: ,]")
    parser.add_argument("--spool", metavar="FILE", default=str(_default_spool()), help="[default: %(default)s]")
    parser.add_argument("--refused", metavar="FILE", help="write refused rows there as NDJSON")
    parser.add_argument("--keep-trying", metavar="SECONDS", type=float, default=120.0, help="[default: 120]")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    return parser


def _default_spool() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "actuals-send" / "spool.sqlite"


if __name__ == "__main__":
    main()
