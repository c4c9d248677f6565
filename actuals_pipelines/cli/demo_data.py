"""`actuals demo-data`: a shop's order-to-cash with known defects, in the makers' formats."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import click

from actuals_pipelines.cli.options import DAY, json_option, print_json


@click.command()
@click.option("--orders", type=int, required=True, help="How many orders: 100 and up, millions are fine.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same data.")
@click.option("--days", type=int, default=5, show_default=True, help="Over how many days.")
@click.option("--last-day", type=DAY, default="2026-01-16", show_default=True, help="The last of them.")
@click.option("--tenant", default="demo", show_default=True, help="The tenant's name: the folder below --out.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Where to write; files that stand there are replaced.",
)
@json_option
def demo_data(*, orders: int, seed: int, days: int, last_day: datetime, tenant: str, out: Path, as_json: bool) -> None:
    """Write orders, PSP rows, settlement reports and bank statements with known defects, and the truth about them."""
    from actuals_pipelines.operations.demo_data import Wanted, write_demo_data  # noqa: PLC0415 - loads DuckDB

    began = time.monotonic()
    made = write_demo_data(Wanted(orders, seed, days, last_day.date()), out / tenant)
    seconds = round(time.monotonic() - began, 2)
    if as_json:
        print_json(
            {
                "folder": str(made.folder),
                "truth": str(made.truth),
                "rows": made.rows,
                "defects": made.defects,
                "size_bytes": made.size_bytes,
                "seconds": seconds,
            }
        )
        return
    click.echo(f"Wrote {made.size_bytes / 1e6:,.1f} MB to {made.folder} in {seconds} s.")
    click.echo("Rows: " + ", ".join(f"{name} {count:,}" for name, count in made.rows.items()))
    click.echo("Defects: " + ", ".join(f"{kind} {count:,}" for kind, count in made.defects.items()))
    click.echo(f"The truth about them: {made.truth}")
