"""Taking in a request's body within bounds: announced and real size, what is in flight, time, what it inflates to."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import zstandard
from starlette.requests import Request

from actuals_pipelines.sources.inbox.problems import Refused

_ZSTD_WINDOW_BYTES = 8 << 20  # RFC 8878 section 3.1.1.1.2 recommends to support at least this; beyond it is refused
_ZSTD_SLICE_BYTES = 256  # a few bytes may stand for a block of 128 kB: so much may come out of one slice


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process takes. Beyond it a caller is told to wait; nothing is half taken."""

    single_bytes: int = 1 << 20
    batch_bytes: int = 8 << 20
    inflated_bytes: int = 64 << 20
    batch_rows: int = 10_000
    in_flight: int = 512  # requests whose body is read or waits for its commit
    in_flight_bytes: int = 128 << 20  # as announced or, unannounced, as allowed
    batches_at_once: int = 4  # decoded at the same time: each may inflate
    header_seconds: float = 10.0  # for a TLS handshake and a request's head to arrive
    body_seconds: float = 30.0  # for a body to arrive
    requests_per_second: float = 2000.0  # per key
    burst: float = 4000.0


class Bodies:
    """The bodies that are in flight in this process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._count = self._bytes = 0

    @asynccontextmanager
    async def of(self, request: Request, max_bytes: int) -> AsyncIterator[bytes]:
        """The request's body as it came, while it counts as in flight. Raises Refused: too_large, busy, too_slow."""
        announced = request.headers.get("content-length", "")
        size = int(announced) if announced.isdecimal() and len(announced) < 20 else max_bytes
        if size > max_bytes:
            raise Refused("too_large", f"A body here may have {max_bytes} bytes.")
        if self._count >= self._limits.in_flight or self._bytes + size > self._limits.in_flight_bytes:
            raise Refused("busy", "Too much is on its way at once.", retry_after_seconds=1)
        self._count, self._bytes = self._count + 1, self._bytes + size
        try:
            yield await self._received(request, max_bytes)
        finally:
            self._count, self._bytes = self._count - 1, self._bytes - size

    async def _received(self, request: Request, max_bytes: int) -> bytes:
        pieces, size = [], 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                async for piece in request.stream():
                    size += len(piece)
                    if size > max_bytes:
                        raise Refused("too_large", f"A body here may have {max_bytes} bytes.")
                    pieces.append(piece)
        except TimeoutError:
            raise Refused("too_slow", "The body did not arrive in time.") from None
        return b"".join(pieces)


def decoder_of(encoding: str) -> Callable[[bytes, int], bytes] | None:
    """How a body of this Content-Encoding is inflated within a bound; None if it is as it is. Raises Refused."""
    decoders = {"identity": None, "gzip": gunzipped, "zstd": unzstd}
    if encoding.lower() not in decoders:
        raise Refused("media_type", "Content-Encoding is one of: gzip, zstd, identity.")
    return decoders[encoding.lower()]


def gunzipped(body: bytes, max_bytes: int) -> bytes:
    """Inflate a gzip body of one or more members, and stop before it grows beyond the bound.

    Raises:
        Refused: too_large, or malformed if it is no gzip or was cut off.
    """
    pieces: list[bytes] = []
    room, rest = max_bytes, body
    while rest or not pieces:
        inflater = zlib.decompressobj(wbits=31)
        try:
            piece = inflater.decompress(rest, room + 1)
        except zlib.error:
            raise Refused("malformed", "The body is not gzip, though Content-Encoding says so.") from None
        if len(piece) > room:
            raise _grows(max_bytes)
        if not inflater.eof:
            raise Refused("malformed", "The gzip body ends too early.")
        pieces.append(piece)
        room, rest = room - len(piece), inflater.unused_data
    return b"".join(pieces)


def unzstd(body: bytes, max_bytes: int) -> bytes:
    """Inflate a Zstandard body of one or more frames (RFC 8878); raises as `gunzipped`."""
    pieces: list[bytes] = []
    size, at = 0, 0
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
    inflater = decompressor.decompressobj()
    while at < len(body):
        if inflater.eof:
            inflater = decompressor.decompressobj()
        given = body[at : at + _ZSTD_SLICE_BYTES]
        try:
            piece = inflater.decompress(given)
        except zstandard.ZstdError:
            raise Refused("malformed", "The body is not zstd, or has a window of more than 8 MB.") from None
        at += len(given) - len(inflater.unused_data)
        size += len(piece)
        if size > max_bytes:
            raise _grows(max_bytes)
        pieces.append(piece)
    if not inflater.eof:
        raise Refused("malformed", "The zstd body ends too early.")
    return b"".join(pieces)


def _grows(max_bytes: int) -> Refused:
    return Refused("too_large", f"The body inflates to more than {max_bytes} bytes.")
