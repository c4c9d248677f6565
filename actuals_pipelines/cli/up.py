"""`actuals up`: keep the home running until Ctrl-C."""

from __future__ import annotations

import shutil
import threading
import time
from datetime import UTC, datetime

import click

from actuals_pipelines.cli.options import home_option
from actuals_pipelines.operations.certificates import ensure_certificates
from actuals_pipelines.operations.dagster_home import prepare_dagster
from actuals_pipelines.operations.health import all_healthy, health, location_health
from actuals_pipelines.operations.locations import forget_projections
from actuals_pipelines.operations.platform_credentials import read_platform_credentials
from actuals_pipelines.operations.running import HomeIsRunning, announce, dagster_link, running, withdraw
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.operations.services import home_services, socket_folder
from actuals_pipelines.operations.supervisor import run
from actuals_pipelines.settings import Home

START_TIMEOUT_SECONDS = 120


@click.command()
@home_option
@click.option("--look-every", default=30, show_default=True, help="Seconds between two looks for what has landed.")
def up(home: Home, look_every: int) -> None:
    """Run the home: PostgreSQL, inbox, sFTP drop, code location, Dagster's daemon and UI. Ctrl-C stops it cleanly."""
    earlier = running(home)
    if earlier is not None:
        raise HomeIsRunning(str(home.root), earlier.pid)
    sockets = socket_folder()
    try:
        with running_postgres(home) as platform:
            passwords = read_platform_credentials(home, platform.provider)
            certificates = ensure_certificates(home, platform.provider, datetime.now(UTC))
            prepare_dagster(platform, passwords)
            found = announce(home, platform.address, sockets, look_every)
            services = home_services(
                platform,
                passwords,
                certificates=certificates,
                found=found,
                look_every_seconds=look_every,
            )
            threading.Thread(target=_tell_when_healthy, args=(home, dagster_link(home, found)), daemon=True).start()
            run(services, logs=home.run / "logs", sockets=sockets)
    finally:
        withdraw(home)
        forget_projections(home)
        shutil.rmtree(sockets, ignore_errors=True)
    click.echo("Stopped.")


def _tell_when_healthy(home: Home, link: str) -> None:
    """Print the addresses once everything answers; what does not in time is named, and is tried on."""
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    states = health(home)
    while not all_healthy(states) and time.monotonic() < deadline:
        time.sleep(1)
        states = health(home)
    for state in states:
        words = state.url or "no address of its own"
        click.echo(f"  {state.name:<10} {'healthy' if state.healthy else 'NOT healthy':<12} {words}")
    locations = location_health(home)
    for location in locations:
        words = f"serves {', '.join(location.tenants) or 'no tenant yet'}"
        click.echo(f"  {location.name:<10} {'healthy' if location.healthy else 'NOT healthy':<12} {words}")
    missing = [state.name for state in states if not state.healthy]
    missing += [location.name for location in locations if not location.healthy]
    if missing:
        click.echo(
            f"Not healthy after {START_TIMEOUT_SECONDS} s: {', '.join(missing)}. Logs: {home.run / 'logs'}", err=True
        )
    click.echo(f"  Dagster's UI (the link is the key, trust {home.tls / 'ca.pem'}):\n  {link}\nCtrl-C stops the home.")
