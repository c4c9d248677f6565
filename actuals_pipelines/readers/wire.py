"""What a reading child and its parent say to one another over two pipes: frames of a kind, a length and a payload.

The child asks for bytes, the parent gives them, so neither waits for a full pipe; the parent trusts nothing it gets.
"""

from __future__ import annotations

import os
import struct
from enum import IntEnum

_HEAD = struct.Struct("<BQ")
MAX_FRAME_BYTES = 1 << 30
"""A batch of text is far smaller; a child that says more is broken or worse."""


class Frame(IntEnum):
    """Kinds of frames."""

    READY = 1  # child: libraries are loaded
    REQUEST = 2  # parent: JSON {format, options, limits}
    NEED = 3  # child: how many bytes of the file it wants, 8 bytes little-endian
    DATA = 4  # parent: bytes of the file, none at its end
    PART = 5  # child: JSON of one file's format, name, place, of
    SCHEMA = 6  # child: Arrow IPC schema of the batches that follow
    BATCH = 7  # child: Arrow IPC record batch
    PART_END = 8  # child: JSON of controls, rejects, notes
    REFUSED = 9  # child: JSON of a refusal's class and facts
    DONE = 10  # child: all files were read
    EXIT = 11  # child's parent: the reading process has ended well


class PipeClosed(Exception):
    """The other side is gone."""


def send(descriptor: int, kind: Frame, payload: bytes | memoryview = b"") -> None:
    """Write one frame whole.

    Raises:
        PipeClosed: nobody reads any more.
    """
    try:
        _write(descriptor, memoryview(_HEAD.pack(kind, len(payload))))
        _write(descriptor, memoryview(payload))
    except BrokenPipeError:
        raise PipeClosed from None


def receive(descriptor: int) -> tuple[Frame, bytes]:
    """Read one frame.

    Raises:
        PipeClosed: the end, a frame that is cut, unknown or beyond the bound.
    """
    kind, size = _HEAD.unpack(_exactly(descriptor, _HEAD.size))
    if kind not in set(Frame) or size > MAX_FRAME_BYTES:
        raise PipeClosed
    return Frame(kind), _exactly(descriptor, size)


def _write(descriptor: int, view: memoryview) -> None:
    view = view.cast("B")
    while view:
        view = view[os.write(descriptor, view) :]


def _exactly(descriptor: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        some = os.read(descriptor, min(size - len(data), 1 << 20))
        if not some:
            raise PipeClosed
        data += some
    return bytes(data)
