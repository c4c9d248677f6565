"""`actuals init`: make a home."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from actuals_pipelines.cli.options import json_option, print_json
from actuals_pipelines.operations.init_home import init_home
from actuals_pipelines.settings import HOME_FOLDER


@click.command()
@click.option(
    "--home",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="ACTUALS_HOME",
    default=HOME_FOLDER,
    show_default=True,
    help="The new home's folder.",
)
@click.option(
    "--server",
    "asks_server",
    is_flag=True,
    help="Use a PostgreSQL server of yours; its address (postgresql://...) is read from standard input.",
)
@json_option
def init(*, folder: Path, asks_server: bool, as_json: bool) -> None:
    """Make a home: its key outside of it, an embedded PostgreSQL, certificates. Completes one that was begun."""
    server = _server_address() if asks_server else None
    made = init_home(folder, datetime.now(UTC), server=server)
    if as_json:
        print_json(
            {
                "home": str(made.home.root),
                "was_made": made.was_made,
                "key": str(made.home.kek_file),
                "ca_certificate": str(made.ca_certificate),
            }
        )
        return
    click.echo(f"{'Made' if made.was_made else 'Completed'} the home {made.home.root}.")
    if made.home.kek_file.exists():
        click.echo(f"Its key is {made.home.kek_file}: keep a copy elsewhere, nothing opens without it.")
    click.echo(f"Clients of its services trust {made.ca_certificate}.")
    click.echo("Next: `actuals tenant apply FILE`, then `actuals up`.")


def _server_address() -> str:
    """Hidden when typed: it has a password in it, and would stay in the shell's history as an argument."""
    if sys.stdin.isatty():
        return str(click.prompt("Address of the server", hide_input=True)).strip()
    return sys.stdin.readline().strip()
