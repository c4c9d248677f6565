"""`actuals status`: which services run, where, and whether they do their work."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click

from actuals_pipelines.cli.options import home_option, json_option, print_json
from actuals_pipelines.operations.health import status_document
from actuals_pipelines.operations.loaded import load_tenants
from actuals_pipelines.operations.running import dagster_link, running
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.report.words import plural
from actuals_pipelines.settings import Home


@click.command()
@home_option
@json_option
@click.option("--stale", is_flag=True, help="Instead: which days' results are not what a run of today would make.")
@click.option("--link", is_flag=True, help="Also print the link that opens Dagster's UI: whoever has it gets in.")
def status(home: Home, as_json: bool, stale: bool, link: bool) -> None:
    """Show the home's services and who serves which tenant.

    Exit 0: all are healthy (with --stale: nothing is stale); 1: not so, or the home does not run.
    """
    if stale:
        sys.exit(_show_stale(home, as_json))
    document = status_document(home) | {"four_eyes": home.four_eyes}
    found = running(home)
    if link and found:
        document["link"] = dagster_link(home, found)
    if as_json:
        print_json(document)
    else:
        click.echo(f"home {document['home']}: {'running' if found else 'not running; `actuals up` runs it'}")
        for service in document["services"]:
            words = "healthy" if service["healthy"] else "NOT healthy"
            click.echo(f"  {service['name']:<10} {words:<12} {service['url']}")
            if service["fingerprint"]:
                click.echo(f"  {'':<23} host key {service['fingerprint']}")
        for location in document["locations"]:
            words = "healthy" if location["healthy"] else "NOT healthy"
            tenants = ", ".join(_tenant(one) for one in document["tenants"] if one["location"] == location["name"])
            click.echo(f"  {location['name']:<10} {words:<12} {tenants or 'no tenant'}")
        for one in document["tenants"]:
            if one["arrivals_stuck"] is None and found:
                click.echo(f"  {one['name']}: its database cannot be asked")
            elif one["arrivals_stuck"]:
                click.echo(
                    f"  {one['name']}: {plural(one['arrivals_stuck'], 'arrival')} that no run will take: "
                    f"actuals source arrivals {one['name']}"
                )
        if not home.four_eyes:
            click.echo("  four eyes: off (home.json): one person alone may release a held unit")
        if "link" in document:
            click.echo(document["link"])
    sys.exit(0 if all(one["healthy"] for one in (*document["services"], *document["locations"])) else 1)


def _show_stale(home: Home, as_json: bool) -> int:
    """Exit code 0: nothing is stale; 1: something is."""
    from actuals_pipelines.operations.stale import SUITE_CHANGED, stale_days  # noqa: PLC0415 - loads the store

    found = []
    with running_postgres(home):
        for loaded in load_tenants(home):
            with loaded.opened("status") as environment:
                found += stale_days(loaded.asset_prefix, environment)
    if as_json:
        print_json({"home": str(home.root), "stale": [asdict(one) for one in found]})
    for one in () if as_json else found:
        days = f"{one.days[0]}" if len(one.days) == 1 else f"{len(one.days)} days, {one.days[0]} to {one.days[-1]}"
        click.echo(f"{one.tenant} {one.name}: {one.reason}: {days}")
        if one.reason != SUITE_CHANGED:  # a verdict that was given stands
            click.echo(f"  actuals run {one.tenant} --from {one.days[0]} --to {one.days[-1]}")
    if not found and not as_json:
        click.echo("Nothing is stale.")
    return 1 if found else 0


def _tenant(one: dict[str, Any]) -> str:
    return f"{one['name']} ({one['isolation']})"
