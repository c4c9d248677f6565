"""Views: the little that a door or a code location may know of a tenant, each in a sealed file of its own.

Doors and code locations never read the control database. `tenant apply` writes what they need: a door's view opens no
data (public key, a role that only inserts, hashes of API keys), a location's view has the configuration and the
`app` role. Views are sealed under the home's "doors" and "locations" keys, so a copy of the home shows none of them.

A file is `ACTV`, version 1, nonce (12), AES-256-GCM of JSON; associated data: kind of view, tenant UUID, environment.
A reader that polls looks at the folder's names and modification times: files are replaced whole, never changed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar, TypeVar
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from actuals_pipelines.database.server import ServerAddress
from actuals_pipelines.domain.source import SideFile, SourceKind
from actuals_pipelines.domain.tenant import SftpKey, TenantRef
from actuals_pipelines.encryption.durable import sync_folder, write_durably
from actuals_pipelines.encryption.environments import ref_bytes
from actuals_pipelines.errors import ActualsError

log = logging.getLogger(__name__)

SUFFIX = ".view"
_MAGIC = b"ACTV\x01"
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class DatabaseLogin:
    """How one process reaches one tenant's database, as one role."""

    host: str
    port: int
    database: str
    role: str
    password: str
    socket_folder: str | None = None  # where the embedded server's socket lies; the quicker way for who may enter
    tls: tuple[tuple[str, str], ...] = ()

    @property
    def address(self) -> ServerAddress:
        """Where the server listens, for `database.server`."""
        socket_folder = Path(self.socket_folder) if self.socket_folder else None
        return ServerAddress(self.host, self.port, socket_folder, self.tls)

    @classmethod
    def at(cls, address: ServerAddress, database: str, role: str, password: str) -> DatabaseLogin:
        """A login at a server; `role` is the full name."""
        socket_folder = str(address.socket_folder) if address.socket_folder else None
        return cls(address.host, address.port, database, role, password, socket_folder, address.tls)

    def __repr__(self) -> str:
        return f"<DatabaseLogin {self.role}>"


@dataclass(frozen=True, slots=True)
class DoorSource:
    """One source as a door knows it."""

    uuid: UUID
    kind: SourceKind
    format: str
    folder: str | None = None  # sftp: as senders see it
    side_file: SideFile | None = None  # sftp


@dataclass(frozen=True, slots=True)
class SigningView:
    """How requests under a key must be signed (RFC 9421)."""

    algorithm: str  # hmac-sha256 | ed25519
    key: bytes  # the shared secret, sealed under the door key: sources.inbox.keys; or the public key, 32 bytes


@dataclass(frozen=True, slots=True)
class ApiKeyView:
    """One API key as the inbox knows it: never the key."""

    key_id: str
    hash: bytes  # HMAC of the key under the door key: sources.inbox.keys.key_hash
    mode: str  # test | prod
    owner: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    sources: tuple[str, ...] | None = None  # None: every inbox source
    owner_kind: str = "system"  # system | person
    signing: SigningView | None = None  # None: requests need no signature
    certificate: bytes | None = None  # the client's, DER: no other may use this key
    networks: tuple[str, ...] | None = None  # CIDR: from where it may be used; None: from anywhere


@dataclass(frozen=True, slots=True)
class SftpView:
    """One sFTP account: who enters with which keys, and the sources (folders) it may drop for."""

    user: str
    public_keys: tuple[SftpKey, ...]
    sources: tuple[str, ...]
    addresses: tuple[str, ...] = ()  # networks; none: from anywhere
    password_hash: str | None = None  # argon2id; only together with addresses

    def __repr__(self) -> str:
        return f"<SftpView {self.user}>"


@dataclass(frozen=True, slots=True)
class DoorView:
    """What the inbox, the sFTP drop and the upload may know of one tenant and environment."""

    ref: TenantRef
    name: str
    public_key: bytes  # raw X25519: doors only seal
    login: DatabaseLogin  # role `door`: inserts, and reads idempotency columns alone
    sources: dict[str, DoorSource]
    api_keys: tuple[ApiKeyView, ...] = ()
    sftp: tuple[SftpView, ...] = ()

    kind: ClassVar[int] = 1

    @property
    def prefix(self) -> str:
        """The tenant's folder below the home's data folder, where sealed arrivals go."""
        return self.ref.prefix

    def api_key(self, key_id: str) -> ApiKeyView | None:
        """The key of that id, whether or not it still holds."""
        return next((key for key in self.api_keys if key.key_id == key_id), None)

    def sftp_account(self, user: str) -> SftpView | None:
        """The account of that user."""
        return next((account for account in self.sftp if account.user == user), None)


