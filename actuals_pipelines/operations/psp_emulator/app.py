"""The emulator's HTTP face: `/oauth/token`, `/oauth/authorize`, `/v1/transactions`, `/v1/payouts`.

`/admin/...` exists only where faults are allowed: tests switch them on and read counters there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from actuals_pipelines.operations.psp_emulator.authorization import Authorization, Client, TokenRefused
from actuals_pipelines.operations.psp_emulator.books import Books, CursorRefused, Question
from actuals_pipelines.operations.psp_emulator.faults import Fault, Faults

_NO_STORE = {"Cache-Control": "no-store"}
_ENDPOINTS = ("transactions", "payouts")


@dataclass(frozen=True, slots=True)
class Limits:
    """How generous this PSP is."""

    token_seconds: float = 60.0
    most_per_page: int = 250
    per_second: float = 0.0  # requests of one client; 0: no limit


def make_app(data: Path, clients: list[Client], limits: Limits, *, has_faults: bool = False) -> Starlette:
    """Return the API over the demo data below `data`."""
    api = _Api(data, clients, limits)
    routes = [
        Route("/oauth/token", api.token, methods=["POST"]),
        Route("/oauth/authorize", api.authorize),
        *(Route(f"/v1/{name}", api.rows, name=name) for name in _ENDPOINTS),
    ]
    if has_faults:
        routes.append(Route("/admin/faults", api.arm, methods=["PUT"]))
        routes.append(Route("/admin/revoke", api.revoke, methods=["POST"]))
        routes.append(Route("/admin/counts", api.counts))
    return Starlette(routes=routes)


class _Api:
    def __init__(self, data: Path, clients: list[Client], limits: Limits) -> None:
        self._authorization = Authorization(clients, token_seconds=limits.token_seconds)
        self._books = Books(data)
        self._limits = limits
        self._faults = Faults()
        self._buckets: dict[str, _Bucket] = {}
        self._requests: dict[str, int] = {}

    async def token(self, request: Request) -> Response:
        """RFC 6749: the token endpoint."""
        fault = await self._strike(request)
        if fault is not None and fault.kind == "status":
            return _failed(fault)
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        try:
            client = self._authorization.client(form, request.headers.get("authorization"))
            answer = JSONResponse(self._authorization.grant(client, form), headers=_NO_STORE)
        except TokenRefused as refusal:
            headers = {**_NO_STORE, **({"WWW-Authenticate": "Basic"} if refusal.status == 401 else {})}
            return JSONResponse({"error": refusal.error}, refusal.status, headers)
        return _cut(answer) if fault is not None and fault.kind == "truncate" else answer

    async def authorize(self, request: Request) -> Response:
        """RFC 6749 section 4.1.1; the user consents at once."""
        asked = request.query_params
        try:
            code = self._authorization.code(
                asked.get("client_id", ""), asked.get("redirect_uri", ""), asked.get("code_challenge")
            )
        except TokenRefused as refusal:
            return JSONResponse({"error": refusal.error}, refusal.status)
        back = urlencode({"code": code, "state": asked.get("state", "")})
        return RedirectResponse(f"{asked['redirect_uri']}?{back}", status_code=302)

    async def rows(self, request: Request) -> Response:
        """One page of an endpoint's rows."""
        fault = await self._strike(request)
        client = self._authorization.bearer(request.headers.get("authorization"))
        if client is None:
            headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            return JSONResponse({"error": "invalid_token"}, 401, headers)
        if fault is not None and fault.kind == "status":
            return _failed(fault)
        if not self._may_go_on(client):
            return JSONResponse({"error": "too_many_requests"}, 429, {"Retry-After": "1"})
        try:
            question = _question(client, request.url.path.rpartition("/")[2], request.query_params)
            limit = int(request.query_params.get("limit", self._limits.most_per_page))
            if not 1 <= limit <= self._limits.most_per_page:
                raise ValueError
            cursor = request.query_params.get("cursor")
            body = await run_in_threadpool(self._books.page, question, limit, cursor)
        except (ValueError, KeyError, CursorRefused):
            return JSONResponse({"error": "invalid_request"}, 400)
        answer = Response(body, media_type="application/json")
        return _cut(answer) if fault is not None and fault.kind == "truncate" else answer

    async def arm(self, request: Request) -> Response:
        """Replace the armed faults by the posted list."""
        self._faults.arm(msgspec.json.decode(await request.body(), type=list[Fault]))
        return Response(status_code=204)

    async def revoke(self, _request: Request) -> Response:
        """End every token, as when the user withdraws the consent."""
        self._authorization.revoke_all()
        return Response(status_code=204)

    async def counts(self, _request: Request) -> Response:
        """How many requests each path had, and how many tokens were issued."""
        return JSONResponse({"requests": self._requests, "tokens": self._authorization.issued})

    async def _strike(self, request: Request) -> Fault | None:
        path = request.url.path
        self._requests[path] = self._requests.get(path, 0) + 1
        fault = self._faults.strike(path)
        if fault is not None and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        if fault is not None and fault.kind == "expire":
            self._authorization.expire_all()
        return fault

    def _may_go_on(self, client: Client) -> bool:
        if not self._limits.per_second:
            return True
        bucket = self._buckets.setdefault(client.client_id, _Bucket(self._limits.per_second))
        return bucket.take()


class _Bucket:
    """A token bucket that holds one second's worth of requests."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._clock = per_second, clock
        self._left, self._at = max(per_second, 1.0), clock()

    def take(self) -> bool:
        now = self._clock()
        self._left = min(max(self._per_second, 1.0), self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _question(client: Client, endpoint: str, asked: QueryParams) -> Question:
    booked_from, booked_to = (date.fromisoformat(asked[name]) for name in ("booked_from", "booked_to"))
    return Question(client.folder, endpoint, booked_from, booked_to)


def _failed(fault: Fault) -> Response:
    headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
    if 300 <= fault.status < 400:
        headers["Location"] = "https://elsewhere.invalid/"
    return JSONResponse({"error": "server_error"}, fault.status, headers)


def _cut(answer: Response) -> Response:
    """Half the body under a content length that fits it: JSON that ends in the middle."""
    body = bytes(answer.body)
    return Response(body[: len(body) // 2], media_type="application/json")
