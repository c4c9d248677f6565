"""Who may send what: from a key's text to one tenant's inbox, in one mode, for some sources."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b, sha256
from ipaddress import IPv6Address, ip_address, ip_network
from uuid import UUID

import sqlalchemy as sa

from actuals_pipelines.database.server import engine
from actuals_pipelines.domain.source import SourceKind
from actuals_pipelines.sources.door import door_subkey
from actuals_pipelines.sources.inbox.group_commit import GroupCommit
from actuals_pipelines.sources.inbox.keys import key_hash, mode_and_id, open_signing_secret
from actuals_pipelines.sources.inbox.problems import LineError, Refused
from actuals_pipelines.sources.inbox.raw_transactions import Batch, RawTransaction
from actuals_pipelines.sources.inbox.receipts import Post, refuse_if_not_durable
from actuals_pipelines.tenants.projections import ApiKeyView, DoorView

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TenantInbox:
    """One tenant's inbox, open for as long as its view stays the same."""

    view: DoorView
    engine: sa.Engine
    commits: GroupCommit
    uses: dict[str, datetime] = field(default_factory=dict)  # key id -> when it was used, not written down yet


@dataclass(frozen=True, slots=True)
class Caller:
    """From where a request came, as its socket and TLS tell it."""

    address: str = ""
    certificate_sha256: bytes | None = None  # of the client's, whose private key the handshake proved


@dataclass(frozen=True, slots=True)
class Signing:
    """How this key's requests must be signed."""

    algorithm: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request's key, accepted."""

    tenant: TenantInbox
    key_id: str
    mode: str
    sources: Mapping[str, UUID]  # by name: the inbox sources that this key may send to
    mac_key: bytes
    signing: Signing | None = None

    def source_id(self, name: str) -> UUID:
        """The id of a source by name. Raises Refused: of another tenant's sources this key learns nothing."""
        if found := self.sources.get(name):
            return found
        known = self.tenant.view.sources.get(name)
        is_inbox = known is not None and known.kind is SourceKind.INBOX
        raise Refused("source_not_allowed" if is_inbox else "source_unknown", field="source_id")

    def name_of(self, source_id: UUID) -> str:
        """The name of a source that this key may see."""
        return next(name for name, uuid in self.sources.items() if uuid == source_id)

    def posts(self, raws: Sequence[RawTransaction]) -> list[Post]:
        """Make raw transactions ready to be stored. Ids and bodies are compared by keyed digests, never in clear.

        The MAC is BLAKE2b with a key (RFC 7693), 128 bits: a third of the cost of HMAC-SHA-256 for texts this short.

        Raises:
            Refused: a source is not this key's to send to.
        """
        mode, posts = self.mode, []
        sources = {name: self.source_id(name) for name in {raw.source for raw in raws}}
        ids = {
            name: blake2b(uuid.bytes + mode.encode(), key=self.mac_key, person=b"inbox id", digest_size=16)
            for name, uuid in sources.items()
        }
        bodies = blake2b(key=self.mac_key, person=b"inbox body", digest_size=16)
        for source, id_, canonical in raws:
            id_mac, body_mac = ids[source].copy(), bodies.copy()
            id_mac.update(id_.encode())
            body_mac.update(canonical)
            posts.append(Post(sources[source], mode, id_mac.digest(), body_mac.digest(), canonical))
        return posts

    def without_strange_sources(self, batch: Batch) -> Batch:
        """The batch, with what names a source that is not this key's among its errors."""
        strange: dict[str, Refused] = {}
        for name in {raw.source for raw in batch.records}:
            try:
                self.source_id(name)
            except Refused as refused:
                strange[name] = refused
        if not strange:
            return batch
        kept = [(raw, line) for raw, line in zip(batch.records, batch.lines, strict=True) if raw.source not in strange]
        errors = [
            LineError(line, strange[raw.source].code, strange[raw.source].detail, "source_id")
            for raw, line in zip(batch.records, batch.lines, strict=True)
            if raw.source in strange
        ]
        return Batch([raw for raw, _ in kept], [line for _, line in kept], batch.errors + errors)


