"""`actuals package`: what a changed package would do, before it is adopted."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from actuals_pipelines.cli.options import home_option, json_option, print_json
from actuals_pipelines.cli.page import Page, money
from actuals_pipelines.operations.drafts import Tried, try_draft
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.settings import Home
from actuals_pipelines.tenants.parse import parse_tenant

MAX_SHOWN = 20


@click.group()
def package() -> None:
    """A tenant's packages: what SOLL (what should be) is held against IST (what is), and how."""


@package.command("test")
@click.argument("tenant")
@click.argument("draft", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@home_option
@json_option
def test_(*, tenant: str, draft: Path, home: Home, as_json: bool) -> None:
    """Try the packages of DRAFT, TENANT's file with changes, over the rows of their last closes; nothing is kept.

    Prints the groups that would be gained (matched then and not now), lost and changed, with their amounts; adopt the
    draft with `actuals tenant apply`, and the next close is taken by it. Exit 0: nothing is lost; 1: something is.
    """
    parsed = parse_tenant(draft.read_text(encoding="utf-8"), origin=str(draft))
    with running_postgres(home):
        loaded = load_tenant(home, tenant)
        with loaded.opened("package test") as environment:
            tried = try_draft(environment, parsed)
    if as_json:
        documents = [
            {"package": one.package, "day": one.day, "groups": one.groups.to_pylist() if one.groups else []}
            for one in tried
        ]
        print_json({"tenant": tenant, "amounts_in": "minor units", "packages": documents})
    elif not tried:
        click.echo("The draft changes no package.")
    for one in [] if as_json else tried:
        _show(Page(), one)
    is_lost = any("lost" in one.groups["what"].to_pylist() for one in tried if one.groups is not None)
    sys.exit(1 if is_lost else 0)


def _show(screen: Page, one: Tried) -> None:
    if one.groups is None:
        screen.title(f"{one.package}: it has no close yet, so there is nothing to compare with.")
        return
    found = one.groups.to_pylist()
    counts = {what: sum(group["what"] == what for group in found) for what in ("gained", "lost", "changed")}
    counted = ", ".join(f"{count} {what}" for what, count in counts.items())
    screen.title(f"{one.package}, over the close of {one.day}: {counted}.")
    if found:
        rows = [
            (g["what"], money(g["amount"], g["currency"]), g["rows"], g["was_status"], g["status"],
             money(g["was_difference"], g["currency"]), money(g["difference"], g["currency"]),
             g["group_key"].hex if g["group_key"] else None)
            for g in found[:MAX_SHOWN]
        ]  # fmt: skip
        screen.table(("what", "amount", "rows", "was", "is then", "differed by", "differs by", "group"), rows)
    if len(found) > MAX_SHOWN:
        screen.line(f"  ... and {len(found) - MAX_SHOWN} more; --json has them all")
