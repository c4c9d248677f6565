"""HPKE (RFC 9180), base mode: sealing to a public key what only the private half opens.

Suite 1: DHKEM(X25519, HKDF-SHA-256), HKDF-SHA-256, AES-256-GCM, single shot; `sealed` is the encapsulated key (32)
followed by ciphertext and tag. Suite bytes leave room for X25519 with ML-KEM-768; nothing else uses another number.
HPKE does not name the sender: whoever has the public key can seal. What is trusted is what a catalogue row names.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from actuals_pipelines.encryption.secrecy import Secret
from actuals_pipelines.errors import ActualsError

SUITE_1 = 1
KEY_ID_BYTES = 16
OVERHEAD_BYTES = 32 + 16  # encapsulated key and tag
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class SealedRefused(ActualsError):
    """What was sealed to a public key does not open here."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return (
            f"The {self.what} does not open with this tenant's key: it was sealed for another tenant, environment or "
            "place, or it was altered. Nothing of it was used; compare the row that names it with its origin."
        )


class Unsealer(Protocol):
    """Who can open what was sealed to a public key: a tenant's opened keyring, or a bare private key."""

    @property
    def key_id(self) -> bytes:
        """The public half's id."""

    def open_sealed(self, sealed: bytes, info: bytes, what: str) -> bytes:
        """Open; `info` as given when sealing; `what` names the thing in the error. Raises SealedRefused."""


def key_id_of(public_key: bytes) -> bytes:
    """Return the 16 bytes that name a public key: the head of its SHA-256."""
    return hashlib.sha256(public_key).digest()[:KEY_ID_BYTES]


def seal(public_key: bytes, plaintext: bytes | bytearray, info: bytes) -> bytes:
    """Seal to a raw X25519 public key (32 bytes); `info` is bound, not carried. Adds 48 bytes."""
    return _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(public_key), info)


class PrivateKey(Secret):
    """A raw X25519 private key (32 bytes) and what it opens."""

    __slots__ = ("_key", "key_id", "public_key")

    def __init__(self, raw: bytes) -> None:
        self._key = X25519PrivateKey.from_private_bytes(raw)
        self.public_key: bytes = self._key.public_key().public_bytes_raw()
        self.key_id: bytes = key_id_of(self.public_key)

    def open_sealed(self, sealed: bytes, info: bytes, what: str) -> bytes:
        """See Unsealer."""
        try:
            return _SUITE.decrypt(sealed, self._key, info)
        except (InvalidTag, ValueError):
            raise SealedRefused(what) from None


def new_private_key() -> bytes:
    """Return a fresh raw X25519 private key."""
    return X25519PrivateKey.generate().private_bytes_raw()
