"""Make and revoke the inbox's API keys. A key's text leaves here once, to be shown, and is kept nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from actuals_pipelines.domain.source import SourceKind
from actuals_pipelines.encryption.providers import platform_key
from actuals_pipelines.errors import ConfigurationError
from actuals_pipelines.operations.environments import ensure_environment
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.views import write_views
from actuals_pipelines.sources.inbox.keys import MODES, new_key
from actuals_pipelines.tenants.api_keys import add_api_key, list_api_keys, mark_revoked
from actuals_pipelines.tenants.projections import ApiKeyView
from actuals_pipelines.tenants.registry import Registered, current
from actuals_pipelines.tenants.schema import nearest


class InboxSourceUnknown(ConfigurationError):
    """A key was asked for a source that is no inbox source of the tenant."""

    def __init__(self, tenant: str, source: str, known: tuple[str, ...]) -> None:
        super().__init__(tenant, source, known)
        self.tenant, self.source, self.known = tenant, source, known

    def __str__(self) -> str:
        return f"Tenant {self.tenant!r} has no inbox source {self.source!r}. {nearest(self.source, self.known)}"


@dataclass(frozen=True, slots=True)
class ShownOnce:
    """A key at the moment it is made."""

    key_id: str
    mode: str
    text: str  # for the customer's eyes, now and never again

    def __repr__(self) -> str:
        return f"<ShownOnce {self.key_id}>"


@dataclass(frozen=True, slots=True)
class _Wanted:
    mode: str
    owner: str
    sources: tuple[str, ...] | None = None
    expires_at: datetime | None = None


def create_api_key(
    platform: Platform,
    name: str,
    mode: str,
    *,
    owner: str,
    sources: Sequence[str] | None = None,
    expires_at: datetime | None = None,
) -> ShownOnce:
    """Make a key for a tenant and let the doors know it; the first test key makes the tenant's test environment.

    Args:
        sources: the inbox sources it may push to; None is all, also later ones.

    Raises:
        TenantUnknown, InboxSourceUnknown.
    """
    registered = current(platform.control, name)
    inboxes = tuple(source.name for source in registered.tenant.sources if source.kind is SourceKind.INBOX)
    for source in sources or ():
        if source not in inboxes:
            raise InboxSourceUnknown(name, source, inboxes)
    wanted = _Wanted(mode, owner, tuple(sources) if sources else None, expires_at)
    # A key sends to the environment of its mode: without one its events would lie in the inbox for ever.
    ensure_environment(platform, registered, mode)
    made = _add(platform, registered.uuid, wanted)
    write_views(platform, registered, sorted({*registered.environments, mode}))
    return made


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
    return tuple(_add(platform, registered.uuid, _Wanted(mode, registered.tenant.name)) for mode in modes)


def _add(platform: Platform, tenant_id: UUID, key: _Wanted) -> ShownOnce:
    made = new_key(key.mode, platform_key(platform.provider, platform.home.uuid, "doors"))
    view = ApiKeyView(made.key_id, made.hash, key.mode, key.owner, key.expires_at, None, key.sources)
    add_api_key(platform.control, tenant_id, view)
    return ShownOnce(made.key_id, key.mode, made.text)
