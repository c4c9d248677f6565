"""Keyrings: one small file per tenant and environment that holds its keys, wrapped by the KEK.

A keyring lies outside PostgreSQL and its WAL, and is to be kept out of the sets that back those up: then destroying
the file and its mirror erases the tenant, because nothing else ever held these keys. The file is JSON: version, tenant,
environment, the public key in clear, and root key, private key and pepper, each wrapped with tenant, environment and
purpose as context.

- The root key gives the key that wraps data keys and the key of sealed columns (HKDF).
- The X25519 pair opens what doors sealed.
- The pepper makes match keys and tokens. It stays when the root key is rotated: matches must go on matching.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.encryption import hpke
from actuals_pipelines.encryption.door import MinuteKey
from actuals_pipelines.encryption.durable import sync_folder, write_durably
from actuals_pipelines.encryption.environments import ref_bytes
from actuals_pipelines.encryption.providers import KeyProvider, WrappedKeyRefused
from actuals_pipelines.encryption.pseudonyms import Pseudonyms
from actuals_pipelines.encryption.secrecy import KEY_BYTES, Secret, derived_key
from actuals_pipelines.errors import ActualsError

VERSION = 1
_ROOT, _PRIVATE, _PEPPER = "root_key", "private_key", "pepper"
_NONCE_BYTES = 12
_FORMAT_AND_KEY_VERSION = b"\x01\x01"  # format 1, root key 1: rotation of the root key counts the second byte up
_HEAD_BYTES = len(_FORMAT_AND_KEY_VERSION) + _NONCE_BYTES


def create_keyring(path: Path, ref: TenantRef, provider: KeyProvider) -> TenantKeys:
    """Make a tenant's keys and write them, wrapped, to `path` (0600). Raises KeyringExists."""
    private_key = hpke.new_private_key()
    secrets = {_ROOT: os.urandom(KEY_BYTES), _PRIVATE: private_key, _PEPPER: os.urandom(KEY_BYTES)}
    content = {
        "version": VERSION,
        "tenant": str(ref.uuid),
        "environment": ref.environment,
        "public_key": _text(hpke.PrivateKey(private_key).public_key),
        **{name: _text(provider.wrap(key, _context(ref, name))) for name, key in secrets.items()},
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        write_durably(path, json.dumps(content, indent=1).encode() + b"\n", mode=0o600)
    except FileExistsError:
        raise KeyringExists(str(path)) from None
    return open_keyring(path, ref, provider)


def open_keyring(path: Path, ref: TenantRef, provider: KeyProvider) -> TenantKeys:
    """Open a tenant's keys. Raises KeyringMissing, KeyringDamaged, KeyringRefused (wrong tenant or KEK)."""
    content = _read(path)
    found = TenantRef(_uuid(content, path), str(content["environment"]))
    if found != ref:
        raise KeyringRefused(str(path), ref, "it says that it is another tenant's or environment's")
    try:
        root, private, pepper = (
            provider.unwrap(_bytes(content, name, path), _context(ref, name)) for name in (_ROOT, _PRIVATE, _PEPPER)
        )
    except WrappedKeyRefused as error:
        raise KeyringRefused(str(path), ref, "the KEK does not open its keys") from error
    keys = TenantKeys(ref, root, private, pepper)
    if keys.public_key != _bytes(content, "public_key", path):
        # Doors would go on sealing to a key whose private half somebody else may hold.
        raise KeyringDamaged(str(path), "its public key does not belong to its private key")
    return keys


def project_keyring(path: Path, target: Path, ref: TenantRef, provider: KeyProvider, own: KeyProvider) -> None:
    """Write a keyring once more, wrapped for another provider: for a process that is not given the KEK.

    It is a copy of the tenant's keys: it lies where it goes with the process, and erasing a tenant destroys it too.

    Raises: as `open_keyring`, which is tried first.
    """
    open_keyring(path, ref, provider)
    content = _read(path)
    for name in (_ROOT, _PRIVATE, _PEPPER):
        context = _context(ref, name)
        content[name] = _text(own.wrap(provider.unwrap(_bytes(content, name, path), context), context))
    write_durably(target, json.dumps(content, indent=1).encode() + b"\n", mode=0o600, replace=True)


def public_key(path: Path) -> bytes:
    """Return a tenant's raw X25519 public key (32 bytes) without any provider: all that a door needs."""
    return _bytes(_read(path), "public_key", path)


def destroy_keyring(path: Path) -> bool:
    """Overwrite and delete a keyring; false if it was gone. Everything it opened is lost; its mirror is the caller's.

    Overwriting in place helps on plain disks; on copy-on-write storage what counts is that the KEK alone opens it.
    """
    try:
        with path.open("r+b") as file:
            file.write(b"\0" * path.stat().st_size)
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return False
    path.unlink()
    sync_folder(path.parent)
    return True


class TenantKeys(Secret):
    """A tenant's opened keyring: lives in the process that opened it only, and shows, pickles and copies nothing."""

    __slots__ = ("_columns", "_data", "_private", "pseudonyms", "ref")

    def __init__(self, ref: TenantRef, root_key: bytes, private_key: bytes, pepper: bytes) -> None:
        self.ref = ref
        self._data = AESGCM(derived_key(root_key, b"actuals tenant data 1"))
        self._columns = AESGCM(derived_key(root_key, b"actuals tenant columns 1"))
        self._private = hpke.PrivateKey(private_key)
        self.pseudonyms = Pseudonyms(pepper)

    def __repr__(self) -> str:
        return f"<TenantKeys {self.ref.uuid} {self.ref.environment}>"

    @property
    def public_key(self) -> bytes:
        """The raw X25519 public key that doors seal to."""
        return self._private.public_key

    @property
    def key_id(self) -> bytes:
        """The public key's id, as containers carry it."""
        return self._private.key_id

    def wrap_data_key(self, key: bytes, aad: bytes) -> bytes:
        """Encrypt a file's data key for the catalogue; `aad` says which file (`ContainerAad.to_bytes()`)."""
        return _sealed(self._data, key, aad)

    def unwrap_data_key(self, wrapped: bytes, aad: bytes) -> bytes:
        """Give back a data key. Raises DataKeyRefused."""
        try:
            return _opened(self._data, wrapped, aad)
        except InvalidTag:
            raise DataKeyRefused(self.ref) from None

    def seal_column(self, value: bytes, aad: bytes) -> bytes:
        """Encrypt one value of a sealed column; called by `columns.seal_column`, which makes the AAD."""
        return _sealed(self._columns, value, aad)

    def open_column(self, sealed: bytes, aad: bytes) -> bytes:
        """Decrypt one value of a sealed column. Raises InvalidTag, which `columns.open_column` explains."""
        return _opened(self._columns, sealed, aad)

    def open_sealed(self, sealed: bytes, info: bytes, what: str) -> bytes:
        """Open what was sealed to the public key; see hpke.Unsealer. Raises SealedRefused."""
        return self._private.open_sealed(sealed, info, what)

    def open_minute_key(self, key_id: UUID, sealed: bytes) -> MinuteKey:
        """Open a row of `inbox_data_key`, once for all its events. Raises SealedRefused."""
        return MinuteKey(self, self.ref, key_id, sealed)


class KeyringExists(ActualsError):
    """A keyring would have been replaced, and with it all that its keys open."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"There is a keyring already at {self.path}. It was left as it is; open it, or erase the tenant first."


class KeyringMissing(ActualsError):
    """A tenant has no keyring where it should be."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"There is no keyring at {self.path}. Restore it from its mirror, unless the tenant was erased."


class KeyringDamaged(ActualsError):
    """A keyring file is not what we wrote."""

    def __init__(self, path: str, found: str) -> None:
        super().__init__(path, found)
        self.path, self.found = path, found

    def __str__(self) -> str:
        return f"The keyring {self.path} cannot be used: {self.found}. Restore it from its mirror."


class KeyringRefused(ActualsError):
    """A keyring does not belong to the tenant or the KEK it was opened with."""

    def __init__(self, path: str, ref: TenantRef, found: str) -> None:
        super().__init__(path, ref, found)
        self.path, self.ref, self.found = path, ref, found

    def __str__(self) -> str:
        return (
            f"The keyring {self.path} does not open for tenant {self.ref.uuid} ({self.ref.environment}): {self.found}. "
            "Check that keyring, tenant and KEK belong together."
        )


class DataKeyRefused(ActualsError):
    """A file's data key from the catalogue does not open for this tenant and file."""

    def __init__(self, ref: TenantRef) -> None:
        super().__init__(ref)
        self.ref = ref

    def __str__(self) -> str:
        return (
            f"A data key does not open with the keys of tenant {self.ref.uuid} ({self.ref.environment}): it is another "
            "tenant's or another file's, or it was altered. The catalogue row that holds it is wrong."
        )


def _context(ref: TenantRef, purpose: str) -> bytes:
    return b"actuals keyring 1" + ref_bytes(ref) + purpose.encode()


def _sealed(key: AESGCM, value: bytes, aad: bytes) -> bytes:
    """Return format, root key version, random nonce, ciphertext and tag. Bound: 2^32 values per key."""
    nonce = os.urandom(_NONCE_BYTES)
    return _FORMAT_AND_KEY_VERSION + nonce + key.encrypt(nonce, value, _FORMAT_AND_KEY_VERSION + aad)


def _opened(key: AESGCM, sealed: bytes, aad: bytes) -> bytes:
    head = sealed[: len(_FORMAT_AND_KEY_VERSION)]
    if head != _FORMAT_AND_KEY_VERSION or len(sealed) < _HEAD_BYTES:
        raise InvalidTag
    return key.decrypt(sealed[len(head) : _HEAD_BYTES], sealed[_HEAD_BYTES:], head + aad)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _read(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise KeyringMissing(str(path)) from None
    except ValueError:
        raise KeyringDamaged(str(path), "it is not JSON") from None
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise KeyringDamaged(str(path), f"it is not a keyring of version {VERSION}")
    missing = {"tenant", "environment", "public_key", _ROOT, _PRIVATE, _PEPPER} - content.keys()
    if missing:
        raise KeyringDamaged(str(path), f"it lacks {', '.join(sorted(missing))}")
    return content


def _uuid(content: dict[str, object], path: Path) -> UUID:
    try:
        return UUID(str(content["tenant"]))
    except ValueError:
        raise KeyringDamaged(str(path), "its tenant is not a UUID") from None


def _bytes(content: dict[str, object], name: str, path: Path) -> bytes:
    try:
        return base64.b64decode(str(content[name]), validate=True)
    except (binascii.Error, ValueError):
        raise KeyringDamaged(str(path), f"its {name} is not base64") from None
