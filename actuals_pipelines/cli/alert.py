"""`actuals alert`: what is wrong, and whether the channels that tell of it work."""

from __future__ import annotations

import smtplib
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from uuid import UUID

import click
import httpx

from actuals_pipelines.cli.options import home_option, json_option, print_json
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.alerts import book
from actuals_pipelines.operations.alerts.channels import read_settings
from actuals_pipelines.operations.alerts.secrets import set_alert_secret
from actuals_pipelines.operations.alerts.watchdog import send
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.settings import Home


@click.group()
def alert() -> None:
    """What is wrong now, found by a look each minute while the home runs.

    Always written to run/logs/alerts.log; further channels stand in alerts.yaml of the home:

    \b
    unclaimed_hours: 4          # how long an arrival may wait
    channels:
    - {kind: webhook, name: chat, url: https://chat.example/hooks/1, token: chat_token}
    - {kind: smtp, name: mail, host: mail.example, port: 587, tls: starttls, sender: actuals@example.com,
       to: [ops@example.com], user: actuals, password: mail_password}

    `token` and `password` name secrets. Texts hold names, days and counts, never what a customer sent.
    """


@alert.command("list")
@click.option("--all", "with_resolved", is_flag=True, help="Also those that are resolved, the latest 200.")
@home_option
@json_option
def list_(*, with_resolved: bool, home: Home, as_json: bool) -> None:
    """List open alerts. Exit 0: none is open; 1: some are, or a channel does not take them."""
    with running_postgres(home) as platform:
        found = book.alerts(platform.control, with_resolved=with_resolved)
        failing = list(book.failing_channels(platform.control))
    if as_json:
        channels = [{"channel": name, "failure": failure, "waiting": count} for name, failure, count in failing]
        print_json({"alerts": [asdict(one) for one in found], "failing_channels": channels})
    else:
        for one in found:
            until = f", resolved {one.resolved_at:%Y-%m-%d %H:%M}" if one.resolved_at else ""
            click.echo(f"{one.severity:<8} since {one.opened_at:%Y-%m-%d %H:%M} UTC{until}  {one.what}")
            if not one.resolved_at:
                click.echo(f"         {one.advice}")
        if not found:
            click.echo("Nothing is wrong, as of the last look.")
        for name, failure, count in failing:
            click.echo(f"Channel {name} fails ({failure}); {count} messages wait. Try `actuals alert test`.", err=True)
    sys.exit(1 if failing or any(one.resolved_at is None for one in found) else 0)


@alert.command()
@home_option
@json_option
def test(*, home: Home, as_json: bool) -> None:
    """Send a test message through every channel. Exit 0: all took it; 1: one did not."""
    settings, now = read_settings(home.root), datetime.now(UTC)
    what, advice = "this is a test of the alerts", "Nothing is wrong."
    message = book.Message(book.Alert(UUID(int=0), "test", "warning", None, what, advice, now, None), "", "opened")
    told: dict[str, str] = {}
    with running_postgres(home) as platform:
        for channel in settings.channels:
            try:
                send(platform, channel, message)
                told[channel.name] = "taken"
            except (OSError, httpx.HTTPError, smtplib.SMTPException) as error:  # their texts may hold addresses
                told[channel.name] = f"failed: {type(error).__name__}"
            except ActualsError as error:
                told[channel.name] = f"failed: {error}"
    if as_json:
        print_json({"channels": told})
    else:
        for name, result in told.items():
            click.echo(f"{name:<20} {result}")
        if not told:
            click.echo("There is no channel yet: `actuals alert --help` shows what alerts.yaml says.")
    sys.exit(0 if all(result == "taken" for result in told.values()) else 1)


@alert.command()
@click.argument("name")
@home_option
@json_option
def secret(*, name: str, home: Home, as_json: bool) -> None:
    """Set a secret that alerts.yaml names; asked for hidden, or read from standard input, never an argument."""
    if sys.stdin.isatty():
        value = str(click.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True))
    else:
        value = sys.stdin.readline().rstrip("\r\n")
    with running_postgres(home) as platform:
        set_alert_secret(platform, name, value)
    if as_json:
        print_json({"secret": name, "set": True})
    else:
        click.echo(f"Secret {name} is set.")
