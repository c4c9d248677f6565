"""The only way out: https to one host, certificate verified, no redirect followed, answers bounded in size and time.

Every request of requests-oauthlib passes through `OneHostAdapter`: what holds here holds for token requests too.
"""

from __future__ import annotations

import io
import logging
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from oauthlib.oauth2 import Client
from requests.adapters import HTTPAdapter
from requests_oauthlib import OAuth2Session

from actuals_pipelines.sources.oauth_api.connector import Limits
from actuals_pipelines.sources.oauth_api.failures import (
    AddressRefused,
    AnswerRefused,
    CertificateRefused,
    ConnectionLost,
    RedirectRefused,
)

# At debug level these libraries log headers, bodies and tokens; ours says what is worth knowing.
for _chatty in ("requests_oauthlib", "oauthlib", "urllib3"):
    logging.getLogger(_chatty).setLevel(logging.WARNING)

_CHUNK_BYTES = 64 * 1024


def https_session(
    base_url: str, limits: Limits, ca_file: Path | None, *, who: str, client: Client | None
) -> OAuth2Session:
    """Return a session that reaches `base_url`'s host and nothing else.

    Args:
        base_url: "https://host[:port][/prefix]"; raises AddressRefused for anything else.
        ca_file: authorities to trust instead of the public ones; None trusts the public ones.
        who: "connector psp", for errors.
        client: oauthlib's, for token requests; None where the request brings its token itself.
    """
    host = _host(base_url, who)
    session = OAuth2Session(client=client)
    session.trust_env = False  # no proxies, no .netrc, no other trust file from the environment
    session.adapters.clear()
    session.mount("https://", OneHostAdapter(host, limits, ca_file, who))
    session.headers["Accept-Encoding"] = "identity"  # the bytes as they are, and no bomb
    session.headers["Accept"] = "application/json"
    return session


def joined(base_url: str, path: str) -> str:
    """The URL of a connector's path below the source's base_url."""
    return base_url.rstrip("/") + path


class OneHostAdapter(HTTPAdapter):
    """A transport that speaks to one host; whatever the library above it asks for."""

    def __init__(self, host: tuple[str, int], limits: Limits, ca_file: Path | None, who: str) -> None:
        super().__init__(max_retries=0)
        self._host, self._limits, self._who = host, limits, who
        self._trust = str(ca_file) if ca_file else True

    def send(  # noqa: PLR0917 - the library's signature
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send one request and read the whole answer within the bounds.

        Raises:
            AddressRefused, CertificateRefused, RedirectRefused, AnswerRefused: terminal.
            ConnectionLost: transient.
        """
        where = f"{self._who}, {request.method} {_shown(request.url or '')}"
        if _host(request.url or "", self._who) != self._host:
            raise AddressRefused(where, "it is not on the host of base_url")
        until = time.monotonic() + self._limits.answer_seconds
        timeouts = (self._limits.connect_seconds, self._limits.answer_seconds)
        try:
            response = super().send(request, stream=True, timeout=timeouts, verify=self._trust)
            body = self._read(response, until, where)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if _is_about_certificate(error):
                raise CertificateRefused(where, "it is not from a trusted authority for this host") from None
            raise ConnectionLost(where, type(error).__name__) from None
        if 300 <= response.status_code < 400:
            raise RedirectRefused(where, f"HTTP {response.status_code}")
        response.raw = io.BytesIO(body)
        return response

    def _read(self, response: requests.Response, until: float, where: str) -> bytes:
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            response.close()
            raise AnswerRefused(where, "it is compressed, although we asked for plain bytes")
        chunks: list[bytes] = []
        size = 0
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=False):
            chunks.append(chunk)
            size += len(chunk)
            if size > self._limits.page_bytes:
                response.close()
                raise AnswerRefused(where, f"it is larger than {self._limits.page_bytes} bytes")
            if time.monotonic() > until:
                response.close()
                raise ConnectionLost(where, f"no whole answer within {self._limits.answer_seconds:g} s")
        response.raw.release_conn()
        return b"".join(chunks)


def _host(url: str, who: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 443
    except ValueError:
        raise AddressRefused(who, "base_url is no URL") from None
    if parts.scheme != "https" or not host or "@" in parts.netloc:
        raise AddressRefused(f"{who}, {_shown(url)}", "it is not an https URL without credentials")
    return host, port


def _shown(url: str) -> str:
    """A URL without query, fragment and credentials: those may hold cursors, codes and secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _is_about_certificate(error: BaseException) -> bool:
    """Look for the certificate's refusal under the layers that the libraries wrap it in."""
    waiting: list[object] = [error]
    for _ in range(20):
        if not waiting:
            return False
        found = waiting.pop()
        if isinstance(found, ssl.SSLCertVerificationError):
            return True
        if isinstance(found, BaseException):
            waiting += [found.__cause__, found.__context__, getattr(found, "reason", None), *found.args]
    return False
