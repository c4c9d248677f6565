"""Signed requests (RFC 9421), for API keys that ask for them.

A signature covers the method, the target, the body's digest (RFC 9530), when it was made and a nonce. It holds for five
minutes, and once: the nonce is kept until then in the tenant's database, so that a request that was seen elsewhere can
not be sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from uuid import UUID

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver, InvalidSignature, algorithms
from http_message_signatures.exceptions import HTTPMessageSignaturesException
from sqlalchemy.dialects.postgresql import insert
from starlette.requests import Request

from actuals_pipelines.database.tables import inbox_nonce
from actuals_pipelines.sources.inbox.problems import Refused

ALGORITHMS = {"hmac-sha256": algorithms.HMAC_SHA256, "ed25519": algorithms.ED25519}
TAG = "actuals-inbox"
MAX_AGE = timedelta(minutes=5)
_COVERED = ("@method", "@target-uri")


@dataclass(frozen=True, slots=True)
class _Message:
    """The request as the library reads it."""

    method: str
    url: str
    headers: Mapping[str, str]


class _TheKey(HTTPSignatureKeyResolver):
    """Knows the one key whose API key came with the request."""

    def __init__(self, key_id: str, key: bytes | Ed25519PublicKey) -> None:
        self._key_id, self._key = key_id, key

    def resolve_public_key(self, key_id: str) -> bytes | Ed25519PublicKey:
        """The key, if the signature names it."""
        if key_id != self._key_id:
            raise InvalidSignature("another key")
        return self._key

    def resolve_private_key(self, key_id: str) -> bytes:
        """None: here is only verified."""
        raise InvalidSignature(f"no private key: {len(key_id)}")


def verified_nonce(request: Request, body: bytes, key_id: str, algorithm: str, key: bytes) -> str:
    """Verify a request's signature over its body as it came, and return the nonce, which must not have been used.

    Raises:
        Refused: signature; says nothing of why, because what was signed is the sender's to look at.
    """
    public_key = Ed25519PublicKey.from_public_bytes(key) if algorithm == "ed25519" else key
    verifier = HTTPMessageVerifier(signature_algorithm=ALGORITHMS[algorithm], key_resolver=_TheKey(key_id, public_key))
    message = _Message(request.method, _target(request), request.headers)
    try:
        [result] = verifier.verify(
            message, max_age=MAX_AGE, expect_tag=TAG, require_components=(*_COVERED, "content-digest"), body=body
        )
    except (HTTPMessageSignaturesException, ValueError, TypeError, KeyError):  # of what a caller wrote into a header
        raise Refused("signature") from None
    if not result.nonce or len(result.nonce) > 128:
        raise Refused("signature", "The signature has no nonce, or one that is too long.")
    return result.nonce


def use_nonce(connection: sa.Connection, mac_key: bytes, key_id: str, nonce: str) -> None:
    """Note a nonce as used. Raises Refused: it was."""
    mac = blake2b(nonce.encode(), key=mac_key, person=b"inbox nonce", digest_size=16).digest()
    # Twice the age: a signature may be dated ahead by the tolerance for clocks.
    row = {"key_id": key_id, "nonce_mac": UUID(bytes=mac), "expires_at": datetime.now(UTC) + 2 * MAX_AGE}
    noted = insert(inbox_nonce).values(row).on_conflict_do_nothing().returning(inbox_nonce.c.key_id)
    if connection.execute(noted).first() is None:
        raise Refused("signature", "This signature was used before.")


def forget_old_nonces(connection: sa.Connection) -> None:
    """Delete nonces whose signatures are too old by now."""
    connection.execute(sa.delete(inbox_nonce).where(inbox_nonce.c.expires_at < sa.func.now()))


def _target(request: Request) -> str:
    """The target URI as the caller wrote it: a normalised one would not be what was signed."""
    path, query = request.scope["raw_path"].decode("latin-1"), request.scope["query_string"].decode("latin-1")
    return f"https://{request.headers.get('host', '')}{path}" + (f"?{query}" if query else "")
