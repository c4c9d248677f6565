"""A small ASGI guard: nothing behind it is reachable from a foreign page, a foreign name or without the token.

Loopback protects nothing: any page the operator's browser shows may send requests to 127.0.0.1, and a name that an
attacker resolves to 127.0.0.1 is served as if it were ours. So every request and every websocket must name this host
exactly, come from this origin where it changes something, and carry the cookie that the token link sets.

Pure ASGI: middleware that handles http alone leaves websockets open to the world.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "__Host-actuals"
ENTER = "/enter"
HEALTH = "/health"

_SAFE = ("GET", "HEAD")
_HEADERS = [
    (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Guard:
    """Let a request through only if its Host, Origin, method, content type and cookie are exactly right.

    Args:
        app: what is guarded.
        host: the only `Host` served, with its port: "127.0.0.1:8443".
        token: the secret of the link that `actuals up` prints; the cookie carries it.
    """

    def __init__(self, app: App, host: str, token: str) -> None:
        self._app = app
        self._host = host.encode()
        self._origin = b"https://" + self._host
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if scope["type"] == "websocket":
            if refusal:
                await receive()
                await send({"type": "websocket.close", "code": 4403, "reason": refusal[1]})
            else:
                await self._app(scope, receive, send)
            return
        if refusal:
            await _answer(send, *refusal)
        elif scope["path"] == HEALTH:
            await _answer(send, 200, "ok")
        elif scope["path"] == ENTER:
            await self._enter(scope, send)
        else:
            await self._app(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Why this scope does not pass: (HTTP status, words), or None. Deny is the default."""
        if _header(scope, b"host") != self._host:
            return 421, "This server answers to its own name only."
        if scope["type"] == "websocket":
            if _header(scope, b"origin") != self._origin:
                return 403, "A websocket must come from this origin."
            return None if self._has_token(scope) else (401, "Open the link that `actuals up` printed.")
        if scope["path"] in (HEALTH, ENTER):
            return None if scope["method"] in _SAFE else (405, "Only GET is served here.")
        if not self._has_token(scope):
            return 401, "Open the link that `actuals up` printed."
        return self._refusal_of_method(scope)

    def _refusal_of_method(self, scope: Scope) -> tuple[int, str] | None:
        if scope["method"] in _SAFE:
            # GraphQL by GET would let an image tag launch a run; the UI asks by POST and websocket only.
            is_graphql = scope["path"].rstrip("/").endswith("/graphql")
            return (405, "GraphQL is served by POST.") if is_graphql else None
        if scope["method"] != "POST":
            return 405, "Only GET, HEAD and POST are served."
        if _header(scope, b"origin") != self._origin:
            return 403, "A request that changes something must come from this origin."
        # A form can send text/plain or urlencoded across origins without asking; JSON it cannot.
        if (_header(scope, b"content-type") or b"").split(b";")[0].strip().lower() != b"application/json":
            return 415, "Send application/json."
        return None

    def _has_token(self, scope: Scope) -> bool:
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load((_header(scope, b"cookie") or b"").decode("latin-1"))
        except CookieError:
            return False
        return COOKIE in cookies and hmac.compare_digest(cookies[COOKIE].value.encode(), self._token)

    async def _enter(self, scope: Scope, send: Send) -> None:
        """Turn the token link into a cookie, so that the token does not stay in the address bar."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if not hmac.compare_digest(given.encode(), self._token):
            await _answer(send, 401, "This link is not valid any more; `actuals status` prints the current one.")
            return
        cookie = f"{COOKIE}={given}; Path=/; Secure; HttpOnly; SameSite=Strict".encode()
        # Not a redirect: a SameSite=Strict cookie is not sent along one that another site began.
        page = b'<!doctype html><meta http-equiv="refresh" content="0; url=/"><title>actuals</title>'
        headers = [(b"content-type", b"text/html; charset=utf-8"), (b"set-cookie", cookie), *_HEADERS]
        await send(
            {"type": "http.response.start", "status": 200, "headers": [*headers, (b"cache-control", b"no-store")]}
        )
        await send({"type": "http.response.body", "body": page})


def _header(scope: Scope, name: bytes) -> bytes | None:
    """The header's value if it is there exactly once, else None: two Hosts or Origins are nobody's."""
    values = [value for key, value in scope["headers"] if key == name]
    return values[0] if len(values) == 1 else None


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {key.lower() for key, _ in message.get("headers", [])}
            extra = [(key, value) for key, value in _HEADERS if key not in present]
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await send(message)

    return sending


async def _answer(send: Send, status: int, words: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words.encode() + b"\n"})
