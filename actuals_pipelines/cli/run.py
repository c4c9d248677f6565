"""`actuals run TENANT`: take in and reconcile a range of days on the home's Dagster, and wait."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import click

from actuals_pipelines.cli.options import DAY, home_option, json_option, print_json
from actuals_pipelines.cli.progress import Progress
from actuals_pipelines.operations.dagster_client import RunProgress
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.operations.runs import run_days
from actuals_pipelines.settings import Home


@click.command()
@click.argument("tenant")
@click.option("--from", "first", type=DAY, help="First day [default: a week before the last].")
@click.option("--to", "last", type=DAY, help="Last day [default: today in the tenant's time zone].")
@click.option("--source", "sources", multiple=True, help="Only this source; may be given again.")
@home_option
@json_option
def run(
    *, tenant: str, first: datetime | None, last: datetime | None, sources: tuple[str, ...], home: Home, as_json: bool
) -> None:
    """Take in and reconcile TENANT's days; shows progress and waits. Exit 0: done; 1: a day is held or a run failed."""
    loaded = load_tenant(home, tenant)
    today = datetime.now(UTC).astimezone(ZoneInfo(loaded.tenant.time_zone)).date()
    end: date = last.date() if last else today
    begin: date = max(first.date() if first else end - timedelta(days=7), loaded.tenant.start)
    progress = Progress(silent=as_json)

    def tell(kind: str, state: RunProgress) -> None:
        progress.tell(f"{kind} {begin} to {end}: {state.status.lower()}, {state.steps_done} of {state.steps} steps")

    finished = run_days(home, loaded, begin, end, tell, sources=sources)
    progress.done()
    if as_json:
        print_json({"tenant": tenant, "from": begin, "to": end, "runs": [asdict(one) for one in finished]})
    else:
        for one in finished:
            click.echo(f"{one.kind}: {one.status.lower()} (run {one.run_id})")
            for step in one.failed_steps:
                click.echo(f"  {step} failed; a held day is explained by `actuals day {tenant} SOURCE DATE`")
        click.echo(f"Next: actuals report {tenant}")
    sys.exit(0 if all(one.status == "SUCCESS" for one in finished) else 1)
