"""How the inbox answers: JSON, a problem for whatever goes wrong, security headers on all, no text of a library."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import msgspec
import sqlalchemy as sa
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actuals_pipelines.sources.inbox.problems import Refused

log = logging.getLogger(__name__)

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "x-content-type-options": "nosniff",
}

Endpoint = Callable[[Request], Awaitable[Response]]


def answering(endpoint: Endpoint) -> Endpoint:
    """Turn whatever goes wrong into a problem: ours as it says, a library's as its class in the log and 500 outside."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Refused as refused:
            return refused.response()
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
            log.error("tenant database did not answer: kind=%s", _kind(error))
            return Refused("busy", "The store does not answer.", retry_after_seconds=5).response()
        except Exception as error:
            log.error("request failed: kind=%s", _kind(error))
            return Refused("failed").response()

    return answer


async def not_routed(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    answer = Refused({404: "not_found", 405: "method_not_allowed"}.get(status, "malformed")).response()
    if isinstance(error, HTTPException) and error.headers:
        answer.headers.update(error.headers)  # Allow
    return answer


class Outermost:
    """Adds the security headers to every answer, and keeps what a framework lets through from the server's log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            log.error("request failed outside its endpoint: kind=%s", _kind(error))


def _kind(error: BaseException) -> str:
    """The class of an error, and of the driver's error within it: never a text."""
    inner = error.orig if isinstance(error, sa.exc.DBAPIError) else None
    return type(error).__name__ if inner is None else f"{type(error).__name__}({type(inner).__name__})"


def json_response(content: object, status: int = 200) -> Response:
    """JSON of plain data and structs."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")
