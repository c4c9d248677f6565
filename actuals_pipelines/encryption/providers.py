"""Key providers: who holds the key that encrypts keys (KEK), and what it does for us.

A provider wraps and unwraps the keys of keyrings and derives the platform's own. It never gives the KEK away.

How a key is wrapped (file and environment provider): AES-256-GCM under HKDF-SHA-256(KEK, "actuals kek wrap 1"),
`0x01 | nonce (12, random) | ciphertext and tag`, with the context as associated data. AES-GCM was preferred to
AES-KWP (RFC 5649) because it binds the context itself, in the way of AWS KMS' encryption context, Vault Transit's
associated data and PKCS#11's GCM parameters. Bound: 2^32 wraps for one KEK (NIST SP 800-38D 8.3), five per tenant.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from pathlib import Path
from typing import Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from actuals_pipelines.encryption.durable import write_durably
from actuals_pipelines.encryption.secrecy import KEY_BYTES, Secret, derived_key
from actuals_pipelines.errors import ActualsError, ConfigurationError
from actuals_pipelines.settings import Home, kek_from_environment

_WRAPPED_FORMAT = b"\x01"
_NONCE_BYTES = 12
PLATFORM_LABELS = frozenset({"doors", "locations", "credentials"})


class KeyProvider(Protocol):
    """What a tenant's keyring needs of a file, an environment variable, Vault Transit, AWS KMS or PKCS#11."""

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Encrypt a key; `context` must be given again, byte for byte, to unwrap it."""

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Give back a wrapped key. Raises WrappedKeyRefused for another KEK, another context or changed bytes."""

    def derive(self, label: str, context: bytes) -> bytes:
        """Return 32 bytes, always the same for one KEK, label and context.

        Providers that do not derive (a KMS) keep a random key that they have wrapped, and unwrap it instead.
        """


def provider_for(home: Home) -> KeyProvider:
    """The home's provider: ACTUALS_KEK, then the key file outside the home. Raises KekMissing, KekRefused."""
    text = kek_from_environment()
    if text is not None:
        return EnvironmentProvider(text)
    if not home.kek_file.exists():
        raise KekMissing(("ACTUALS_KEK", str(home.kek_file)))
    return FileProvider(home.kek_file, home.root)


def create_provider(home: Home) -> KeyProvider:
    """Make the home's key file unless it, or ACTUALS_KEK, is there already; return the provider."""
    if kek_from_environment() is None and not home.kek_file.exists():
        return FileProvider.create(home.kek_file, home.root)
    return provider_for(home)


def platform_key(provider: KeyProvider, home_uuid: UUID, label: str) -> bytes:
    """Return the home's 32-byte key for "doors", "locations" or "credentials"; the same each time."""
    if label not in PLATFORM_LABELS:
        raise ValueError(f"no platform key is called {label!r}; there are: {', '.join(sorted(PLATFORM_LABELS))}")
    return provider.derive(f"platform {label}", home_uuid.bytes)


