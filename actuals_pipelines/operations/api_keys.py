"""Make, rotate and revoke the inbox's API keys. A key's text leaves here once, to be shown, and is kept nowhere."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import ip_network

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from actuals_pipelines.database.server import tenant_engine
from actuals_pipelines.database.tables import inbox_key_use
from actuals_pipelines.domain.source import SourceKind
from actuals_pipelines.encryption.providers import platform_key
from actuals_pipelines.errors import ConfigurationError
from actuals_pipelines.operations.environments import ensure_environment
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.views import write_views
from actuals_pipelines.sources.inbox.keys import MODES, new_key, seal_signing_secret
from actuals_pipelines.tenants.api_keys import add_api_key, find_api_key, list_api_keys, mark_revoked, replace_api_key
from actuals_pipelines.tenants.credentials import credentials
from actuals_pipelines.tenants.projections import ApiKeyView, SigningView
from actuals_pipelines.tenants.registry import Registered, current
from actuals_pipelines.tenants.schema import nearest


class InboxSourceUnknown(ConfigurationError):
    """A key was asked for a source that is no inbox source of the tenant."""

    def __init__(self, tenant: str, source: str, known: tuple[str, ...]) -> None:
        super().__init__(tenant, source, known)
        self.tenant, self.source, self.known = tenant, source, known

    def __str__(self) -> str:
        return f"Tenant {self.tenant!r} has no inbox source {self.source!r}. {nearest(self.source, self.known)}"


class KeyRefused(ConfigurationError):
    """A key was asked for with something that is not what it should be."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what, advice)
        self.what, self.advice = what, advice

    def __str__(self) -> str:
        return f"{self.what} {self.advice}"


