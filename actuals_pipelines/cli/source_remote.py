"""`actuals source connect`, `public-key`, `host-key`: how a source and the server it fetches from get acquainted."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click

from actuals_pipelines.cli.options import home_option, json_option, print_json
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.fetch import look_once
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.operations.remotes import HostKeys, accept_host_key, host_keys, public_key
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.operations.units import source_of
from actuals_pipelines.settings import Home


class NotOffered(ActualsError):
    """The fingerprint that a person accepts is not the one that the server shows."""

    def __init__(self, wanted: str, offered: str) -> None:
        super().__init__(wanted, offered)
        self.wanted, self.offered = wanted, offered

    def __str__(self) -> str:
        return (
            f"The server shows {self.offered}, not {self.wanted}, so nothing was accepted. "
            "Ask its owner, by another way, which is right."
        )


@click.command("connect")
@click.argument("tenant")
@click.argument("name", metavar="SOURCE")
@home_option
@json_option
def connect_(*, tenant: str, name: str, home: Home, as_json: bool) -> None:
    """Log in where TENANT's SOURCE fetches from, and count what is there; nothing is fetched.

    Exit 0: well; 1: files are refused; 2: no connection, login or folder.
    """
    with running_postgres(home):
        loaded = load_tenant(home, tenant)
        with loaded.opened("source connect") as environment:
            chosen = source_of(environment, name)
            look = look_once(environment, chosen, access=home.remote, now=datetime.now(UTC))
    counts = {
        "to_fetch": len(look.due),
        "not_whole_yet": len(look.unready),
        "refused": len(look.refused),
        "fetched_and_still_there": len(look.fetched),
    }
    reasons = sorted({entry.refused for entry in look.refused if entry.refused})
    if as_json:
        print_json({"tenant": tenant, "source": name, "files": counts, "refusals": reasons})
    else:
        click.echo(
            "Connected. " + ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in counts.items()) + "."
        )
        for reason in reasons:
            click.echo(f"  refused: {reason}")
        if look.due or look.unready:
            click.echo(f"The schedule fetches them within 15 minutes; at once: actuals run {tenant} --source {name}")
    sys.exit(1 if look.refused else 0)


@click.command("public-key")
@click.argument("tenant")
@click.argument("name", metavar="SOURCE")
@home_option
@json_option
def public_key_(*, tenant: str, name: str, home: Home, as_json: bool) -> None:
    """Print the public key of TENANT's SOURCE, for the owner of the server it fetches from; made when asked first."""
    with running_postgres(home):
        loaded = load_tenant(home, tenant)
        with loaded.opened("source public-key") as environment:
            key = f"{public_key(environment, source_of(environment, name))} actuals-{tenant}-{name}"
    if as_json:
        print_json({"tenant": tenant, "source": name, "public_key": key})
    else:
        click.echo(key)


@click.command("host-key")
@click.argument("tenant")
@click.argument("name", metavar="SOURCE")
@click.option("--scan", is_flag=True, help="Ask the server for its key; nothing is sent to it and nothing accepted.")
@click.option("--accept", metavar="SHA256:...", help="Trust the key with this fingerprint, if the server shows it.")
@home_option
@json_option
def host_key_(*, tenant: str, name: str, scan: bool, accept: str | None, home: Home, as_json: bool) -> None:
    """Show which key of its server TENANT's SOURCE trusts; compare it with what the server's owner tells you.

    Accepting is audited. Exit 0: the trusted key is the shown one; 1: it is not, or none is trusted yet.
    """
    with running_postgres(home):
        loaded = load_tenant(home, tenant)
        with loaded.opened("source host-key") as environment:
            chosen = source_of(environment, name)
            if accept is not None:
                found = accept_host_key(environment, chosen, accept, access=home.remote)
                if found.offered != accept:
                    raise NotOffered(accept, found.offered or "no key")
            else:
                found = host_keys(environment, chosen, access=home.remote, scan=scan)
    if as_json:
        print_json({"tenant": tenant, "source": name, "accepted": found.accepted, "offered": found.offered})
    else:
        _tell(tenant, name, found)
    is_well = found.accepted is not None and found.offered in (None, found.accepted)
    sys.exit(0 if is_well else 1)


def _tell(tenant: str, name: str, found: HostKeys) -> None:
    click.echo(f"accepted: {found.accepted or 'none yet'}")
    if found.offered is not None:
        click.echo(f"offered:  {found.offered}")
    if found.offered is not None and found.offered != found.accepted:
        click.echo("Compare it with what the server's owner tells you by another way. If it is the same:")
        click.echo(f"  actuals source host-key {tenant} {name} --accept {found.offered}")
