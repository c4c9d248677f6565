"""API keys of the inbox: how one is made, read and recognised. The key itself is shown once and kept nowhere.

A key has 256 random bits, so a fast keyed hash is right: a slow one protects what can be guessed, and would hand every
caller a way to keep us busy (measured: 2 us against 20,000 us a request).
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MODES = ("test", "prod")
_FORM = re.compile(r"(test|prod)_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key at the moment it is made."""

    text: str  # `<mode>_<key id>_<43 characters>`: for the customer's eyes, once
    key_id: str
    hash: bytes  # what is stored


def new_key(mode: str, door_key: bytes) -> NewKey:
    """Make a key; its prefix tells its mode to people and to secret scanners."""
    if mode not in MODES:
        raise ValueError("an API key's mode is 'test' or 'prod'")
    key_id = secrets.token_hex(8)
    secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    text = f"{mode}_{key_id}_{secret}"
    return NewKey(text=text, key_id=key_id, hash=key_hash(text, door_key))


def key_hash(text: str, door_key: bytes) -> bytes:
    """What is stored of a key: an HMAC under a key of the door's own, which opens nothing."""
    pepper = hmac.digest(door_key, b"actuals inbox: api keys, version 1", "sha256")
    return hmac.digest(pepper, text.encode(), "sha256")


def seal_signing_secret(door_key: bytes, key_id: str, secret: bytes) -> bytes:
    """Seal the secret of a key's signed requests: nonce (12) | AES-256-GCM, bound to the key's id."""
    nonce = secrets.token_bytes(12)
    return nonce + _signing_aead(door_key).encrypt(nonce, secret, key_id.encode())


def open_signing_secret(door_key: bytes, key_id: str, sealed: bytes) -> bytes:
    """Open what `seal_signing_secret` sealed. Raises cryptography.exceptions.InvalidTag."""
    return _signing_aead(door_key).decrypt(sealed[:12], sealed[12:], key_id.encode())


def _signing_aead(door_key: bytes) -> AESGCM:
    return AESGCM(hmac.digest(door_key, b"actuals inbox: secrets of signed requests, version 1", "sha256"))


def mode_and_id(text: str) -> tuple[str, str] | None:
    """The mode and key id that a key's text states, or None if it has not the form of a key."""
    found = _FORM.fullmatch(text)
    return (found[1], found[2]) if found else None
