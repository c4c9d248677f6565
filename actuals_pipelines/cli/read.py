"""`actuals read`: one file of a known format as transactions and control totals. Needs no home, keeps nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from actuals_pipelines.cli.options import json_option
from actuals_pipelines.errors import ConfigurationError


def _options(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for words in values:
        name, equals, value = words.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{words!r}: write NAME=VALUE, for example encoding=cp1252")
        found[name] = value
    return found


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--format", "format_", metavar="FORMAT", help="Read it as this format [default: found by its content].")
@click.option("--profile", metavar="FILE.yaml", help="Read a CSV or Excel file by this profile of yours.")
@click.option("--option", "options", multiple=True, callback=_options, metavar="NAME=VALUE", help="A reader option.")
@json_option
@click.option("--ndjson", "as_ndjson", is_flag=True, help="Print one JSON object per transaction.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, one line per transaction.")
@click.option(
    "--totals", "totals_only", is_flag=True, help="Print statements, rejects and totals without transactions."
)
@click.option("--rows", default=30, show_default=True, metavar="N", help="How many rows the table shows at most.")
def read(
    *,
    file: str,
    format_: str | None,
    profile: str | None,
    options: dict[str, str],
    as_json: bool,
    as_ndjson: bool,
    as_csv: bool,
    totals_only: bool,
    rows: int,
) -> None:
    """Print the transactions and control totals of FILE: a bank statement, a PSP's report, an export.

    The format is found by the content. Zip and gzip are unpacked. Amounts are signed and in minor units: EUR -12.30
    is -1230; + is more held there, or owed to us. Pending and informational entries are marked and not in the totals.

    \b
      actuals read statement.xml
      actuals read settlement.csv --json
      actuals read export.csv --profile mine.yaml --ndjson

    Exit codes: 0 read; 1 read with rejects; 2 refused.
    """
    from actuals_pipelines.cli.read_print import PRINTERS  # noqa: PLC0415 - Arrow would slow `actuals --help`
    from actuals_pipelines.readers.sandbox import read_parts_apart  # noqa: PLC0415

    ways = {"json": as_json, "ndjson": as_ndjson, "csv": as_csv}
    chosen = [name for name, is_chosen in ways.items() if is_chosen]
    if len(chosen) > 1:
        raise click.UsageError(f"--{' and --'.join(chosen)} exclude each other.")
    path = Path(file)
    if not path.is_file():
        raise ConfigurationError(f"There is no file {file}. Looked in {path.resolve().parent}.")
    own = None if profile is None else _own_profile(profile)
    try:
        stream = path.open("rb")
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be opened: {error.strerror}.") from None
    with stream:
        parts = read_parts_apart(stream, {"details": "true", **options}, format_, profile=own)
        printer = PRINTERS[chosen[0] if chosen else "table"](file, totals_only=totals_only, rows=rows)
        for part in parts:
            printer.part(part)
        printer.end()
    if printer.rejected:
        sys.exit(1)


def _own_profile(name: str) -> str:
    """The text of a profile that can be used; what is wrong in it is told with its line."""
    from actuals_pipelines.readers.profiles import load  # noqa: PLC0415 - it brings the engine

    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"The profile {name} cannot be read as a UTF-8 text file.") from None
    load(text, name)
    return text
