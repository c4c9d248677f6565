"""Keyed digests of ids: what matching groups by, and what people see instead of a person or an account.

Ids: HMAC-SHA-256 (RFC 2104) truncated to 128 bits. Rows and contents, which are long and never the same: keyed BLAKE2b
(RFC 7693) of 128 bits, which takes two thirds of the time. For each use a key of its own is derived from the tenant's
pepper with HKDF, so that the same text never gives the same digest in two uses, schemes or tenants. The message is the
value's UTF-8 bytes and nothing else; cleaning is the caller's. Where values repeat, only distinct ones are hashed.

Measured: 1.0 and 0.7 CPU-s per million different values, of which Python's calls are half. DuckDB's sha256, nested
twice, takes 1.6, and there the key would have to enter an engine that logs and profiles.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from actuals_pipelines.encryption.secrecy import KEY_BYTES, Secret, derived_key

DIGEST_BYTES = 16
_ALPHABET = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz234567", dtype=np.uint8)  # base32 (RFC 4648), lower case
_TOKEN_LETTERS = 26  # ceil(128 / 5)
_TOKEN_PREFIX = b"tok_"
_SLICE = 65_536  # values hashed or turned into letters at a time: bounds the working memory to some 20 MB
_SAMPLE = 4_096  # values looked at, from all over a column, to see whether they repeat
_RUN = 64  # of them next to one another


class Pseudonyms(Secret):
    """One tenant's keyed digests. Stable as long as the pepper is, so the pepper is never rotated with other keys."""

    __slots__ = ("_ids", "_rows")

    def __init__(self, pepper: bytes) -> None:
        if len(pepper) != KEY_BYTES:
            raise ValueError(f"a pepper has {KEY_BYTES} bytes")
        # The cache spares one HKDF per scalar call; it lives in the instance and goes with it.
        self._ids = lru_cache(maxsize=256)(lambda use: _hmac(derived_key(pepper, use)))
        self._rows = lru_cache(maxsize=256)(lambda use: _blake2b(derived_key(pepper, use)))

    @classmethod
    def random(cls) -> Pseudonyms:
        """A throw-away pepper, for matching plain files: keys compare within this object and nowhere else."""
        return cls(os.urandom(KEY_BYTES))

    def match_keys(self, values: pa.Array | pa.ChunkedArray, scheme: str, version: int) -> pa.ExtensionArray:
        """Return one key per id of an id scheme: (pa.uuid()), same length; null and "" give null (no id, no match).

        Args:
            values: string or large_string; already found and cleaned by the scheme.
            scheme, version: both sides must use the same; another version gives other keys.
        """
        return _digest_column(self._ids(_match_use(scheme, version)), values, empty_is_null=True)

    def match_key(self, value: str | None, scheme: str, version: int) -> UUID | None:
        """Return the key of one id, equal to its `match_keys`."""
        return UUID(bytes=self._ids(_match_use(scheme, version)).digest(value.encode())) if value else None

    def tokens(self, values: pa.Array | pa.ChunkedArray) -> pa.StringArray:
        """Return "tok_" and 26 letters per value, the same wherever the tenant meets it; null and "" give null."""
        hashed = _hashed(values, empty_is_null=True)
        digests = _digests(self._ids(_TOKEN_USE), hashed.values)
        tokens = pa.Array.from_buffers(
            pa.binary(len(_TOKEN_PREFIX) + _TOKEN_LETTERS), len(digests), [None, pa.py_buffer(_letters(digests))]
        )
        tokens = tokens.cast(pa.binary()).cast(pa.string())
        return hashed.spread(tokens)

    def token(self, value: str) -> str:
        """Return the token of one value (not empty), equal to its `tokens`: how a query for it is asked."""
        digest = np.frombuffer(self._ids(_TOKEN_USE).digest(value.encode()), dtype=np.uint8)
        return (_TOKEN_PREFIX + _letters(digest.reshape(1, -1)).tobytes()[len(_TOKEN_PREFIX) :]).decode()

    def digests(self, domain: str, values: pa.Array | pa.ChunkedArray) -> pa.ExtensionArray:
        """Return a keyed digest per value: (pa.uuid()), for row ids and contents; null stays null, "" has a digest.

        Args:
            domain: what is digested, in our words ("row_uid"): digests of different domains never compare.
            values: string, large_string, binary or large_binary.
        """
        return _digest_column(self._rows(_digest_use(domain)), values, empty_is_null=False)

    def digest(self, domain: str, value: bytes) -> UUID:
        """Return the digest of one value, equal to its `digests`."""
        return UUID(bytes=self._rows(_digest_use(domain)).digest(value))


_TOKEN_USE = b"actuals pseudonyms token 1"


def _match_use(scheme: str, version: int) -> bytes:
    return b"actuals pseudonyms match 1" + version.to_bytes(4, "big") + scheme.encode()


def _digest_use(domain: str) -> bytes:
    return b"actuals pseudonyms digest 1" + domain.encode()