@dataclass(frozen=True, slots=True)
class LocationView:
    """What a code location needs of one tenant and environment that it serves."""

    ref: TenantRef
    name: str
    yaml: str
    version: int
    login: DatabaseLogin  # role `app`: no DDL

    kind: ClassVar[int] = 2

    @property
    def prefix(self) -> str:
        """The tenant's folder below the home's data folder."""
        return self.ref.prefix


View = TypeVar("View", DoorView, LocationView)


class ViewRefused(ActualsError):
    """A view's file does not open: another key, another tenant's content under this name, or altered."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return (
            f"The view {self.path} does not open with this home's key: it was written by another home or altered. "
            "Write it anew with `actuals tenant apply`."
        )


def write_door_view(folder: Path, key: bytes, view: DoorView) -> Path:
    """Seal a door's view; takes the place of the one before, whole. `key`: platform_key(..., "doors")."""
    return _write(folder, key, view)


def read_door_views(folder: Path, key: bytes) -> list[DoorView]:
    """Open every door view, sorted by name.

    One that does not open is logged and left out: a tenant's broken file must not close the doors of the others.

    Raises:
        ViewRefused: there are views and none opens: this is the wrong key.
    """
    return _read_all(folder, key, DoorView)


def read_door_view(folder: Path, key: bytes, ref: TenantRef) -> DoorView:
    """Open one tenant's door view. Raises ViewRefused, FileNotFoundError."""
    return _read(view_path(folder, ref), key, DoorView)


def write_location_view(folder: Path, key: bytes, view: LocationView) -> Path:
    """Seal a location's view; takes the place of the one before, whole. `key`: platform_key(..., "locations")."""
    return _write(folder, key, view)


def read_location_views(folder: Path, key: bytes) -> list[LocationView]:
    """Open every location view, sorted by name; as `read_door_views`."""
    return _read_all(folder, key, LocationView)


def remove_views(folder: Path, ref: TenantRef) -> None:
    """Take a tenant's view away: the door or location forgets it at its next look."""
    view_path(folder, ref).unlink(missing_ok=True)
    sync_folder(folder)


def view_path(folder: Path, ref: TenantRef) -> Path:
    """Where a tenant's view lies: an opaque name, because folders are listed in many places."""
    return folder / f"{ref.prefix}{SUFFIX}"


def _write(folder: Path, key: bytes, view: DoorView | LocationView) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(key).encrypt(nonce, msgspec.json.encode(view), _aad(view.kind, view.ref))
    path = view_path(folder, view.ref)
    write_durably(path, _MAGIC + nonce + sealed, mode=0o600, replace=True)
    return path


def _read(path: Path, key: bytes, kind: type[View]) -> View:
    content = path.read_bytes()
    nonce, sealed = content[len(_MAGIC) :][:_NONCE_BYTES], content[len(_MAGIC) + _NONCE_BYTES :]
    try:
        if content[: len(_MAGIC)] != _MAGIC:
            raise InvalidTag
        opened = AESGCM(key).decrypt(nonce, sealed, _aad(kind.kind, _ref_of(path)))
        return msgspec.json.decode(opened, type=kind)
    except (InvalidTag, ValueError):  # msgspec's errors are ValueErrors
        raise ViewRefused(str(path)) from None


def _read_all(folder: Path, key: bytes, kind: type[View]) -> list[View]:
    views: list[View] = []
    refused: ViewRefused | None = None
    for path in _paths(folder):
        try:
            views.append(_read(path, key, kind))
        except FileNotFoundError:
            continue  # removed since the folder was listed
        except ViewRefused as error:
            refused = error
            log.error("view left out: path=%s", path)
    if refused and not views:
        raise refused
    return sorted(views, key=lambda view: (view.name, view.ref.environment))


def _paths(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in sorted(folder.iterdir()) if path.suffix == SUFFIX and path.name[0] != ".")


def _ref_of(path: Path) -> TenantRef:
    uuid, _, environment = path.name.removesuffix(SUFFIX).partition("-")
    return TenantRef(UUID(uuid), environment)


def _aad(kind: int, ref: TenantRef) -> bytes:
    return bytes([kind]) + ref_bytes(ref)