@dataclass(frozen=True, slots=True)
class ShownOnce:
    """A key at the moment it is made."""

    key_id: str
    mode: str
    text: str  # for the customer's eyes, now and never again
    signing_secret: str | None = None  # likewise; its characters, as ASCII, are the secret of hmac-sha256

    def __repr__(self) -> str:
        return f"<ShownOnce {self.key_id}>"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a key is to be."""

    mode: str
    owner: str = ""  # empty: the tenant
    owner_kind: str = "system"  # system | person
    sources: tuple[str, ...] | None = None  # the inbox sources it may push to; None is all, also later ones
    expires_at: datetime | None = None
    signing: str | None = None  # hmac-sha256 | ed25519; None: requests need no signature
    public_key: bytes | None = None  # PEM, for ed25519
    certificate: bytes | None = None  # PEM: the client certificate it is bound to
    networks: tuple[str, ...] | None = None  # CIDRs from which it may be used


def create_api_key(platform: Platform, name: str, wanted: Wanted) -> ShownOnce:
    """Make a key for a tenant and let the doors know it; the first test key makes the tenant's test environment.

    Raises:
        TenantUnknown, InboxSourceUnknown, KeyRefused.
    """
    registered = current(platform.control, name)
    inboxes = tuple(source.name for source in registered.tenant.sources if source.kind is SourceKind.INBOX)
    for source in wanted.sources or ():
        if source not in inboxes:
            raise InboxSourceUnknown(name, source, inboxes)
    door_key = platform_key(platform.provider, platform.home.uuid, "doors")
    view, shown = _made(door_key, replace(wanted, owner=wanted.owner or name))
    # A key sends to the environment of its mode: without one its events would lie in the inbox for ever.
    ensure_environment(platform, registered, wanted.mode)
    add_api_key(platform.control, registered.uuid, view)
    write_views(platform, registered, sorted({*registered.environments, wanted.mode}))
    return shown


def rotate_api_key(platform: Platform, name: str, key_id: str, now: datetime, overlap: timedelta) -> ShownOnce:
    """Make a key like another one, which is refused when the overlap is over. Nothing else about it changes, but the
    secret of hmac-sha256 is new too.

    Raises:
        TenantUnknown, ApiKeyUnknown, KeyRefused: it is over already.
    """
    registered = current(platform.control, name)
    old = find_api_key(platform.control, registered.uuid, name, key_id).view
    if old.revoked_at is not None or (old.expires_at is not None and old.expires_at <= now):
        raise KeyRefused(f"Key {key_id} is revoked or expired.", "Make a new one with `actuals api-key create`.")
    door_key = platform_key(platform.provider, platform.home.uuid, "doors")
    made = new_key(old.mode, door_key)
    signing, secret = old.signing, None
    if signing is not None and signing.algorithm == "hmac-sha256":
        signing, secret = _new_secret(door_key, made.key_id)
    view = replace(old, key_id=made.key_id, hash=made.hash, signing=signing)
    replace_api_key(platform.control, registered.uuid, old, view, now + overlap)
    write_views(platform, registered)
    return ShownOnce(made.key_id, old.mode, made.text, secret)


def last_uses(platform: Platform, name: str) -> dict[str, datetime]:
    """When each key of a tenant was last used, by its id; up to a minute old. Raises TenantUnknown."""
    registered = current(platform.control, name)
    uses: dict[str, datetime] = {}
    for environment in registered.environments:
        ref = registered.ref(environment)
        password = (credentials(platform.control, platform.provider, ref) or {})["app"]
        engine = tenant_engine(platform.address, ref, "app", password, name="actuals api-key")
        try:
            with engine.connect() as connection:
                uses |= {row.key_id: row.used_at for row in connection.execute(sa.select(inbox_key_use))}
        finally:
            engine.dispose()
    return uses


def revoke_api_key(platform: Platform, name: str, key_id: str, now: datetime) -> None:
    """Revoke a key: the doors refuse it from their next look at the views on. Raises TenantUnknown, ApiKeyUnknown."""
    registered = current(platform.control, name)
    mark_revoked(platform.control, registered.uuid, name, key_id, now)
    write_views(platform, registered)


def first_api_keys(platform: Platform, registered: Registered, environments: Sequence[str]) -> tuple[ShownOnce, ...]:
    """A key for each environment that never had one, where there is an inbox source. The caller writes the views."""
    if not any(source.kind is SourceKind.INBOX for source in registered.tenant.sources):
        return ()
    had = {key.view.mode for key in list_api_keys(platform.control, registered.uuid)}
    modes = [mode for mode in environments if mode in MODES and mode not in had]
    door_key = platform_key(platform.provider, platform.home.uuid, "doors")
    shown = []
    for mode in modes:
        view, made = _made(door_key, Wanted(mode, registered.tenant.name))
        add_api_key(platform.control, registered.uuid, view)
        shown.append(made)
    return tuple(shown)


def _made(door_key: bytes, wanted: Wanted) -> tuple[ApiKeyView, ShownOnce]:
    made, secret = new_key(wanted.mode, door_key), None
    signing: SigningView | None = None
    if wanted.signing == "hmac-sha256":
        signing, secret = _new_secret(door_key, made.key_id)
    elif wanted.signing == "ed25519":
        signing = SigningView("ed25519", _ed25519(wanted.public_key))
    elif wanted.public_key is not None:
        raise KeyRefused("A public key was given without --sign ed25519.", "Give both, or neither.")
    view = ApiKeyView(
        key_id=made.key_id,
        hash=made.hash,
        mode=wanted.mode,
        owner=wanted.owner,
        owner_kind=wanted.owner_kind,
        expires_at=wanted.expires_at,
        sources=wanted.sources,
        signing=signing,
        certificate=None if wanted.certificate is None else _der(wanted.certificate),
        networks=None if wanted.networks is None else tuple(map(_network, wanted.networks)),
    )
    return view, ShownOnce(made.key_id, wanted.mode, made.text, secret)


def _new_secret(door_key: bytes, key_id: str) -> tuple[SigningView, str]:
    secret = secrets.token_urlsafe(32)
    return SigningView("hmac-sha256", seal_signing_secret(door_key, key_id, secret.encode())), secret


def _ed25519(pem: bytes | None) -> bytes:
    try:
        key = serialization.load_pem_public_key(pem or b"")
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyRefused("--sign ed25519 needs an Ed25519 public key in PEM.", "Give its file with --public-key.")
    return key.public_bytes_raw()


def _der(pem: bytes) -> bytes:
    try:
        return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    except ValueError:
        raise KeyRefused("The client certificate is not one in PEM.", "Give the file that the client shows.") from None


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        raise KeyRefused(f"{text!r} is not a network.", "Write it as 192.0.2.0/24 or 2001:db8::/32.") from None
