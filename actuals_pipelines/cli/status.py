"""`actuals status`: which services run, where, and whether they do their work."""

from __future__ import annotations

import sys
from typing import Any

import click

from actuals_pipelines.cli.options import home_option, json_option, print_json
from actuals_pipelines.operations.health import status_document
from actuals_pipelines.operations.running import dagster_link, running
from actuals_pipelines.report.words import plural
from actuals_pipelines.settings import Home


@click.command()
@home_option
@json_option
@click.option("--link", is_flag=True, help="Also print the link that opens Dagster's UI: whoever has it gets in.")
def status(home: Home, as_json: bool, link: bool) -> None:
    """Show the home's services and who serves which tenant. Exit 0: all healthy; 1: not all, or not running."""
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


def _tenant(one: dict[str, Any]) -> str:
    return f"{one['name']} ({one['isolation']})"
