"""`actuals source preview`: what a source makes of a file, before anything is saved."""

from __future__ import annotations

from pathlib import Path

import click

from actuals_pipelines.cli.options import json_option, print_json
from actuals_pipelines.cli.page import Page, money
from actuals_pipelines.domain.tenant import Tenant
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.expressions import ExpressionRefused
from actuals_pipelines.normalise import MappedColumnMissing, MappingRefused
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.operations.preview import Preview, as_document, preview, reasons
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.settings import find_home
from actuals_pipelines.tenants.parse import parse_tenant, place_of_field
from actuals_pipelines.yaml_text import read_text

_LISTED = 20  # rejects on a page; --json has up to a thousand
_LISTED_JSON = 1000


class PreviewRefused(ActualsError):
    """The source's configuration does not fit the file; says where in the tenant's YAML."""

    def __init__(self, place: str, what: str) -> None:
        super().__init__(place, what)
        self.place, self.what = place, what

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@click.command("preview")
@click.argument("words", nargs=-1, required=True, metavar="[TENANT] SOURCE FILE")
@click.option(
    "--yaml",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A tenant's YAML to try, instead of the TENANT of a home: needs no home.",
)
@click.option("--rows", type=click.IntRange(0, 10_000), default=10, show_default=True, help="Rows to show.")
@click.option(
    "--home", metavar="FOLDER", help="The home's folder [default: ACTUALS_HOME, else .actuals here or above]."
)
@json_option
@click.pass_context
def preview_(
    ctx: click.Context, *, words: tuple[str, ...], yaml: Path | None, rows: int, home: str | None, as_json: bool
) -> None:
    """Show what SOURCE makes of FILE: rows, rejects, totals and what looks wrong. Nothing is saved.

    \b
    actuals source preview acme psp settlement.csv
    actuals source preview --yaml acme.yaml psp settlement.csv

    Exit codes: 0 every record can be read, 1 some are rejected, 2 refused.
    """
    wanted = ("SOURCE", "FILE") if yaml else ("TENANT", "SOURCE", "FILE")
    if len(words) != len(wanted):
        raise click.UsageError(f"Give {' '.join(wanted)}{' with --yaml' if yaml else ', or --yaml FILE SOURCE FILE'}.")
    name, file = words[-2], Path(words[-1])
    if not file.is_file():
        raise click.UsageError(f"{file} is no file. The last word is the file to look at.")
    text = read_text(yaml) if yaml else None
    tenant = _of_home(home, words[0]) if text is None else parse_tenant(text, str(yaml))
    known = [source.name for source in tenant.sources]
    if name not in known:
        raise click.UsageError(f"Tenant {tenant.name!r} has no source {name!r}. It has: {', '.join(known)}.")
    try:
        found = preview(tenant, tenant.source(name), file, rows=rows)
    except (ExpressionRefused, MappedColumnMissing, MappingRefused) as refusal:
        if text is None:
            raise
        field = getattr(refusal, "field", None) or str(getattr(refusal, "where", "")).rpartition(" ")[2]
        raise PreviewRefused(place_of_field(text, str(yaml), name, field), str(refusal)) from None
    if as_json:
        print_json({"tenant": tenant.name, "file": str(file)} | as_document(found, rejects=_LISTED_JSON))
    else:
        _show(found, file.name)
    ctx.exit(1 if found.rejects.num_rows else 0)


def _of_home(home: str | None, name: str) -> Tenant:
    chosen = find_home(home)
    with running_postgres(chosen):
        return load_tenant(chosen, name).tenant


def _show(found: Preview, name: str) -> None:
    page, counts = Page(), found.counts
    page.title(f"{found.source.name} reads {name} as {found.source.format}")
    page.line(
        f"{counts['raw']} records: {counts['stored']} read as {counts['transactions']} rows, "
        f"{counts['rejected']} rejected, {counts['not_taken']} not taken"
    )
    if found.rows.num_rows:
        page.heading(f"First {found.rows.num_rows} rows, as they would be kept")
        filled = [name for name in found.rows.column_names if found.rows[name].null_count < found.rows.num_rows]
        page.table(filled, [_cells(row, filled) for row in found.rows.to_pylist()])
    if found.totals:
        page.heading("Totals")
        header = ("currency", "rows", "credits", "debits", "net", "rejected", "from", "to")
        sums = [(one.credits, one.debits, one.net, one.rejected) for one in found.totals]
        rows = [
            (one.currency, one.rows, *(money(each, one.currency) for each in parts), one.first_on, one.last_on)
            for one, parts in zip(found.totals, sums, strict=True)
        ]
        page.table(header, rows)
    _show_controls(page, found)
    if found.rejects.num_rows:
        page.heading(f"Rejects: {counts['rejected']} records")
        page.table(("field", "reason", "records"), reasons(found.rejects))
        page.line("")
        listed = found.rejects.slice(0, _LISTED).to_pylist()
        page.table(("line", "field", "reason"), [(one["line"], one["field"], one["reason"]) for one in listed])
        if found.rejects.num_rows > len(listed):
            page.line(f"  ... and {found.rejects.num_rows - len(listed)} more (--json lists up to {_LISTED_JSON})")
    page.heading("Fields")
    for treatment in ("keep", "token", "drop"):
        names = [name for name, each in found.treatments.items() if each == treatment]
        if names:
            page.line(f"  {treatment}: {', '.join(names)}")
    if found.unmapped:
        page.line(f"  not mapped, so dropped: {', '.join(found.unmapped)}")
    for warning in found.warnings:
        page.line(f"Warning: {warning}", "yellow")


def _show_controls(page: Page, found: Preview) -> None:
    if found.controls:
        page.heading("What the file says of itself")
        page.table(
            ("statement", "entries", "credits", "debits", "closing", "agrees"),
            [
                (
                    one.statement,
                    one.entries,
                    money(one.credits, one.currency),
                    money(one.debits, one.currency),
                    "" if one.closing is None else money(one.closing, one.currency),
                    "yes" if one.agrees else "NO",
                )
                for one in found.controls
            ],
        )


def _cells(row: dict[str, object], names: list[str]) -> list[object]:
    amount, currency = row["amount_minor_units"], row["currency"]
    return [money(amount, currency) if name == "amount_minor_units" else row[name] for name in names]  # type: ignore[arg-type]  # the schema of transactions
