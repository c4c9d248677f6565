"""Sealing at the inbox's door: one data key per tenant and minute, sealed to the public key; events under it.

HPKE costs some 100 us, AES-GCM under a shared data key 2.4. So a door's memory opens what came within the current
minute, and nothing before. The key's row (`inbox_data_key`) goes to the database before, or with, its first event.

    sealed key   = HPKE(data key, info = "actuals minute key 1" | tenant (16) | environment (1) | key id (16))
    sealed event = nonce (12, random) | AES-256-GCM ciphertext and tag
    AAD          = "actuals inbox 1" | tenant (16) | environment (1) | key id (16) | source (16) | row id (16)

Random nonces, because a door may fork and a counter would then repeat. Bound: 2^32 events under one key, far above what
a door takes in a minute; `seal` refuses more all the same.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from uuid import UUID, uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.encryption import hpke
from actuals_pipelines.encryption.environments import ref_bytes
from actuals_pipelines.encryption.secrecy import KEY_BYTES, Secret
from actuals_pipelines.errors import ActualsError

EVENTS_LIMIT = 1 << 32
_NONCE_BYTES = 12


class EventRefused(ActualsError):
    """An event from the inbox does not open at its place."""

    def __init__(self, row_id: UUID) -> None:
        super().__init__(row_id)
        self.row_id = row_id

    def __str__(self) -> str:
        return (
            f"Inbox event {self.row_id} does not open: it was sealed for another row, source or minute key, or it was "
            "altered. It was not used; ask the sender for it again, and look who may write to the inbox."
        )


class TooManyEvents(ActualsError):
    """One minute key has sealed all that it may."""

    def __str__(self) -> str:
        return f"A minute key has sealed {EVENTS_LIMIT} events and seals no more. Take the next minute's key."


class MinuteSealer(Secret):
    """Holds the current minute's key for one tenant, and forgets the one before."""

    __slots__ = ("_current", "_minute", "_public_key", "_ref")

    def __init__(self, public_key: bytes, ref: TenantRef) -> None:
        self._public_key, self._ref = public_key, ref
        self._current: DoorKey | None = None
        self._minute: datetime | None = None

    def current(self, now: datetime) -> DoorKey:
        """Return the key for this minute, made when first asked for. Ask once per batch and let go of the last one.

        A batch keeps its DoorKey until its rows are committed, because each row names the key that sealed it.
        """
        minute = now.astimezone(UTC).replace(second=0, microsecond=0)
        if self._current is None or minute != self._minute:
            self._current, self._minute = DoorKey(self._public_key, self._ref, now), minute
        return self._current

    def forget(self) -> None:
        """Let go of the key, for a door that has been quiet: the next event gets a new one."""
        self._current = self._minute = None


class DoorKey(Secret):
    """One random data key that seals events and cannot open them: `key_id`, `sealed` and `created` are its row."""

    __slots__ = ("_aead", "_count", "_prefix", "created", "key_id", "sealed")

    def __init__(self, public_key: bytes, ref: TenantRef, created: datetime) -> None:
        self.key_id: UUID = uuid4()
        self.created = created
        key = os.urandom(KEY_BYTES)
        self.sealed: bytes = hpke.seal(public_key, key, _key_info(ref, self.key_id))
        self._aead = AESGCM(key)
        self._prefix = _aad_prefix(ref, self.key_id)
        self._count = 0

    def seal(self, row_id: UUID, source_id: UUID, body: bytes) -> bytes:
        """Seal one event for its row and source; adds 28 bytes. Raises TooManyEvents."""
        if self._count >= EVENTS_LIMIT:
            raise TooManyEvents
        self._count += 1
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, body, self._prefix + source_id.bytes + row_id.bytes)


class MinuteKey(Secret):
    """An opened minute key, in the tenant's own process."""

    __slots__ = ("_aead", "_prefix", "key_id")

    def __init__(self, keys: hpke.Unsealer, ref: TenantRef, key_id: UUID, sealed: bytes) -> None:
        """Open a row of `inbox_data_key`; called through `TenantKeys.open_minute_key`. Raises SealedRefused."""
        self.key_id = key_id
        self._aead = AESGCM(keys.open_sealed(sealed, _key_info(ref, key_id), f"inbox minute key {key_id}"))
        self._prefix = _aad_prefix(ref, key_id)

    def open(self, row_id: UUID, source_id: UUID, sealed: bytes) -> bytes:
        """Open one event. Raises EventRefused."""
        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._aead.decrypt(nonce, ciphertext, self._prefix + source_id.bytes + row_id.bytes)
        except (InvalidTag, ValueError):  # ValueError: too short for a nonce
            raise EventRefused(row_id) from None


def _key_info(ref: TenantRef, key_id: UUID) -> bytes:
    return b"actuals minute key 1" + ref_bytes(ref) + key_id.bytes


def _aad_prefix(ref: TenantRef, key_id: UUID) -> bytes:
    return b"actuals inbox 1" + ref_bytes(ref) + key_id.bytes
