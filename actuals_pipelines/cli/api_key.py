"""`actuals api-key`: who may push to a tenant's inbox."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, BinaryIO

import click

from actuals_pipelines.cli.options import DAY, home_option, json_option, print_json, tenant_option
from actuals_pipelines.operations.api_keys import (
    ShownOnce,
    Wanted,
    create_api_key,
    last_uses,
    revoke_api_key,
    rotate_api_key,
)
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.settings import Home
from actuals_pipelines.tenants.api_keys import ApiKey, list_api_keys
from actuals_pipelines.tenants.registry import current


@click.group("api-key")
def api_key() -> None:
    """API keys of the inbox. A key is shown once, when it is made."""


@api_key.command()
@tenant_option
@click.option("--mode", type=click.Choice(["prod", "test"]), default="prod", show_default=True)
@click.option("--owner", default="", help="Who will use it, for those who look later [default: the tenant].")
@click.option("--owner-kind", type=click.Choice(["system", "person"]), default="system", show_default=True)
@click.option("--source", "sources", multiple=True, help="An inbox source it may push to [default: all].")
@click.option("--expires", type=DAY, help="The first day (UTC) on which it is refused.")
@click.option("--sign", type=click.Choice(["hmac-sha256", "ed25519"]), help="Its requests must be signed (RFC 9421).")
@click.option("--public-key", type=click.File("rb"), help="PEM, for --sign ed25519.")
@click.option("--certificate", type=click.File("rb"), help="PEM: it is used with this client certificate alone.")
@click.option("--network", "networks", multiple=True, help="CIDR from which it may be used [default: anywhere].")
@home_option
@json_option
def create(
    *,
    tenant: str,
    mode: str,
    owner: str,
    owner_kind: str,
    sources: tuple[str, ...],
    expires: datetime | None,
    sign: str | None,
    public_key: BinaryIO | None,
    certificate: BinaryIO | None,
    networks: tuple[str, ...],
    home: Home,
    as_json: bool,
) -> None:
    """Make a key for TENANT. Its first test key makes its test environment, which events of test keys go to."""
    wanted = Wanted(
        mode,
        owner,
        owner_kind,
        sources or None,
        expires.replace(tzinfo=UTC) if expires else None,
        sign,
        public_key.read() if public_key else None,
        certificate.read() if certificate else None,
        networks or None,
    )
    with running_postgres(home) as platform:
        before = current(platform.control, tenant)
        made = create_api_key(platform, tenant, wanted)
    _show(tenant, made, as_json)
    if mode not in before.environments:  # the key first: what is shown once must not be lost in a reload
        from actuals_pipelines.operations.reload import reload_and_wait  # noqa: PLC0415 - loads an HTTP client

        click.echo(f"The environment {tenant}_{mode} is new: its own database, keys and assets.", err=True)
        reload_and_wait(home, before.tenant, before.ref(mode))


@api_key.command()
@tenant_option
@click.argument("key_id", required=False)
@click.option("--overlap-hours", type=click.IntRange(0, 24 * 90), default=24, show_default=True)
@home_option
@json_option
def rotate(*, tenant: str, key_id: str, overlap_hours: int, home: Home, as_json: bool) -> None:
    """Make a key in place of KEY_ID, which is accepted for some hours still. All else about it stays as it was."""
    with running_postgres(home) as platform:
        overlap = timedelta(hours=overlap_hours)
        made = rotate_api_key(platform, tenant, key_id, datetime.now(UTC), overlap)
    _show(tenant, made, as_json)
    click.echo(f"Key {key_id} is refused in {overlap_hours} hours.", err=True)


@api_key.command("list")
@tenant_option
@home_option
@json_option
def list_(*, tenant: str, home: Home, as_json: bool) -> None:
    """List TENANT's keys by their ids and when each was last used, also those that are revoked or expired."""
    with running_postgres(home) as platform:
        found = list_api_keys(platform.control, current(platform.control, tenant).uuid)
        used = last_uses(platform, tenant)
    now = datetime.now(UTC)
    shown = [_document(key, now, used.get(key.view.key_id)) for key in found]
    if as_json:
        print_json({"tenant": tenant, "api_keys": shown})
        return
    for one in shown:
        scope = ", ".join(one["sources"]) if one["sources"] else "every inbox source"
        last = f"{one['last_used_at']:%Y-%m-%d %H:%M}" if one["last_used_at"] else "never used"
        click.echo(f"{one['id']}  {one['mode']:<5} {one['state']:<8} {last:<17} {one['owner']:<24} {scope}")


@api_key.command()
@tenant_option
@click.argument("key_id")
@home_option
@json_option
def revoke(*, tenant: str, key_id: str, home: Home, as_json: bool) -> None:
    """Revoke the key KEY_ID of TENANT: the inbox refuses it within a second."""
    with running_postgres(home) as platform:
        revoke_api_key(platform, tenant, key_id, datetime.now(UTC))
    if as_json:
        print_json({"tenant": tenant, "id": key_id, "state": "revoked"})
    else:
        click.echo(f"Key {key_id} of {tenant} is revoked.")


def _show(tenant: str, made: ShownOnce, as_json: bool) -> None:
    if as_json:
        shown = {"tenant": tenant, "id": made.key_id, "mode": made.mode, "key": made.text}
        print_json(shown | ({"signing_secret": made.signing_secret} if made.signing_secret else {}))
        return
    click.echo(made.text)
    if made.signing_secret:
        click.echo(made.signing_secret)
        click.echo("The first is the key, the second the secret that its requests are signed with.", err=True)
    click.echo("This is shown once and kept nowhere.", err=True)


def _document(key: ApiKey, now: datetime, used_at: datetime | None) -> dict[str, Any]:
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
        "owner_kind": view.owner_kind,
        "sources": list(view.sources) if view.sources is not None else None,
        "signing": view.signing.algorithm if view.signing else None,
        "certificate_sha256": sha256(view.certificate).hexdigest() if view.certificate else None,
        "networks": list(view.networks) if view.networks is not None else None,
        "replaces": key.replaces,
        "created_at": key.created_at,
        "last_used_at": used_at,
        "expires_at": view.expires_at,
        "revoked_at": view.revoked_at,
    }
