"""Who may drop files where: from a user name and a public key to one tenant's folders."""

from __future__ import annotations

import hmac
import ipaddress
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import asyncssh
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from actuals_pipelines.database.server import engine
from actuals_pipelines.domain.source import SourceKind
from actuals_pipelines.domain.tenant import SftpKey, TenantRef
from actuals_pipelines.sources.door import content_mac_key
from actuals_pipelines.sources.sftp.deliver import Deliveries
from actuals_pipelines.sources.sftp.errors import NotPermitted, NotThere
from actuals_pipelines.sources.sftp.quota import today
from actuals_pipelines.tenants.projections import DoorSource, DoorView, SftpView

log = logging.getLogger(__name__)

MIN_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class TenantDrop:
    """One tenant's drop, open for as long as its view stays the same."""

    view: DoorView
    prefix: Path  # the tenant's folder on disk
    engine: sa.Engine  # role `door`
    mac_key: bytes
    deliveries: Deliveries

    @property
    def ref(self) -> TenantRef:
        """Which tenant."""
        return self.view.ref


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that an account sees."""

    name: str  # as it is listed
    source: DoorSource | None  # None: no source claims what lies here


@dataclass(frozen=True, slots=True)
class Account:
    """One account of one tenant."""

    tenant: TenantDrop
    user: str
    folders: Mapping[str, Folder]  # by a source's folder and by its name
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()  # none: from anywhere
    password_hash: str | None = field(default=None, repr=False)

    def is_from(self, address: str) -> bool:
        """Whether it may come from there."""
        if not self.networks:
            return True
        found = ipaddress.ip_address(address.partition("%")[0])
        mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
        return any((mapped or found) in network for network in self.networks)

    @property
    def shown_folders(self) -> frozenset[str]:
        """The folders as they are listed: one of each source."""
        return frozenset(folder.name for folder in self.folders.values())

    @property
    def has_one_source(self) -> bool:
        """Whether the root is its folder, too."""
        return len(self.shown_folders) == 1

    def mark(self, folder: str, name: str) -> str:
        """What a half file's name on the disk says of the sender's name for it: it tells only who knows that name."""
        return "." + hmac.digest(self.tenant.mac_key, f"{self.user}/{folder}/{name}".encode(), "sha256")[:16].hex()

    def folder(self, name: str) -> Folder:
        """The folder of that name; "" is the root. Raises NotThere.

        In the root of an account with several sources lies what no source claims: it is kept, shown and alerted.
        """
        if name in self.folders:
            return self.folders[name]
        if name:
            raise NotThere("There is no such folder", "Use the folder of a source.")
        return next(iter(self.folders.values())) if self.has_one_source else Folder("", None)


@dataclass(frozen=True, slots=True)
class _Key:
    account: Account
    expires_on: date | None


class Accounts:
    """All accounts by user and key; `take` follows the views, in the event loop's thread."""

    def __init__(self, data: Path, door_key: bytes, day: Callable[[], date] = today) -> None:
        self._data, self._door_key, self._day = data, door_key, day
        self._tenants: dict[TenantRef, TenantDrop] = {}
        self._by_key: dict[tuple[str, bytes], _Key] = {}
        self._by_password: dict[str, Account] = {}

    @property
    def tenants(self) -> tuple[TenantDrop, ...]:
        """Every tenant's drop."""
        return tuple(self._tenants.values())

    def take(self, views: list[DoorView]) -> None:
        """Open what is new, close what is gone. A session looks its account up anew for each file."""
        tenants: dict[TenantRef, TenantDrop] = {}
        for view in views:
            known = self._tenants.get(view.ref)
            tenants[view.ref] = known if known and known.view == view else self._open(view)
        for ref, tenant in self._tenants.items():
            if tenants.get(ref) is not tenant:
                tenant.engine.dispose()  # what runs on it ends undisturbed
        self._tenants = tenants
        self._by_key, self._by_password = {}, {}
        for tenant in tenants.values():
            for shown in tenant.view.sftp:
                self._add(tenant, shown)
        log.info("views taken: tenants=%d keys=%d", len(tenants), len(self._by_key))

    def by_key(self, user: str, public_data: bytes, address: str) -> Account | None:
        """The account of this user and public key (SSH wire form), if the key holds today, and from this address."""
        entry = self._by_key.get((user, public_data))
        if entry is None or not entry.account.is_from(address):
            return None
        return entry.account if entry.expires_on is None or self._day() <= entry.expires_on else None

    def by_password(self, user: str, address: str) -> Account | None:
        """The account of this user, if it may enter with a password from this address."""
        account = self._by_password.get(user)
        return account if account is not None and account.networks and account.is_from(address) else None

    def _add(self, tenant: TenantDrop, shown: SftpView) -> None:
        folders: dict[str, Folder] = {}
        for name, source in tenant.view.sources.items():
            if name in shown.sources and source.kind is SourceKind.SFTP:
                folder = Folder(source.folder or name, source)
                folders |= {folder.name: folder, name: folder}
        networks = tuple(ipaddress.ip_network(network) for network in shown.addresses)
        account = Account(tenant, shown.user, folders, networks, shown.password_hash)
        if shown.password_hash is not None and self._by_password.setdefault(shown.user, account) is not account:
            # Two tenants with one user name and a password: whose files these are cannot be told.
            log.error("a user name with a password is taken: tenant=%s", tenant.ref.uuid)
        for key in shown.public_keys:
            self._add_key(account, key)

    def _add_key(self, account: Account, shown: SftpKey) -> None:
        tenant = account.tenant.ref.uuid
        try:
            key = asyncssh.import_public_key(shown.line)
        except asyncssh.KeyImportError:
            log.error("a public key cannot be read: tenant=%s", tenant)
            return
        if isinstance(key.pyca_key, RSAPublicKey) and key.pyca_key.key_size < MIN_RSA_BITS:
            log.error("a public key is too short: tenant=%s bits=%d", tenant, key.pyca_key.key_size)
            return
        place = (account.user, key.public_data)
        if place in self._by_key:
            # Two tenants with one user name and one key: whose files these are cannot be told.
            log.error("a user name and key are taken: tenant=%s", tenant)
            return
        self._by_key[place] = _Key(account, shown.expires_on)

    def _open(self, view: DoorView) -> TenantDrop:
        login = view.login
        database = engine(login.address, login.database, login.role, login.password, name="actuals sftp")
        mac_key = content_mac_key(self._door_key, view.ref)
        deliveries = Deliveries(database, view.public_key)
        return TenantDrop(view, self._data / view.prefix, database, mac_key, deliveries)


@dataclass(frozen=True, slots=True)
class Login:
    """Who is connected: looked up anew for each file, so that a closed account ends with the file it is sending."""

    accounts: Accounts
    user: str
    address: str
    public_data: bytes | None  # None: it came with a password
    ref: TenantRef

    def account(self) -> Account:
        """The account as it is now. Raises NotPermitted if it was closed."""
        if self.public_data is None:
            found = self.accounts.by_password(self.user, self.address)
        else:
            found = self.accounts.by_key(self.user, self.public_data, self.address)
        if found is None or found.tenant.ref != self.ref:
            raise NotPermitted("This account was closed", "Ask the operator.")
        return found
