"""`actuals error`: what a library really said when it failed."""

from __future__ import annotations

from dataclasses import asdict

import click

from actuals_pipelines.cli.options import home_option, json_option, print_json
from actuals_pipelines.cli.page import Page
from actuals_pipelines.operations.error_store import kept_error, kept_errors
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.settings import Home


@click.group()
def error() -> None:
    """Errors that were kept sealed, because a library's own text may hold a customer's values."""


@error.command("list")
@click.argument("tenant")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@home_option
@json_option
def list_(*, tenant: str, limit: int, home: Home, as_json: bool) -> None:
    """List the last errors that were kept for TENANT, newest first: when, where and of which class, unopened."""
    with running_postgres(home):
        loaded = load_tenant(home, tenant)
        with loaded.opened("error list") as environment:
            found = kept_errors(environment, limit)
    if as_json:
        print_json({"tenant": tenant, "errors": [asdict(one) for one in found]})
    elif not found:
        click.echo("No error was kept.")
    else:
        rows = [(one.reference, f"{one.at:%Y-%m-%d %H:%M:%S}", one.kind, one.place) for one in found]
        Page().table(("reference", "at (UTC)", "kind", "where"), rows)


@error.command()
@click.argument("tenant")
@click.argument("reference")
@home_option
@json_option
def show(*, tenant: str, reference: str, home: Home, as_json: bool) -> None:
    """Open the error of TENANT that a failure named by REFERENCE. It may hold the tenant's values."""
    with running_postgres(home):
        loaded = load_tenant(home, tenant)
        with loaded.opened("error show") as environment:
            text = kept_error(environment, reference)
    if as_json:
        print_json({"tenant": tenant, "reference": reference, "error": text})
    else:
        click.echo(text, nl=not text.endswith("\n"))
