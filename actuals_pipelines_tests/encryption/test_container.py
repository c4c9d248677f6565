from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import os
import tempfile
import threading
import tracemalloc
from pathlib import Path
from typing import BinaryIO, cast
from uuid import uuid4

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actuals_pipelines.encryption import container as container_module
from actuals_pipelines.encryption.container import (
    CHUNK_BYTES,
    HEADER_BYTES,
    ContainerAad,
    ContainerWriter,
    Kind,
    read_container,
)
from actuals_pipelines.encryption.container_errors import (
    ContainerCut,
    ContainerDamaged,
    ContainerError,
    ContainerForAnotherKey,
    ContainerLonger,
    ContainerMisplaced,
    ContainerReplaced,
    ContainerTooLong,
    NotAContainer,
)
from actuals_pipelines.encryption.hpke import PrivateKey, new_private_key
from actuals_pipelines_tests.encryption.keys import ACME, ACME_TEST, BOLT, a_keyring, a_place

KEYS = PrivateKey(new_private_key())
PLACE = a_place()
RECORD = 4 + CHUNK_BYTES + 16


KEY_OF: dict[bytes, bytes] = {}
"""Container -> its sealed key, as a catalogue row keeps it."""


def sealed(plain: bytes, place: ContainerAad = PLACE) -> bytes:
    file = io.BytesIO()
    writer = ContainerWriter(file, KEYS.public_key, place)
    writer.write(plain)
    digest = writer.finish()
    assert digest.size_bytes == writer.size_bytes == len(plain)
    assert digest.sha256 == hashlib.sha256(file.getvalue()).digest()
    KEY_OF[file.getvalue()] = digest.sealed_key
    return file.getvalue()


def opened(container: bytes, place: ContainerAad = PLACE, sealed_key: bytes | None = None) -> bytes:
    """With the key of the container itself, else of the one that this is an altered copy of."""
    return read_container(io.BytesIO(container), KEYS, sealed_key or KEY_OF.get(container, THREE_KEY), place).read()


THREE = bytes(range(256)) * 2_560  # 655,360 bytes: two full chunks and half of one
THREE_SEALED = sealed(THREE)
THREE_KEY = KEY_OF[THREE_SEALED]


