"""`actuals up`: keep the home running until Ctrl-C."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from datetime import UTC, datetime

import click

from actuals_pipelines.cli.options import home_option
from actuals_pipelines.operations.alerts.watchdog import watch
from actuals_pipelines.operations.certificates import ensure_certificates
from actuals_pipelines.operations.dagster_home import prepare_dagster
from actuals_pipelines.operations.health import all_healthy, health, location_health
from actuals_pipelines.operations.locations import forget_projections
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.platform_credentials import read_platform_credentials
from actuals_pipelines.operations.running import HomeIsRunning, announce, dagster_link, running, withdraw
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.operations.services import home_services, socket_folder
from actuals_pipelines.operations.supervisor import run
from actuals_pipelines.settings import Home

START_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 10  # a look under way


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
            link, stop = dagster_link(home, found), threading.Event()
            beside = threading.Thread(target=_tell_and_watch, args=(platform, link, stop), daemon=True)
            beside.start()
            run(services, logs=home.run / "logs", sockets=sockets)
            stop.set()
            beside.join(STOP_TIMEOUT_SECONDS)
    finally:
        withdraw(home)
        forget_projections(home)
        shutil.rmtree(sockets, ignore_errors=True)
    click.echo("Stopped.")


def _tell_and_watch(platform: Platform, link: str, stop: threading.Event) -> None:
    """Tell when all is healthy; from then on watch, and tell through the channels when something is not."""
    logs = platform.home.run / "logs"
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = logging.FileHandler(logs / "alerts.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    alerts = logging.getLogger("actuals.alerts")
    alerts.addHandler(handler)
    alerts.setLevel(logging.INFO)
    alerts.propagate = False
    _tell_when_healthy(platform.home, link)
    watch(platform, stop)


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
        if state.fingerprint:
            click.echo(f"  {'':<23} host key {state.fingerprint}")
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
