"""`actuals secret`: what a tenant's file may only name."""

from __future__ import annotations

import sys

import click

from actuals_pipelines.cli.options import home_option, json_option, print_json
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.settings import Home
from actuals_pipelines.tenants.environment import open_environment
from actuals_pipelines.tenants.secrets import MAX_BYTES, list_secrets, set_secret

_environment = click.option("--environment", type=click.Choice(["prod", "test"]), default="prod", show_default=True)


@click.group()
def secret() -> None:
    """A tenant's secrets, sealed in its own database; shown by name, never by value."""


@secret.command("set")
@click.argument("tenant")
@click.argument("name")
@_environment
@home_option
@json_option
def set_(*, tenant: str, name: str, environment: str, home: Home, as_json: bool) -> None:
    """Set a secret; its value is asked for, or read from standard input, never an argument."""
    value = _value(name)
    with running_postgres(home):
        opened = open_environment(home, tenant, environment)
        set_secret(opened, name, value)
        opened.close()
    if as_json:
        print_json({"tenant": tenant, "environment": environment, "secret": name, "set": True})
    else:
        click.echo(f"Secret {name} of {tenant} ({environment}) is set.")


@secret.command("list")
@click.argument("tenant")
@_environment
@home_option
@json_option
def list_(*, tenant: str, environment: str, home: Home, as_json: bool) -> None:
    """List the names of the secrets that are set."""
    with running_postgres(home):
        opened = open_environment(home, tenant, environment)
        found = list_secrets(opened)
        opened.close()
    if as_json:
        print_json({"tenant": tenant, "secrets": [{"name": name, "changed_at": at} for name, at in found]})
        return
    for name, at in found:
        click.echo(f"{name:<40} changed {at:%Y-%m-%d %H:%M} UTC")


def _value(name: str) -> bytes:
    """The value without the line end that `echo` and editors add."""
    if sys.stdin.isatty():
        typed = click.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True)
        return str(typed).encode()
    return sys.stdin.buffer.read(MAX_BYTES + 2).removesuffix(b"\n").removesuffix(b"\r")
