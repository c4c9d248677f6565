"""The OAuth 2 side of the emulator: clients, codes, short-lived access tokens, refresh tokens that rotate.

Source: RFC 6749 sections 4.1 (authorization code), 4.4 (client credentials), 5.2 (errors), 6 (refreshing);
RFC 7636 (PKCE); RFC 9700 section 4.14.2 (a refresh token used twice ends its whole family).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

_CODE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Client:
    """Who may ask for tokens, and which folder of the data its tokens open."""

    client_id: str
    client_secret: str
    folder: str
    redirect_uris: tuple[str, ...] = ()


class TokenRefused(Exception):
    """The token endpoint's refusal: an error code of RFC 6749 section 5.2 and the HTTP status it goes with."""

    def __init__(self, error: str, status: int = 400) -> None:
        super().__init__(error, status)
        self.error, self.status = error, status


@dataclass(slots=True)
class _Code:
    client_id: str
    redirect_uri: str
    challenge: str | None
    expires_at: float


class Authorization:
    """Issues and checks tokens, in memory: a restart of the emulator ends them all."""

    def __init__(
        self, clients: list[Client], *, token_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clients = {client.client_id: client for client in clients}
        self._token_seconds = token_seconds
        self._clock = clock
        self._access: dict[str, tuple[str, float]] = {}  # token -> client, end
        self._refresh: dict[str, tuple[str, str]] = {}  # token -> client, family
        self._families: dict[str, str] = {}  # family -> its one live refresh token
        self._codes: dict[str, _Code] = {}
        self.issued = 0

    def client(self, form: Mapping[str, str], header: str | None) -> Client:
        """Authenticate the caller by HTTP Basic or by the form (RFC 6749 section 2.3.1)."""
        client_id, secret = _basic(header) if header else (form.get("client_id", ""), form.get("client_secret", ""))
        client = self._clients.get(client_id)
        expected = client.client_secret if client else secrets.token_urlsafe()
        if not hmac.compare_digest(expected.encode(), secret.encode()) or client is None:
            raise TokenRefused("invalid_client", 401)
        return client

    def grant(self, client: Client, form: Mapping[str, str]) -> dict[str, object]:
        """Return the token endpoint's answer for an authenticated client."""
        kind = form.get("grant_type")
        if kind == "client_credentials":
            return self._tokens(client, family=None)
        if kind == "authorization_code":
            self._redeem(client, form)
            return self._tokens(client, family=secrets.token_hex(8))
        if kind == "refresh_token":
            return self._tokens(client, family=self._rotate(client, form.get("refresh_token", "")))
        raise TokenRefused("unsupported_grant_type")

    def code(self, client_id: str, redirect_uri: str, challenge: str | None) -> str:
        """Give a code to the user's browser; this PSP's user always consents."""
        client = self._clients.get(client_id)
        if client is None or redirect_uri not in client.redirect_uris:
            raise TokenRefused("invalid_request")
        code = secrets.token_urlsafe(24)
        self._codes[code] = _Code(client_id, redirect_uri, challenge, self._clock() + _CODE_SECONDS)
        return code

    def bearer(self, header: str | None) -> Client | None:
        """The client of a live access token, None for any other."""
        scheme, _, token = (header or "").partition(" ")
        client_id, end = self._access.get(token, ("", 0.0))
        if scheme.lower() != "bearer" or self._clock() >= end:
            return None
        return self._clients[client_id]

    def expire_all(self) -> None:
        """End every access token now; refresh tokens stay."""
        self._access.clear()

    def revoke_all(self) -> None:
        """End every token: the user has withdrawn the consent."""
        self._access.clear()
        self._families.clear()

    def _tokens(self, client: Client, *, family: str | None) -> dict[str, object]:
        access = secrets.token_urlsafe(32)
        self._access[access] = (client.client_id, self._clock() + self._token_seconds)
        self.issued += 1
        answer: dict[str, object] = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": int(self._token_seconds),
        }
        if family is not None:
            refresh = secrets.token_urlsafe(32)
            self._refresh[refresh] = (client.client_id, family)
            self._families[family] = refresh
            answer["refresh_token"] = refresh
        return answer

    def _redeem(self, client: Client, form: Mapping[str, str]) -> None:
        code = self._codes.pop(form.get("code", ""), None)
        if (
            code is None
            or code.client_id != client.client_id
            or code.redirect_uri != form.get("redirect_uri")
            or self._clock() >= code.expires_at
        ):
            raise TokenRefused("invalid_grant")
        if code.challenge is not None:
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != code.challenge:
                raise TokenRefused("invalid_grant")

    def _rotate(self, client: Client, refresh: str) -> str:
        owner, family = self._refresh.get(refresh, ("", ""))
        if owner != client.client_id:
            raise TokenRefused("invalid_grant")
        if self._families.get(family) != refresh:
            self._families.pop(family, None)  # used twice: somebody has a copy, so nobody may go on
            raise TokenRefused("invalid_grant")
        return family


def _basic(header: str) -> tuple[str, str]:
    scheme, _, text = header.partition(" ")
    try:
        user, _, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise TokenRefused("invalid_client", 401) from None
    if scheme.lower() != "basic":
        raise TokenRefused("invalid_client", 401)
    return unquote_plus(user), unquote_plus(password)
