"""Containers: one file sealed to a tenant's public key, written and read as a stream. FORMAT.md is the definition.

The writer needs no seeking and no secret, so a door seals bytes while they arrive. The reader hands out a chunk only
when its tag was checked, and fails at the end if the end is not the true one.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, NoReturn, Self, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from actuals_pipelines.encryption import hpke
from actuals_pipelines.encryption.aad import NIL, ContainerAad, Kind
from actuals_pipelines.encryption.container_errors import (
    ContainerCut,
    ContainerDamaged,
    ContainerForAnotherKey,
    ContainerLonger,
    ContainerMisplaced,
    ContainerReplaced,
    ContainerTooLong,
    NotAContainer,
)
from actuals_pipelines.encryption.secrecy import KEY_BYTES, Secret
from actuals_pipelines.errors import ActualsError

__all__ = ["NIL", "ContainerAad", "ContainerDigest", "ContainerWriter", "Kind", "read_container"]

MAGIC = b"\x89ACT\r\n\x1a\n"
VERSION = 1
CHUNK_BYTES = 262_144
CHUNKS_LIMIT = 1 << 24  # 4 TiB
LAST = 1 << 31  # flag in a chunk's length
HEADER_BYTES = len(MAGIC) + 2 + hpke.KEY_ID_BYTES
_LENGTH_BYTES, _TAG_BYTES = 4, 16

Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class ContainerDigest:
    """What a catalogue row says of a container."""

    size_bytes: int  # of the plaintext
    sha256: bytes  # of the container
    sealed_key: bytes  # its data key, sealed to the public key; nowhere else, so that the row's end is the file's


@dataclass(frozen=True, slots=True, repr=False)
class DataKey(Secret):
    """A container's key, in clear and as the catalogue keeps it. Given to a writer by tests alone."""

    key: bytes
    sealed: bytes


class ContainerWriter(Secret):
    """Seals a stream into an open binary file. End it with `finish`; anything else leaves no valid container.

    The file need not seek, is neither synced nor closed, and sees ciphertext only. The last chunk stays in memory
    until more follows, so no chunk is ever sealed twice. Memory: two chunks. Not for several threads at once.
    """

    __slots__ = ("_aad", "_aead", "_file", "_number", "_record", "_sealed_key", "_sha256", "_size", "_tail")

    def __init__(self, file: BinaryIO, public_key: bytes, aad: ContainerAad, *, data_key: DataKey | None = None):
        """Write the header. `data_key` is for test vectors: a key used twice would repeat nonces."""
        self._file, self._aad = file, aad
        header = _header(hpke.key_id_of(public_key))
        if data_key is None:
            key = os.urandom(KEY_BYTES)
            data_key = DataKey(key, hpke.seal(public_key, key, _info(header, aad)))
        self._aead: AESGCM | None = AESGCM(data_key.key)
        self._number = self._size = 0
        self._tail = bytearray()
        self._record = bytearray(_LENGTH_BYTES + CHUNK_BYTES + _TAG_BYTES)
        self._sha256 = hashlib.sha256()
        self._sealed_key = data_key.sealed
        self._put(memoryview(header))

    @property
    def size_bytes(self) -> int:
        """How much plaintext was written so far."""
        return self._size

    def write(self, data: Bytes) -> int:
        """Seal the next bytes; return their count. Raises ContainerTooLong; what the file raises ends the writer."""
        self._refuse_ended()
        rest = memoryview(data).cast("B")
        count = len(rest)
        while rest:
            if len(self._tail) == CHUNK_BYTES:
                self._seal(self._tail, last=False)
                self._tail.clear()
            if not self._tail and len(rest) > CHUNK_BYTES:
                self._seal(rest[:CHUNK_BYTES], last=False)  # straight from the caller's memory
                rest = rest[CHUNK_BYTES:]
            else:
                room = CHUNK_BYTES - len(self._tail)
                self._tail += rest[:room]
                rest = rest[room:]
        self._size += count
        return count

    def finish(self) -> ContainerDigest:
        """Seal the last chunk and forget the key. The caller then syncs, renames and names it in the catalogue.

        A container whose row is never written cannot be opened by anybody: it is garbage.
        """
        self._refuse_ended()
        self._seal(self._tail, last=True)
        self.abort()
        return ContainerDigest(self._size, self._sha256.digest(), self._sealed_key)

    def abort(self) -> None:
        """Forget key and tail; what was written stays, cannot be read and should be deleted. Harmless when ended."""
        self._aead = None
        self._tail.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()  # after `finish` there is nothing left to abort

    def _refuse_ended(self) -> None:
        if self._aead is None:
            raise ValueError("this container was finished or aborted; begin a new one")

    def _seal(self, plaintext: Bytes, *, last: bool) -> None:
        number, aead = self._number, self._aead
        assert aead is not None  # noqa: S101 - the callers have looked
        if number >= CHUNKS_LIMIT:
            self.abort()
            raise ContainerTooLong(self._aad.file, CHUNKS_LIMIT * CHUNK_BYTES)
        self._number += 1  # first of all: whatever fails below, this number is not used again
        length = _length(len(plaintext), last)
        end = _LENGTH_BYTES + len(plaintext) + _TAG_BYTES
        record = memoryview(self._record)[:end]
        record[:_LENGTH_BYTES] = length
        aead.encrypt_into(_nonce(number, last), plaintext, self._aad.to_bytes() + length, record[_LENGTH_BYTES:])
        self._put(record)

    def _put(self, data: memoryview) -> None:
        self._sha256.update(data)
        try:
            while data:
                written = cast("int | None", self._file.write(data))  # a raw file may take only a part
                data = data[written or 0 :]
        except BaseException:
            self.abort()
            raise