@settings(deadline=None, max_examples=40)
@given(
    size=st.integers(0, 3).flatmap(
        lambda chunks: st.integers(-2, 2).map(lambda off: max(0, chunks * CHUNK_BYTES + off))
    ),
    parts=st.lists(st.integers(1, 2 * CHUNK_BYTES), max_size=6),
    read_size=st.integers(1_000, 2 * CHUNK_BYTES),
)
@example(size=0, parts=[], read_size=1)
@example(size=2 * CHUNK_BYTES, parts=[CHUNK_BYTES, CHUNK_BYTES], read_size=CHUNK_BYTES)
def test_any_size_comes_back_however_it_is_cut(size: int, parts: list[int], read_size: int) -> None:
    plain = os.urandom(size)
    file = io.BytesIO()
    writer = ContainerWriter(file, KEYS.public_key, PLACE)
    rest = memoryview(plain)
    for part in parts:
        writer.write(rest[:part])
        rest = rest[part:]
    writer.write(rest)
    digest = writer.finish()

    file.seek(0)
    reader = read_container(file, KEYS, digest.sealed_key, PLACE)
    back = b"".join(iter(lambda: reader.read(read_size), b""))

    assert back == plain
    assert len(sealed(plain)) == 46 + size + 20 * (max(1, -(-size // CHUNK_BYTES)) - 1)


def test_the_same_file_is_never_sealed_to_the_same_bytes() -> None:
    assert sealed(b"same") != sealed(b"same")


def test_it_streams_through_a_pipe() -> None:
    """Neither end seeks, and a pipe takes and gives parts."""
    reading, writing = os.pipe()

    keys = []

    def write() -> None:
        with open(writing, "wb", buffering=0) as pipe:  # raw: takes only what fits
            writer = ContainerWriter(cast(BinaryIO, pipe), KEYS.public_key, PLACE)
            writer.write(THREE)
            keys.append(writer.finish().sealed_key)

    thread = threading.Thread(target=write)
    thread.start()
    with open(reading, "rb", buffering=0) as pipe:
        arrived = b"".join(iter(lambda: pipe.read(1 << 16), b""))
    thread.join(timeout=10)
    again, writing = os.pipe()
    with open(writing, "wb") as pipe, open(again, "rb", buffering=0) as half:
        feeding = threading.Thread(target=lambda: (pipe.write(arrived), pipe.close()))
        feeding.start()
        assert read_container(cast(BinaryIO, half), KEYS, keys[0], PLACE).read() == THREE
        feeding.join(timeout=10)


def test_every_altered_header_byte_is_refused() -> None:
    for at in range(HEADER_BYTES + 4):
        for flip in (0x01, 0x80):
            altered = bytearray(THREE_SEALED)
            altered[at] ^= flip
            with pytest.raises(ContainerError):
                opened(bytes(altered))


@settings(deadline=None, max_examples=60)
@given(at=st.integers(HEADER_BYTES, len(THREE_SEALED) - 1), bit=st.integers(0, 7))
def test_every_flipped_bit_is_refused(at: int, bit: int) -> None:
    altered = bytearray(THREE_SEALED)
    altered[at] ^= 1 << bit

    with pytest.raises(ContainerError):
        opened(bytes(altered))


@pytest.mark.parametrize("chunk", [0, 1, 2])
@pytest.mark.parametrize("into", [0, 3, 4, 100], ids=["between chunks", "in the length", "after it", "in the chunk"])
def test_a_container_cut_at_any_chunk_is_known_as_cut(chunk: int, into: int) -> None:
    with pytest.raises(ContainerCut, match=f"chunk {chunk}"):
        opened(THREE_SEALED[: HEADER_BYTES + chunk * RECORD + into])


@pytest.mark.parametrize("size", [0, 7, 8, HEADER_BYTES - 1])
def test_a_container_cut_in_its_header_is_known_as_cut(size: int) -> None:
    with pytest.raises(ContainerCut):
        opened(THREE_SEALED[:size])


def test_a_beginning_made_to_look_whole_is_refused() -> None:
    """The flag of the last chunk is bound, so setting it on an earlier one does not help who cuts."""
    at = HEADER_BYTES + RECORD
    forged = bytearray(THREE_SEALED[: at + RECORD])
    forged[at] |= 0x80

    with pytest.raises(ContainerDamaged, match="chunk 1"):
        opened(bytes(forged))


def test_chunks_in_another_order_or_twice_are_refused() -> None:
    header, first, second, last = (
        THREE_SEALED[:HEADER_BYTES],
        THREE_SEALED[HEADER_BYTES : HEADER_BYTES + RECORD],
        THREE_SEALED[HEADER_BYTES + RECORD : HEADER_BYTES + 2 * RECORD],
        THREE_SEALED[HEADER_BYTES + 2 * RECORD :],
    )

    for forged in (
        header + second + first + last,
        header + first + first + second + last,
        header + first + last,
        header + last,
        header + first + second + second + last,
    ):
        with pytest.raises(ContainerDamaged):
            opened(forged)


def test_bytes_after_the_end_are_refused() -> None:
    for plain in (b"", b"short", bytes(CHUNK_BYTES)):
        with pytest.raises(ContainerLonger):
            whole = sealed(plain)
            opened(whole + b"\0", sealed_key=KEY_OF[whole])
    with pytest.raises(ContainerLonger):
        opened(THREE_SEALED + THREE_SEALED)


@pytest.mark.parametrize(
    "place",
    [
        dataclasses.replace(PLACE, ref=BOLT),
        dataclasses.replace(PLACE, ref=ACME_TEST),
        dataclasses.replace(PLACE, kind=Kind.ARRIVAL),
        dataclasses.replace(PLACE, source=uuid4()),
        dataclasses.replace(PLACE, generation=uuid4()),
        dataclasses.replace(PLACE, file=uuid4()),
    ],
    ids=["tenant", "environment", "kind", "source", "generation", "file"],
)
def test_a_container_opens_as_itself_only(place: ContainerAad) -> None:
    with pytest.raises(ContainerMisplaced, match=str(place.file)):
        opened(THREE_SEALED, place)


def test_one_tenants_keyring_does_not_open_anothers_file(tmp_path: Path) -> None:
    acme, bolt = a_keyring(tmp_path, ACME), a_keyring(tmp_path, BOLT)
    file = io.BytesIO()
    writer = ContainerWriter(file, acme.public_key, PLACE)
    writer.write(b"acme's")
    key = writer.finish().sealed_key

    with pytest.raises(ContainerForAnotherKey, match=bolt.key_id.hex()):
        read_container(io.BytesIO(file.getvalue()), bolt, key, PLACE)
    assert read_container(io.BytesIO(file.getvalue()), acme, key, PLACE).read() == b"acme's"


@pytest.mark.parametrize("text", [b"PAR1" + bytes(200), bytes(8), b"\x89PNG\r\n\x1a\n" + bytes(200)])
def test_another_file_is_no_container(text: bytes) -> None:
    with pytest.raises(NotAContainer):
        opened(text)


def test_a_true_container_that_the_catalogue_does_not_name_is_refused() -> None:
    """Who knows the public key can seal: only the digest in the catalogue tells the door's file from a forger's."""
    ours, forged = sealed(b"10.00"), sealed(b"99.99")
    digest = hashlib.sha256(ours).digest()

    assert read_container(io.BytesIO(ours), KEYS, KEY_OF[ours], PLACE, sha256=digest).read() == b"10.00"
    with pytest.raises(ContainerReplaced):
        read_container(io.BytesIO(forged), KEYS, KEY_OF[forged], PLACE, sha256=digest).read()
    with pytest.raises(ContainerDamaged):
        read_container(io.BytesIO(forged), KEYS, KEY_OF[ours], PLACE, sha256=digest).read()


def test_a_reader_that_failed_never_looks_finished() -> None:
    reader = read_container(io.BytesIO(THREE_SEALED[:-1]), KEYS, THREE_KEY, PLACE)
    reader.read(2 * CHUNK_BYTES)

    for _ in range(3):
        with pytest.raises(ContainerCut):
            reader.read(1)


def test_a_failed_chunk_gives_no_byte() -> None:
    altered = bytearray(THREE_SEALED)
    altered[HEADER_BYTES + 2 * RECORD - 1] ^= 1  # the tag of the second chunk
    reader = read_container(io.BytesIO(bytes(altered)), KEYS, THREE_KEY, PLACE)

    assert reader.read(CHUNK_BYTES) == THREE[:CHUNK_BYTES]
    with pytest.raises(ContainerDamaged):
        reader.read(1)


def test_closing_the_reader_closes_the_file() -> None:
    file = io.BytesIO(THREE_SEALED)

    read_container(file, KEYS, THREE_KEY, PLACE).close()

    assert file.closed


def test_an_aborted_container_opens_as_nothing() -> None:
    file = io.BytesIO()
    with ContainerWriter(file, KEYS.public_key, PLACE) as writer:
        writer.write(THREE)

    with pytest.raises(ContainerCut):
        opened(file.getvalue(), sealed_key=writer._sealed_key)  # which no row is ever given
    for ended in (lambda: writer.write(b"x"), writer.finish):
        with pytest.raises(ValueError, match="begin a new one"):
            ended()


def test_a_writer_whose_file_failed_seals_nothing_more() -> None:
    """Else a second try would seal other bytes under the same nonce."""

    class FullDisk(io.RawIOBase):
        def __init__(self) -> None:
            self.left = HEADER_BYTES + 1_000

        def write(self, data: bytes) -> int:  # type: ignore[override]
            taken = min(self.left, len(data))
            self.left -= taken
            if not taken:
                raise OSError(errno.ENOSPC, "no space left")
            return taken

    writer = ContainerWriter(cast(BinaryIO, FullDisk()), KEYS.public_key, PLACE)

    with pytest.raises(OSError, match="no space"):
        writer.write(THREE)
    with pytest.raises(ValueError, match="begin a new one"):
        writer.write(THREE)


def test_the_bound_of_chunks_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_module, "CHUNKS_LIMIT", 2)
    sealed(bytes(2 * CHUNK_BYTES))

    with pytest.raises(ContainerTooLong, match="Split it"):
        sealed(bytes(2 * CHUNK_BYTES + 1))


def test_without_its_sealed_key_a_container_opens_nothing_though_the_private_key_is_there() -> None:
    """The key lies in the catalogue alone: nothing in the file, nor another file's key, takes its place."""
    other = sealed(b"another file")
    altered = bytearray(THREE_KEY)
    altered[40] ^= 1

    assert THREE_KEY not in THREE_SEALED
    for key in (bytes(80), b"x", bytes(altered), KEY_OF[other], THREE_SEALED[:80]):
        with pytest.raises((ContainerMisplaced, ContainerDamaged)):
            opened(THREE_SEALED, sealed_key=key)


def test_memory_stays_flat() -> None:
    """64 MB through writer and reader hold a few chunks at a time."""
    part = bytes(1 << 20)
    with tempfile.TemporaryFile() as file:
        tracemalloc.start()
        writer = ContainerWriter(cast(BinaryIO, file), KEYS.public_key, PLACE)
        for _ in range(64):
            writer.write(part)
        digest = writer.finish()
        file.seek(0)
        reader = read_container(cast(BinaryIO, file), KEYS, digest.sealed_key, PLACE)
        while reader.read(1 << 16):
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert peak < 4_000_000


def test_a_writer_shows_no_key() -> None:
    writer = ContainerWriter(io.BytesIO(), KEYS.public_key, PLACE)

    assert repr(writer) == "<ContainerWriter>"
    assert repr(KEYS) == "<PrivateKey>"
