"""`actuals report`: the figures of a tenant's packages, their open items, and both as files."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

import click
import pyarrow as pa

from actuals_pipelines.cli.options import DAY, home_option, json_option, print_json
from actuals_pipelines.cli.page import Page, money
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.operations.reports import (
    OpenedClose,
    open_items_of,
    opened_close,
    overview_of,
    packages_of,
    proposals_of,
)
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.report.export import write_csv, write_xlsx
from actuals_pipelines.report.open_items import OPEN_ITEMS, ageing
from actuals_pipelines.report.overview import CurrencyBridge, PackageOverview
from actuals_pipelines.report.words import BRIDGE, plural, reason_in_words
from actuals_pipelines.settings import Home

SHOWN = 30
"""Open items on the screen; all are in --csv, --xlsx and --json."""

AMOUNTS = ("difference", "soll_amount", "ist_amount")
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("tenant")
@click.argument("package", required=False)
@click.option("--open-items", "wants_items", is_flag=True, help="List what is unmatched or explained, with its age.")
@click.option("--proposals", "wants_proposals", is_flag=True, help="List what passes without ids propose.")
@click.option("--largest", is_flag=True, help="Open items by size instead of by age.")
@click.option("--as-of", type=DAY, metavar="DATE", help="The last close up to DATE; ages are counted to DATE.")
@click.option("--csv", "csv_file", type=_FILE, metavar="FILE", help="Write the open items as CSV, in clear.")
@click.option("--xlsx", "xlsx_file", type=_FILE, metavar="FILE", help="Write the open items as XLSX, in clear.")
@home_option
@json_option
def report(
    *,
    tenant: str,
    package: str | None,
    wants_items: bool,
    wants_proposals: bool,
    largest: bool,
    as_of: datetime | None,
    csv_file: Path | None,
    xlsx_file: Path | None,
    home: Home,
    as_json: bool,
) -> None:
    """Report TENANT's packages (or PACKAGE): SOLL (what should be) against IST (what is), at their last close.

    Exit 0: nothing is unmatched; 1: something is, or a package has no close yet; 2: refused or failed.
    """
    day = as_of.date() if as_of else None
    pages: list[tuple[PackageOverview, OpenedClose]] = []
    items: list[pa.Table] = []
    proposed: list[pa.Table] = []
    with running_postgres(home):
        loaded = load_tenant(home, tenant)
        with loaded.opened("report") as environment:
            chosen = packages_of(environment, package)
            for each in chosen:
                opened = opened_close(environment, each, day)
                if opened is not None:
                    pages.append((overview_of(environment, opened), opened))
                    if wants_proposals:
                        proposed.append(proposals_of(opened))
                    if wants_items or csv_file or xlsx_file:
                        items.append(open_items_of(opened, day, "largest" if largest else "oldest"))
            all_items = pa.concat_tables([OPEN_ITEMS.empty_table(), *items])
            if csv_file:
                write_csv(all_items, csv_file, AMOUNTS)
            if xlsx_file:
                write_xlsx(all_items, xlsx_file, AMOUNTS)
    unclosed = [each.name for each in chosen if each.name not in {page.package for page, _ in pages}]
    if as_json:
        print_json(_document(tenant, pages, items, proposed, unclosed))
    else:
        screen = Page()
        shown = zip_longest(pages, items if wants_items else [], proposed)
        for number, ((page, _), mine, lines) in enumerate(shown):
            _show(screen, page, mine, lines, is_first=number == 0)
        for name in unclosed:
            until = f" up to {day}" if day else ""
            screen.line(
                f"{name}: no close{until} yet. `actuals run {tenant}` takes in what landed and closes the days."
            )
        for file in (csv_file, xlsx_file):
            if file:
                screen.line(f"Wrote {all_items.num_rows} open items to {file}, in clear.")
        _show_next(screen, tenant, pages, wants_items=wants_items)
    sys.exit(1 if unclosed or any(page.open_groups for page, _ in pages) else 0)


def _show(
    screen: Page, page: PackageOverview, items: pa.Table | None, proposed: pa.Table | None, *, is_first: bool
) -> None:
    words = f"{page.package}: {page.question}" if page.question else page.package
    (screen.title if is_first else screen.heading)(words)
    provisional = ", provisional: a source had not delivered for that day yet" if page.is_provisional else ""
    screen.line(f"Close of {page.day}{provisional}. SOLL: what should be. IST: what is.")
    _show_sources(screen, page)
    if proposed is not None:
        _show_proposals(screen, proposed)
    if items is not None:
        _show_items(screen, items)
    if items is not None or proposed is not None:
        return
    screen.heading("Statuses")
    screen.table(
        ("status", "reason, category or pass", "groups", "rows", "difference"),
        [
            (s.status, reason_in_words(s.detail) if s.status == "unmatched" else s.detail, s.groups, s.rows,
             money(s.difference, s.currency))
            for s in page.statuses
        ],
    )  # fmt: skip
    for bridge in page.bridges:
        _show_bridge(screen, bridge)


def _show_sources(screen: Page, page: PackageOverview) -> None:
    screen.heading("Overview")
    screen.table(
        ("side", "source", "rows", "amount", "unmatched", "impact net", "impact gross", "matched rows",
         "matched groups", "not processed"),
        [
            (s.side.upper(), s.source, s.rows, money(s.amount, s.currency), s.unmatched_rows,
             money(s.impact_net, s.currency), money(s.impact_gross, s.currency),
             _percent(s.matched_rows_percentage), _percent(s.matched_groups_percentage), s.not_processed_rows)
            for s in page.sources
        ],
    )  # fmt: skip
    for impact in page.impact:
        net, gross = money(impact.net, impact.currency), money(impact.gross, impact.currency)
        screen.line(f"  Impact of the package: {net} net, {gross} gross, in {plural(impact.groups, 'unmatched group')}")


def _show_bridge(screen: Page, bridge: CurrencyBridge) -> None:
    code = bridge.currency
    rows: list[tuple[Any, ...]] = [("sum SOLL", None, money(bridge.soll, code))]
    rows.append(("less sum IST", None, money(-bridge.ist, code)))
    for step in bridge.steps:
        detail = reason_in_words(step.detail) if step.kind in ("unmatched", "in_transit") else step.detail
        words = f"less {BRIDGE[step.kind]}" + (f": {detail}" if detail else "")
        rows.append((words, step.groups, money(-step.amount, code)))
    rows.append(("residual", None, money(bridge.residual, code)))
    screen.heading(f"Bridge in {code}")
    screen.table(("step", "groups", "amount"), rows)


def _show_items(screen: Page, items: pa.Table) -> None:
    screen.heading(f"Open items: {items.num_rows}")
    screen.table(
        ("age", "booked", "id", "why", "category", "SOLL", "IST", "difference"),
        [
            (i["age_days"], i["first_booked_on"], i["ids"], i["reason_in_words"], i["category"],
             money(i["soll_amount"], i["currency"]), money(i["ist_amount"], i["currency"]),
             money(i["difference"], i["currency"]))
            for i in items.slice(0, SHOWN).to_pylist()
        ],
    )  # fmt: skip
    if items.num_rows > SHOWN:
        screen.line(f"  ... and {items.num_rows - SHOWN} more: --csv, --xlsx and --json have all.")
    screen.heading("Ageing")
    screen.table(
        ("age", "groups", "rows", "net", "gross"),
        [
            (a["age"], a["groups"], a["rows"], money(a["net"], a["currency"]), money(a["gross"], a["currency"]))
            for a in ageing(items).to_pylist()
        ],
    )


def _show_proposals(screen: Page, lines: pa.Table) -> None:
    """Groups of one proposal stand together; the first names its pass and its verdict."""
    screen.heading(f"Proposals: {len(lines['proposal'].unique())}. Nothing is matched by them: a person decides")
    rows, last = [], None
    for line in lines.slice(0, SHOWN).to_pylist():
        is_first, last = line["proposal"] != last, line["proposal"]
        rows.append(
            (line["verdict"] if is_first else "", line["pass"] if is_first else "", line["side"].upper(), line["ids"],
             line["first_booked_on"], money(line["amount"], line["currency"]),
             line["days_apart"] if is_first else None)
        )  # fmt: skip
    screen.table(("verdict", "pass", "side", "ids", "booked", "amount", "days apart"), rows)
    if lines.num_rows > SHOWN:
        screen.line(f"  ... and {lines.num_rows - SHOWN} more groups: --json has all.")


def _show_next(
    screen: Page, tenant: str, pages: list[tuple[PackageOverview, OpenedClose]], *, wants_items: bool
) -> None:
    worst = next((page for page, _ in pages if page.open_groups), None)
    if worst is None:
        return
    screen.heading("Next")
    if wants_items:
        screen.line(f"  actuals explain {tenant} ID    why an item is open, and what it nearly matched")
    else:
        screen.line(f"  actuals report {tenant} {worst.package} --open-items")


def _percent(share: Any) -> str:
    return "-" if share is None else f"{share} %"


def _document(
    tenant: str,
    pages: list[tuple[PackageOverview, OpenedClose]],
    items: list[pa.Table],
    proposed: list[pa.Table],
    unclosed: list[str],
) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "amounts_in": "minor units",
        "packages": [
            {
                **asdict(page),
                "bridges": [{**asdict(b), "difference": b.difference, "residual": b.residual} for b in page.bridges],
                "open_groups": page.open_groups,
                "digest": opened.close.digest.hex(),
                **(_items_document(items[number]) if items else {}),
                **({"proposals": proposed[number].to_pylist()} if proposed else {}),
            }
            for number, (page, opened) in enumerate(pages)
        ],
        "without_a_close": unclosed,
    }


def _items_document(items: pa.Table) -> dict[str, Any]:
    return {"open_items": items.to_pylist(), "ageing": ageing(items).to_pylist()}
