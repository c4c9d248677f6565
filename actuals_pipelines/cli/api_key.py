"""`actuals api-key`: who may push to a tenant's inbox."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from actuals_pipelines.cli.options import DAY, home_option, json_option, print_json
from actuals_pipelines.operations.api_keys import create_api_key, revoke_api_key
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.settings import Home
from actuals_pipelines.tenants.api_keys import ApiKey, list_api_keys
from actuals_pipelines.tenants.registry import current


@click.group("api-key")
def api_key() -> None:
    """API keys of the inbox. A key is shown once, when it is made."""


@api_key.command()
@click.argument("tenant")
@click.option("--mode", type=click.Choice(["prod", "test"]), default="prod", show_default=True)
@click.option("--owner", required=True, help="Who will use it: a system or a person, for those who look later.")
@click.option("--source", "sources", multiple=True, help="An inbox source it may push to [default: all].")
@click.option("--expires", type=DAY, help="The first day (UTC) on which it is refused.")
@home_option
@json_option
def create(
    *, tenant: str, mode: str, owner: str, sources: tuple[str, ...], expires: datetime | None, home: Home, as_json: bool
) -> None:
    """Make a key for TENANT. Its first test key makes its test environment, which events of test keys go to."""
    expires_at = expires.replace(tzinfo=UTC) if expires else None
    with running_postgres(home) as platform:
        before = current(platform.control, tenant)
        made = create_api_key(platform, tenant, mode, owner=owner, sources=list(sources) or None, expires_at=expires_at)
    if as_json:
        print_json({"tenant": tenant, "id": made.key_id, "mode": made.mode, "key": made.text})
    else:
        click.echo(made.text)
        click.echo("This is shown once and kept nowhere.", err=True)
    if mode not in before.environments:  # the key first: what is shown once must not be lost in a reload
        from actuals_pipelines.operations.reload import reload_and_wait  # noqa: PLC0415 - loads an HTTP client

        click.echo(f"The environment {tenant}_{mode} is new: its own database, keys and assets.", err=True)
        reload_and_wait(home, before.tenant, before.ref(mode))


@api_key.command("list")
@click.argument("tenant")
@home_option
@json_option
def list_(*, tenant: str, home: Home, as_json: bool) -> None:
    """List TENANT's keys by their ids, also those that are revoked or expired."""
    with running_postgres(home) as platform:
        found = list_api_keys(platform.control, current(platform.control, tenant).uuid)
    now = datetime.now(UTC)
    if as_json:
        print_json({"tenant": tenant, "api_keys": [_document(key, now) for key in found]})
        return
    for key in found:
        shown = _document(key, now)
        scope = ", ".join(shown["sources"]) if shown["sources"] else "every inbox source"
        click.echo(f"{shown['id']}  {shown['mode']:<5} {shown['state']:<8} {shown['owner']:<24} {scope}")


@api_key.command()
@click.argument("tenant")
@click.argument("key_id")
@home_option
@json_option
def revoke(*, tenant: str, key_id: str, home: Home, as_json: bool) -> None:
    """Revoke the key KEY_ID of TENANT: the inbox refuses it within seconds."""
    with running_postgres(home) as platform:
        revoke_api_key(platform, tenant, key_id, datetime.now(UTC))
    if as_json:
        print_json({"tenant": tenant, "id": key_id, "state": "revoked"})
    else:
        click.echo(f"Key {key_id} of {tenant} is revoked.")


def _document(key: ApiKey, now: datetime) -> dict[str, Any]:
    view = key.view
    state = "valid"
    if view.revoked_at is not None:
        state = "revoked"
    elif view.expires_at is not None and view.expires_at <= now:
        state = "expired"
    return {
        "id": view.key_id,
        "mode": view.mode,
        "state": state,
        "owner": view.owner,
        "sources": list(view.sources) if view.sources is not None else None,
        "created_at": key.created_at,
        "expires_at": view.expires_at,
        "revoked_at": view.revoked_at,
    }