@dataclass(frozen=True, slots=True)
class _Hasher:
    """A keyed hash under one key: bytes per value, the first 16 of each `width` are its digest."""

    digests: Callable[[list[bytes]], list[bytes]]
    width: int

    def digest(self, value: bytes) -> bytes:
        """One value's digest."""
        return self.digests([value])[0][:DIGEST_BYTES]


def _hmac(key: bytes) -> _Hasher:
    copy = HMAC(key, SHA256()).copy  # a copy of the keyed state spares its two pads: a third of the cost per value

    def digests(values: list[bytes]) -> list[bytes]:
        found = []
        for value in values:
            state = copy()
            state.update(value)
            found.append(state.finalize())
        return found

    return _Hasher(digests, 32)


def _blake2b(key: bytes) -> _Hasher:
    copy = hashlib.blake2b(key=key, digest_size=DIGEST_BYTES).copy

    def digests(values: list[bytes]) -> list[bytes]:
        found = []
        for value in values:
            state = copy()
            state.update(value)
            found.append(state.digest())
        return found

    return _Hasher(digests, DIGEST_BYTES)


@dataclass(frozen=True, slots=True)
class _Hashed:
    """What of a column is hashed: its values without nulls, and which of them each row has."""

    values: pa.Array  # large_binary
    rows: pa.Array | None  # null: the row has nothing to digest; None: the values are the rows

    def spread(self, digests: pa.Array) -> pa.Array:
        """Give each row its value's digest."""
        return digests if self.rows is None else digests.take(self.rows)


def _hashed(values: pa.Array | pa.ChunkedArray, *, empty_is_null: bool) -> _Hashed:
    values = values.cast(pa.large_binary())  # wide offsets: whole, a column may exceed 2 GB
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if empty_is_null:
        values = pc.if_else(pc.equal(pc.binary_length(values), 0), pa.scalar(None, values.type), values)
    if _repeats(values):
        encoded = values.dictionary_encode()
        return _Hashed(encoded.dictionary, encoded.indices)
    if not values.null_count:
        return _Hashed(values, None)
    places = pc.subtract(pc.cumulative_sum(values.is_valid().cast(pa.int64())), 1)
    return _Hashed(values.drop_null(), pc.if_else(values.is_valid(), places, None))


def _repeats(values: pa.Array) -> bool:
    """Whether a fifth can be spared: to find the distinct ones costs that much of hashing all.

    Seen in runs of neighbours, because a payment and its fee, which share their ids, follow upon one another.
    """
    starts = np.linspace(0, max(len(values) - _RUN, 0), _SAMPLE // _RUN, dtype=np.int64)
    runs = np.unique(np.minimum(starts[:, None] + np.arange(_RUN), max(len(values) - 1, 0)))
    sample = values.take(pa.array(runs[: len(values)])).drop_null()
    distinct: int = pc.count_distinct(sample).as_py()
    return 5 * distinct < 4 * len(sample)


def _digests(hasher: _Hasher, values: pa.Array) -> npt.NDArray[np.uint8]:
    """Return (n, 16) bytes: the truncated digest of each value."""
    out = np.empty((len(values), DIGEST_BYTES), dtype=np.uint8)
    for start in range(0, len(values), _SLICE):
        whole = b"".join(hasher.digests(values.slice(start, _SLICE).to_pylist()))
        out[start : start + _SLICE] = np.frombuffer(whole, dtype=np.uint8).reshape(-1, hasher.width)[:, :DIGEST_BYTES]
    return out


def _digest_column(hasher: _Hasher, values: pa.Array | pa.ChunkedArray, *, empty_is_null: bool) -> pa.ExtensionArray:
    hashed = _hashed(values, empty_is_null=empty_is_null)
    digests = _digests(hasher, hashed.values)
    stored = pa.Array.from_buffers(pa.binary(DIGEST_BYTES), len(digests), [None, pa.py_buffer(digests)])
    return pa.ExtensionArray.from_storage(pa.uuid(), hashed.spread(stored))


def _letters(digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return (n, 30) bytes: the prefix, then base32 of 128 bits without padding."""
    out = np.empty((len(digests), len(_TOKEN_PREFIX) + _TOKEN_LETTERS), dtype=np.uint8)
    out[:, : len(_TOKEN_PREFIX)] = np.frombuffer(_TOKEN_PREFIX, dtype=np.uint8)
    weights = np.array([16, 8, 4, 2, 1], dtype=np.uint8)
    for start in range(0, len(digests), _SLICE):
        bits = np.unpackbits(digests[start : start + _SLICE], axis=1)
        padded = np.pad(bits, ((0, 0), (0, _TOKEN_LETTERS * 5 - bits.shape[1])))
        letters = padded.reshape(-1, _TOKEN_LETTERS, 5) @ weights
        out[start : start + _SLICE, len(_TOKEN_PREFIX) :] = _ALPHABET[letters]
    return out