class Admission:
    """All tenants' inboxes by API key; `take` follows the views, in the event loop's thread."""

    def __init__(self, door_key: bytes, threads: Executor) -> None:
        self._door_key, self._threads = door_key, threads
        self.trust: Callable[[Sequence[bytes]], None] = lambda _: None  # told the client certificates when they change
        self._tenants: dict[tuple[UUID, str], TenantInbox] = {}
        self._keys: dict[str, tuple[TenantInbox, ApiKeyView]] = {}

    @property
    def tenants(self) -> Sequence[TenantInbox]:
        """Every tenant's inbox."""
        return tuple(self._tenants.values())

    def take(self, views: list[DoorView]) -> None:
        """Open what is new, close what is gone; a tenant whose view did not change goes on undisturbed."""
        tenants: dict[tuple[UUID, str], TenantInbox] = {}
        for view in views:
            place = (view.ref.uuid, view.ref.environment)
            known = self._tenants.get(place)
            tenants[place] = known if known and known.view == view else self._open(view)
        for place, tenant in self._tenants.items():
            if tenants.get(place) is not tenant:
                tenant.engine.dispose()  # what runs on it ends undisturbed
        self._tenants = tenants
        self._keys = {key.key_id: (tenant, key) for tenant in tenants.values() for key in tenant.view.api_keys}
        self.trust(self.certificates)
        log.info("views taken: tenants=%d keys=%d", len(self._tenants), len(self._keys))

    @property
    def certificates(self) -> Sequence[bytes]:
        """The client certificates that keys are bound to, DER."""
        return [key.certificate for _, key in self._keys.values() if key.certificate is not None]

    def admit(self, token: str, now: datetime, caller: Caller = Caller()) -> Admitted:
        """Accept a key, or raise Refused alike for every reason: a guesser learns nothing."""
        given = key_hash(token, self._door_key)  # always computed: unknown keys take the same time
        stated = mode_and_id(token)
        found = self._keys.get(stated[1]) if stated else None
        if stated is None or found is None:
            raise Refused("unauthorized")
        tenant, key = found
        is_right = hmac.compare_digest(given, key.hash) and key.mode == stated[0]
        is_over = (key.expires_at is not None and key.expires_at <= now) or key.revoked_at is not None
        if not is_right or is_over or not self._may_use_it_from(caller, key):
            raise Refused("unauthorized")
        tenant.uses[key.key_id] = now
        sources = {
            name: source.uuid
            for name, source in tenant.view.sources.items()
            if source.kind is SourceKind.INBOX and (key.sources is None or name in key.sources)
        }
        return Admitted(tenant, key.key_id, key.mode, sources, self._mac_key(tenant.view), self._signing(key))

    def _may_use_it_from(self, caller: Caller, key: ApiKeyView) -> bool:
        if key.networks is not None and not _is_within(caller.address, key.networks):
            log.warning("key refused: key=%s reason=address", key.key_id)  # its owner is told no more than a guesser
            return False
        if key.certificate is not None and caller.certificate_sha256 != sha256(key.certificate).digest():
            log.warning("key refused: key=%s reason=certificate", key.key_id)
            return False
        return True

    def _signing(self, key: ApiKeyView) -> Signing | None:
        if key.signing is None:
            return None
        if key.signing.algorithm == "ed25519":
            return Signing("ed25519", key.signing.key)
        secret = open_signing_secret(self._door_key, key.key_id, key.signing.key)
        return Signing(key.signing.algorithm, secret)

    def forget_past_minutes(self, now: datetime) -> None:
        """Let go of data keys whose minute is over, so that memory opens nothing received before this minute."""
        for tenant in self._tenants.values():
            tenant.commits.forget_past_minutes(now)

    def _open(self, view: DoorView) -> TenantInbox:
        login = view.login
        database = engine(login.address, login.database, login.role, login.password, name="actuals inbox")
        sa.event.listen(database, "connect", refuse_if_not_durable)
        return TenantInbox(view, database, GroupCommit(database, view.public_key, view.ref, self._threads))

    def _mac_key(self, view: DoorView) -> bytes:
        # One per tenant: the same id of two tenants must not look alike.
        return door_subkey(self._door_key, f"inbox digests {view.ref.uuid} {view.ref.environment}")


def _is_within(address: str, networks: Sequence[str]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in ip_network(network) for network in networks)
