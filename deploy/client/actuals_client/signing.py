"""Signed requests (RFC 9421), for keys that ask for them. Needs the extra `actuals-client[signed]`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any, Literal

COVERED = ("@method", "@target-uri")
"""What a signature covers besides the body, whose digest is always covered."""

TAG = "actuals-inbox"


@dataclass(frozen=True, slots=True)
class Signing:
    """How requests are signed: `key` is the shared secret of hmac-sha256, or an Ed25519 private key in PEM."""

    key_id: str
    algorithm: Literal["hmac-sha256", "ed25519"]
    key: bytes = field(repr=False)

    def sign(self, request: Any, body: bytes) -> None:
        """Add Content-Digest, Signature-Input and Signature to an httpx.Request; each with its own nonce."""
        from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms  # noqa: PLC0415

        chosen = {"hmac-sha256": algorithms.HMAC_SHA256, "ed25519": algorithms.ED25519}[self.algorithm]
        signer = HTTPMessageSigner(
            signature_algorithm=chosen,
            key_resolver=MappingKeyResolver(public_keys={}, private_keys={self.key_id: self.key}),
        )
        signer.sign(
            request,
            key_id=self.key_id,
            nonce=secrets.token_urlsafe(18),
            label="sig1",
            tag=TAG,
            covered_component_ids=COVERED,
            body=body,
        )
