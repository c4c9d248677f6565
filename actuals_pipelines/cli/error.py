"""`actuals error`: what a library really said when it failed."""

from __future__ import annotations

import click

from actuals_pipelines.cli.options import home_option, json_option, print_json
from actuals_pipelines.operations.error_store import kept_error
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.settings import Home


@click.group()
def error() -> None:
    """Errors that were kept sealed, because a library's own text may hold a customer's values."""


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
