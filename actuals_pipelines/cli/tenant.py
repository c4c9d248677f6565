"""`actuals tenant`: apply a tenant's file, list tenants, give a file back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from actuals_pipelines.cli.options import home_option, json_option, print_json
from actuals_pipelines.errors import ActualsError, ConfigurationError
from actuals_pipelines.operations.provision import Applied, apply
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.settings import Home
from actuals_pipelines.tenants.registry import Plan, Registered, current, list_tenants, versions
from actuals_pipelines.yaml_text import read_text


class VersionUnknown(ConfigurationError):
    """A tenant never had that version."""

    def __init__(self, tenant: str, version: int, newest: int) -> None:
        super().__init__(tenant, version, newest)
        self.tenant, self.version, self.newest = tenant, version, newest

    def __str__(self) -> str:
        return f"Tenant {self.tenant!r} has no version {self.version}; its versions are 1 to {self.newest}."


@click.group()
def tenant() -> None:
    """Tenants: each a customer's separate books, database and keys, configured by one YAML file."""


@tenant.command("apply")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Change an existing tenant without asking.")
@click.option(
    "--environment",
    type=click.Choice(["prod", "test"]),
    default="prod",
    show_default=True,
    help="Made on demand; those that are there already are brought along.",
)
@home_option
@json_option
def apply_(*, file: Path, yes: bool, environment: str, home: Home, as_json: bool) -> None:
    """Make the tenant of FILE, or bring it to what FILE says, after showing the difference.

    Exit 0: applied, or nothing to do; 1: nobody agreed to the difference, or (--json) it is applied and the running
    home cannot load it; 2: refused or failed.
    """
    text = read_text(file)
    refused: list[Plan] = []

    def agree(planned: Plan) -> bool:
        if not as_json:
            click.echo(f"Tenant {planned.tenant.name} changes:\n{_indented(str(planned.difference))}")
        agreed = yes or (not as_json and click.confirm("Apply?"))
        if not agreed:
            refused.append(planned)
        return agreed

    with running_postgres(home) as platform:
        done = apply(platform, text, str(file), environment=environment, agree=agree)
    if done is None:
        if as_json:
            changes = [str(change) for change in refused[0].difference.changes]
            print_json({"tenant": refused[0].tenant.name, "applied": False, "difference": changes})
        else:
            click.echo("Nothing was changed.")
        sys.exit(1)
    # What is shown once must not be lost when the running home cannot load the change.
    if as_json:
        loaded = _loaded(home, done)
        print_json(_document(done) | loaded)
        sys.exit(1 if loaded["load_error"] else 0)
    _print(done)
    if _load(home, done):
        click.echo("The running home lists its assets.")
    else:
        click.echo("Next: `actuals up`, which loads it.")


@tenant.command("list")
@home_option
@json_option
def list_(*, home: Home, as_json: bool) -> None:
    """List the home's tenants."""
    with running_postgres(home) as platform:
        found = list_tenants(platform.control)
    if as_json:
        print_json({"tenants": [_summary(each) for each in found]})
        return
    if not found:
        click.echo("There is no tenant yet. Make one with `actuals tenant apply FILE`.")
    for each in found:
        environments = ", ".join(each.environments) or "not provisioned"
        words = f"{len(each.tenant.sources)} sources, {len(each.tenant.packages)} packages"
        click.echo(f"{each.tenant.name:<24} version {each.version:<4} {environments:<12} {words}")


@tenant.command()
@click.argument("name")
@click.option("--yaml", "as_yaml", is_flag=True, help="Print the file as it was applied.")
@click.option("--version", type=click.IntRange(min=1), help="An earlier version [default: the newest].")
@home_option
@json_option
def show(*, name: str, as_yaml: bool, version: int | None, home: Home, as_json: bool) -> None:
    """Show a tenant; with --yaml, give its file back."""
    with running_postgres(home) as platform:
        found = current(platform.control, name)
        history = dict(versions(platform.control, found.uuid))
    if version is not None and version not in history:
        raise VersionUnknown(name, version, found.version)
    text = history[version or found.version]
    if as_yaml and not as_json:
        click.echo(text, nl=not text.endswith("\n"))
        return
    document = _summary(found) | {"version": version or found.version}
    if as_json:
        print_json(document | ({"yaml": text} if as_yaml else {}))
        return
    for key, value in document.items():
        click.echo(f"{key + ':':<14} {', '.join(value) if isinstance(value, list) else value}")


def _print(done: Applied) -> None:
    if done.is_new:
        click.echo(f"Tenant {done.name} is new:\n{_indented(str(done.difference))}")
    applied = f"version {done.version}, {done.ref.environment}"
    click.echo(f"Applied: {applied}." if done.difference else f"Nothing changes: {applied}.")
    if done.api_keys_shown_once:
        click.echo("API keys for the inbox. They are shown this once and kept nowhere:")
        for key in done.api_keys_shown_once:
            click.echo(f"  {key.mode:<5} {key.text}")
    if done.sftp_users and done.is_new:
        click.echo(f"sFTP users: {', '.join(done.sftp_users)} (`actuals status` shows the address).")


def _load(home: Home, done: Applied) -> bool:
    """Whether a running home took the change up; false if it does not run."""
    from actuals_pipelines.operations.reload import reload_and_wait  # noqa: PLC0415 - loads an HTTP client

    return reload_and_wait(home, done.tenant, done.ref)


def _loaded(home: Home, done: Applied) -> dict[str, Any]:
    try:
        return {"loaded": _load(home, done), "load_error": None}
    except ActualsError as error:
        return {"loaded": False, "load_error": str(error)}


def _document(done: Applied) -> dict[str, Any]:
    return {
        "tenant": done.name,
        "applied": True,
        "is_new": done.is_new,
        "version": done.version,
        "environment": done.ref.environment,
        "uuid": str(done.ref.uuid),
        "difference": [str(change) for change in done.difference.changes],
        "api_keys": [{"id": key.key_id, "mode": key.mode, "key": key.text} for key in done.api_keys_shown_once],
        "sftp_users": list(done.sftp_users),
    }


def _summary(found: Registered) -> dict[str, Any]:
    return {
        "name": found.tenant.name,
        "title": found.tenant.title,
        "uuid": str(found.uuid),
        "version": found.version,
        "environments": list(found.environments),
        "isolation": found.tenant.isolation,
        "sources": [source.name for source in found.tenant.sources],
        "packages": [package.name for package in found.tenant.packages],
    }


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


@tenant.command("sftp-password")
@json_option
def sftp_password_(*, as_json: bool) -> None:
    """Make a password for an sFTP account, and the hash that goes into the tenant's file. Neither is kept.

    A key pair is better: a password can be typed into the wrong server. Exit 0: always.
    """
    from actuals_pipelines.operations.sftp_passwords import new_sftp_password  # noqa: PLC0415 - loads argon2

    made = new_sftp_password()
    if as_json:
        print_json({"password": made.password, "password_hash": made.password_hash})
        return
    click.echo(
        f"password (shown once, for the sender alone):\n  {made.password}\nfor the account in the tenant's file:"
    )
    click.echo(f"  password_hash: {made.password_hash}\n  from: [192.0.2.0/24]   # where the sender comes from")
