"""Connections of the inbox: uvicorn's, with what it lacks: time and size bounds for a request's head, and the client's
certificate."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from actuals_pipelines.sources.inbox.problems import PROBLEMS, problem


class GuardedConnection(HttpToolsProtocol):
    """Ends a connection whose request's head comes too slowly or grows too large; names the client's certificate.

    The certificate is told as ASGI's TLS extension would, by its SHA-256: scope["extensions"]["tls"].
    """

    header_seconds: ClassVar[float] = 10.0
    header_bytes: ClassVar[int] = 64 << 10

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _certificate_sha256: bytes | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to count: also who sends nothing holds a connection."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and (certificate := tls.getpeercert(binary_form=True)):
            self._certificate_sha256 = hashlib.sha256(certificate).digest()
        self._expect_head()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self.scope["extensions"] = {"tls": {"client_certificate_sha256": self._certificate_sha256}}
        if self._timer is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """The head is whole: from here on the body has bounds of its own."""
        self._stop()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Bytes of a head are counted until it is whole."""
        super().data_received(data)
        if self._timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > self.header_bytes:
                self._end("too_large", "The head of a request may have 64 kB.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is expected any more."""
        self._stop()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._timer = self.loop.call_later(self.header_seconds, self._end, "too_slow", "The head came too slowly.")

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, code: str, detail: str) -> None:
        self._stop()
        if self.transport.is_closing():
            return
        status, title, _ = PROBLEMS[code]
        body = json.dumps(problem(code, detail)).encode()
        self.transport.write(
            f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
            + body
        )
        self.transport.close()