class _LocalProvider(Secret):
    """A KEK in this process' memory."""

    __slots__ = ("_kek", "_wrapping", "where")

    def __init__(self, kek: bytes, where: str) -> None:
        self._kek = kek
        self._wrapping = AESGCM(derived_key(kek, b"actuals kek wrap 1"))
        self.where = where  # for messages: a path or a variable's name

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """See KeyProvider."""
        nonce = os.urandom(_NONCE_BYTES)
        return _WRAPPED_FORMAT + nonce + self._wrapping.encrypt(nonce, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See KeyProvider."""
        nonce, sealed = wrapped[1 : 1 + _NONCE_BYTES], wrapped[1 + _NONCE_BYTES :]
        try:
            if wrapped[:1] != _WRAPPED_FORMAT or len(nonce) < _NONCE_BYTES:
                raise InvalidTag
            return self._wrapping.decrypt(nonce, sealed, context)
        except InvalidTag:
            raise WrappedKeyRefused(self.where) from None

    def derive(self, label: str, context: bytes) -> bytes:
        """See KeyProvider."""
        text = label.encode()
        return derived_key(self._kek, b"actuals kek derive 1" + bytes([len(text)]) + text + context)


class FileProvider(_LocalProvider):
    """The KEK in a file of 32 bytes that only its owner reads, outside the home."""

    __slots__ = ()

    def __init__(self, path: Path, home: Path | None = None) -> None:
        """Read the key file. Raises KekMissing, KekRefused."""
        _refuse_inside(path, home)
        try:
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                kek = file.read(KEY_BYTES + 1)
        except FileNotFoundError:
            raise KekMissing((str(path),)) from None
        except OSError as error:
            raise KekRefused(str(path), f"it cannot be read ({error.strerror})", "Give it back to its owner.") from None
        if mode & 0o077:
            raise KekRefused(
                str(path),
                f"its permissions are {mode:04o}, so others on this machine may read it",
                f"If it was never exposed, run `chmod 0400 {path}`; else make a new key and re-wrap the keyrings.",
            )
        if len(kek) != KEY_BYTES:
            raise KekRefused(str(path), f"it does not hold {KEY_BYTES} bytes", "Restore it from the escrowed copy.")
        super().__init__(kek, str(path))

    @classmethod
    def create(cls, path: Path, home: Path | None = None) -> FileProvider:
        """Make the key file (0400) and its folder (0700). Raises KekRefused, also where one is there already."""
        _refuse_inside(path, home)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            write_durably(path, os.urandom(KEY_BYTES), mode=0o400)
        except FileExistsError:
            raise KekRefused(
                str(path), "there is one already, and what it wrapped would be lost", "Use it, or move it away."
            ) from None
        return cls(path, home)


class EnvironmentProvider(_LocalProvider):
    """The KEK from ACTUALS_KEK: 32 bytes in base64, as a secret manager hands them to a container."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        """Raises KekRefused if the text is not 32 bytes in base64; the text is not shown."""
        try:
            kek = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            kek = b""
        if len(kek) != KEY_BYTES:
            advice = "Make one with `openssl rand -base64 32`."
            raise KekRefused("ACTUALS_KEK", f"it is not {KEY_BYTES} bytes in base64", advice)
        super().__init__(kek, "ACTUALS_KEK")


class KekMissing(ConfigurationError):
    """The key that encrypts the keys is in none of its places."""

    def __init__(self, looked_in: tuple[str, ...]) -> None:
        super().__init__(looked_in)
        self.looked_in = looked_in

    def __str__(self) -> str:
        places = "\n  ".join(self.looked_in)
        return (
            f"The key that encrypts this home's keys (KEK) was not found. Looked in:\n  {places}\n"
            "Put the escrowed copy back in one of these places; nothing can be opened without it."
        )


class KekRefused(ConfigurationError):
    """A KEK is there but cannot be used as it is."""

    def __init__(self, where: str, found: str, advice: str) -> None:
        super().__init__(where, found, advice)
        self.where, self.found, self.advice = where, found, advice

    def __str__(self) -> str:
        return f"The key that encrypts keys (KEK) in {self.where} is refused: {self.found}. {self.advice}"


class WrappedKeyRefused(ActualsError):
    """A wrapped key does not open under this KEK and context."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where

    def __str__(self) -> str:
        return (
            f"A wrapped key does not open with the KEK in {self.where}: it was wrapped by another KEK, or for another "
            "tenant, environment or purpose, or it was altered. Check that home and KEK belong together."
        )


def _refuse_inside(path: Path, home: Path | None) -> None:
    """A key beside what it opens protects nothing: a copy of the home would carry both. Follows links."""
    if home is None:
        return
    if path.absolute().is_relative_to(home.absolute()) or path.resolve().is_relative_to(home.resolve()):
        raise KekRefused(
            str(path),
            f"it lies inside the home {home}, so a copy of the home would open itself",
            "Move it out, for example to ~/.config/actuals/keys/, and set ACTUALS_KEYS to that folder.",
        )