def read_container(
    file: BinaryIO, keys: hpke.Unsealer, sealed_key: bytes, aad: ContainerAad, *, sha256: bytes | None = None
) -> BinaryIO:
    """Open a container for reading as a stream of its plaintext; it does not seek. Closing it closes `file`.

    Args:
        keys: TenantKeys, or a bare hpke.PrivateKey.
        sealed_key: the data key as the catalogue row keeps it (`ContainerDigest`).
        sha256: the catalogue's digest. Give it for whatever a door wrote: sealing proves no sender. Checked before the
            last chunk is handed out.

    Raises:
        At once NotAContainer, ContainerForAnotherKey, ContainerMisplaced; while reading ContainerDamaged, ContainerCut,
        ContainerLonger, ContainerReplaced. A reader that fails early may have handed out a true beginning: whoever
        acts on it must be able to take it back.
    """
    return cast(BinaryIO, io.BufferedReader(_Plaintext(file, keys, sealed_key, aad, sha256), CHUNK_BYTES))


class _Plaintext(io.RawIOBase):
    """The chunks of one container, opened one by one."""

    def __init__(
        self, file: BinaryIO, keys: hpke.Unsealer, sealed_key: bytes, aad: ContainerAad, sha256: bytes | None
    ) -> None:
        super().__init__()
        self._file, self._aad, self._expected = file, aad, sha256
        self._aad_bytes = aad.to_bytes()
        self._sha256 = hashlib.sha256()
        self._aead = AESGCM(self._data_key(keys, sealed_key))
        self._number = 0
        self._is_complete = False
        self._failure: ActualsError | None = None
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """It reads, and does nothing else."""
        return True

    def readinto(self, target: Bytes) -> int:  # type: ignore[override]  # typeshed: any writable buffer
        """Fill from the current chunk, opening the next one when it is used up; 0 at the true end only."""
        if not self._ready and not self._is_complete:
            self._ready = memoryview(self._next_chunk())
        into = memoryview(target).cast("B")
        count = min(len(into), len(self._ready))
        into[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def readall(self) -> bytes:
        """Read what is left, chunk by chunk: the inherited one asks for 8 kB at a time."""
        parts = [bytes(self._ready)]
        self._ready = memoryview(b"")
        while not self._is_complete:
            parts.append(self._next_chunk())
        return b"".join(parts)

    def close(self) -> None:
        """Close the container's file too."""
        if not self.closed:
            self._file.close()
        super().close()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("an open container cannot be pickled")

    def _data_key(self, keys: hpke.Unsealer, sealed_key: bytes) -> bytes:
        header = self._take(HEADER_BYTES)
        name = str(self._aad.file)
        if not MAGIC.startswith(header[: len(MAGIC)]):
            raise NotAContainer(name, "it does not begin as one")
        if len(header) < HEADER_BYTES:
            raise ContainerCut(self._aad.file, 0)
        version, suite = header[len(MAGIC)], header[len(MAGIC) + 1]
        if (version, suite) != (VERSION, hpke.SUITE_1):
            raise NotAContainer(
                name, f"its version is {version} and its suite {suite}, and only 1 and 1 are known here"
            )
        key_id = header[-hpke.KEY_ID_BYTES :]
        if key_id != keys.key_id:
            raise ContainerForAnotherKey(self._aad.file, key_id.hex(), keys.key_id.hex())
        try:
            return keys.open_sealed(sealed_key, _info(header, self._aad), "container's data key")
        except hpke.SealedRefused:
            raise ContainerMisplaced(self._aad.file) from None

    def _next_chunk(self) -> bytes:
        """Return the next chunk's plaintext. A failure stays: reading on must never look like an end."""
        if self._failure is not None:
            raise self._failure
        try:
            chunk = self._open_chunk()
        except ActualsError as failure:
            self._failure = failure
            raise
        self._number += 1
        return chunk

    def _open_chunk(self) -> bytes:
        number, file = self._number, self._aad.file
        length = self._take(_LENGTH_BYTES)
        if len(length) < _LENGTH_BYTES:
            raise ContainerCut(file, number)
        stated = int.from_bytes(length, "big")
        size, last = stated & ~LAST, bool(stated & LAST)
        is_possible = (0 < size <= CHUNK_BYTES or (size == 0 and number == 0)) if last else size == CHUNK_BYTES
        if not is_possible or number >= CHUNKS_LIMIT:
            raise ContainerDamaged(file, number)
        sealed = self._take(size + _TAG_BYTES)
        if len(sealed) < size + _TAG_BYTES:
            raise ContainerCut(file, number)
        try:
            chunk = self._aead.decrypt(_nonce(number, last), sealed, self._aad_bytes + length)
        except InvalidTag:
            raise ContainerDamaged(file, number) from None
        if last:
            if self._file.read(1):
                raise ContainerLonger(file)
            if self._expected is not None and self._sha256.digest() != self._expected:
                raise ContainerReplaced(file)
            self._is_complete = True
        return chunk

    def _take(self, size: int) -> bytes:
        """Read exactly so many bytes, less only at the end: pipes and raw files give parts."""
        data = self._file.read(size)
        while 0 < len(data) < size:
            more = self._file.read(size - len(data))
            if not more:
                break
            data += more
        if self._expected is not None:
            self._sha256.update(data)
        return data


def _header(key_id: bytes) -> bytes:
    return MAGIC + bytes([VERSION, hpke.SUITE_1]) + key_id


def _info(header: bytes, aad: ContainerAad) -> bytes:
    return b"actuals container 1" + header + aad.to_bytes()


def _length(size: int, last: bool) -> bytes:
    return (size | (LAST if last else 0)).to_bytes(_LENGTH_BYTES, "big")


def _nonce(number: int, last: bool) -> bytes:
    return int(last).to_bytes(4, "big") + number.to_bytes(8, "big")
