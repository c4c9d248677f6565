"""`actuals match`: reconcile plain files by a matching package. Needs no home, keeps nothing, sends nothing."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actuals_pipelines.cli.options import DAY, json_option, print_json
from actuals_pipelines.errors import ConfigurationError

if TYPE_CHECKING:
    from actuals_pipelines.cli.match_files import Taken
    from actuals_pipelines.domain.package import MatchingPackage
    from actuals_pipelines.reconcile.close import Closed
    from actuals_pipelines.reconcile.diagnose import Finding


@click.command()
@click.argument("package_file", metavar="PACKAGE.yaml")
@click.option("--soll", multiple=True, required=True, metavar="SOURCE=FILE", help="A file of SOLL (what should be).")
@click.option("--ist", multiple=True, required=True, metavar="SOURCE=FILE", help="A file of IST (what is).")
@click.option("--out", metavar="FILE", help="Write one line per row: .parquet, .csv or .xlsx.")
@click.option("--as-of", type=DAY, metavar="DATE", help="The day to judge `due` at [today].")
@click.option("--diagnose", "wants_diagnosis", is_flag=True, help="Say why little or nothing matches.")
@json_option
def match(
    package_file: str,
    *,
    soll: tuple[str, ...],
    ist: tuple[str, ...],
    out: str | None,
    as_of: datetime | None,
    wants_diagnosis: bool,
    as_json: bool,
) -> None:
    """Reconcile files by PACKAGE.yaml: SOLL (what should be) against IST (what is).

    Reads CSV, Parquet, XLSX and NDJSON. Each member of the package brings its mapping.

    \b
      actuals match package.yaml --soll shop=shop.csv --ist psp=psp.csv --out results.csv

    Exit codes: 0 everything is matched or explained; 1 there are open items or rejected records; 2 refused.
    """
    # Loaded now, so that `actuals --help` is not slowed by DuckDB and Arrow.
    from actuals_pipelines.cli.match_files import control_totals, pair_files, take_in  # noqa: PLC0415
    from actuals_pipelines.cli.match_report import SHOWN, Report, document, show  # noqa: PLC0415
    from actuals_pipelines.cli.match_results import check_target, results_of, write_results  # noqa: PLC0415
    from actuals_pipelines.reconcile.close import Pins, close  # noqa: PLC0415
    from actuals_pipelines.reconcile.due import holidays_of  # noqa: PLC0415
    from actuals_pipelines.reconcile.members import refuse_unbuilt  # noqa: PLC0415
    from actuals_pipelines.reconcile.open_items import open_items  # noqa: PLC0415
    from actuals_pipelines.reconcile.preview import preview_warnings  # noqa: PLC0415
    from actuals_pipelines.report.proposals import proposed_lines  # noqa: PLC0415
    from actuals_pipelines.tenants.parse import parse_package  # noqa: PLC0415

    package = parse_package(_text(package_file), package_file)
    refuse_unbuilt(package)
    inputs = pair_files(package, soll, ist)
    if out is not None:
        check_target(out, [name for each in inputs for name in each.names])
    taken = take_in(package, inputs)
    day = as_of.date() if as_of else datetime.now(UTC).date()
    control = control_totals(taken.transactions)
    closed = close(
        None, taken.transactions, [], package, Pins(day, holidays=holidays_of(package.calendar, day)), control=control
    )
    if out is not None:
        write_results(results_of(closed.state), out)
    statuses = closed.figures.statuses
    report = Report(
        package=package,
        taken=taken,
        closed=closed,
        open_groups=sum(each.groups for each in statuses if each.status == "unmatched"),
        items=open_items(closed.state.rows, SHOWN, "unmatched"),
        proposed=proposed_lines(closed.state.rows, closed.proposals, package.name),
        warnings=preview_warnings(closed.state.rows, package),
        findings=_diagnosis(package, taken, closed) if wants_diagnosis else None,
        out=out,
    )
    if as_json:
        print_json(document(report))
    else:
        show(report)
    if report.has_findings:
        sys.exit(1)


def _text(package_file: str) -> str:
    path = Path(package_file)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no package file {package_file}. Looked in {path.resolve().parent}."
        ) from None
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"{package_file} cannot be read as a UTF-8 text file.") from None


def _diagnosis(package: MatchingPackage, taken: Taken, closed: Closed) -> tuple[Finding, ...]:
    from actuals_pipelines.cli.match_files import id_schemes  # noqa: PLC0415
    from actuals_pipelines.reconcile.diagnose import diagnose  # noqa: PLC0415

    fields = {scheme.name: scheme.field for scheme in id_schemes(package)}
    kept = [name for name in ("row_uid", *dict.fromkeys(fields.values())) if name in taken.transactions.column_names]
    return diagnose(closed.state.rows, package, fields, taken.transactions.select(kept))
