"""The inbox's HTTP face: routes, limits, answers. HTTPS is `__main__`'s; storing is `group_commit`'s.

POST /v1/raw_transactions           one object
POST /v1/raw_transactions/batch     a JSON array or NDJSON, all or nothing
GET  /v1/raw_transactions           receipts, in pages
GET  /v1/raw_transactions/{id}      one receipt
GET  /health
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actuals_pipelines.sources.inbox import receipts
from actuals_pipelines.sources.inbox.admission import Admission, Admitted
from actuals_pipelines.sources.inbox.problems import LineError, Refused
from actuals_pipelines.sources.inbox.rates import Rates
from actuals_pipelines.sources.inbox.raw_transactions import inflated, read_batch, read_one
from actuals_pipelines.sources.inbox.receipts import BatchConflict, Outcome, Receipt, ReceiptRow

log = logging.getLogger(__name__)

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "x-content-type-options": "nosniff",
}
_JSON = "application/json"
_NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
_LIST_PARAMETERS = {"source_id", "cursor", "limit"}


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
    body_seconds: float = 30.0  # for a body to arrive
    requests_per_second: float = 2000.0  # per key
    burst: float = 4000.0


@dataclass(slots=True)
class Inbox:
    """The state of one inbox process."""

    admission: Admission
    is_current: Callable[[], bool]  # whether the views could be read when last looked at
    limits: Limits = field(default_factory=Limits)
    in_flight: int = 0
    in_flight_bytes: int = 0
    rates: Rates = field(init=False)
    batches: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.rates = Rates(self.limits.requests_per_second, self.limits.burst)
        self.batches = asyncio.Semaphore(self.limits.batches_at_once)

    # --- POST ---------------------------------------------------------------------------------------------------------

    async def post_one(self, request: Request) -> Response:
        """Take one raw transaction. 201 new, 200 duplicate, 409 other body."""
        admitted = self._admit(request)
        _media_type(request, (_JSON,))
        async with self._body(request, self.limits.single_bytes) as body:
            raw = read_one(await _inflated(request, body, self.limits.single_bytes))
            source_id = admitted.source_id(raw.source)
            receipt = await admitted.tenant.commits.put(admitted.post(raw, source_id))
        if receipt.outcome is Outcome.CONFLICT:
            raise Refused("other_body", "The first body stands; this one was not stored.", field="id")
        is_duplicate = receipt.outcome is Outcome.DUPLICATE
        answer = {**_shown(receipt, raw.source), "duplicate": is_duplicate}
        return _json(answer, 200 if is_duplicate else 201)

    async def post_batch(self, request: Request) -> Response:
        """Take a batch, all or nothing. 201 if anything was new, else 200."""
        admitted = self._admit(request)
        media_type = _media_type(request, (_JSON, *_NDJSON))
        async with self._body(request, self.limits.batch_bytes) as body, self.batches:
            text = await _inflated(request, body, self.limits.inflated_bytes)
            posts, names, lines = await asyncio.to_thread(self._read_batch, admitted, text, media_type in _NDJSON)
            try:
                stored = await admitted.tenant.commits.put_all(posts)
            except BatchConflict as conflict:
                errors = [LineError(lines[at], "other_body", "Other body.", "id") for at in conflict.positions[:100]]
                raise Refused("other_body", str(conflict), field="id", errors=errors) from None
        data = [
            {**_shown(receipt, name), "duplicate": receipt.outcome is Outcome.DUPLICATE}
            for receipt, name in zip(stored, names, strict=True)
        ]
        new = sum(not one["duplicate"] for one in data)
        return _json({"new": new, "duplicates": len(data) - new, "data": data}, 201 if new else 200)

    def _read_batch(
        self, admitted: Admitted, body: bytes, is_ndjson: bool
    ) -> tuple[list[receipts.Post], list[str], list[int]]:
        records, lines = read_batch(body, is_ndjson=is_ndjson, max_rows=self.limits.batch_rows)
        source_ids = {name: admitted.source_id(name) for name in {record.source for record in records}}
        posts = [admitted.post(record, source_ids[record.source]) for record in records]
        return posts, [record.source for record in records], lines

    # --- GET ----------------------------------------------------------------------------------------------------------

    async def get_page(self, request: Request) -> Response:
        """Receipts in the order they came. One that commits late can come in behind a cursor: poll with overlap."""
        admitted = self._admit(request)
        query = request.query_params
        if not set(query) <= _LIST_PARAMETERS:
            raise Refused("invalid", "The query takes source_id, cursor and limit.")
        named = query.get("source_id")
        sources = admitted.sources if named is None else {named: admitted.source_id(named)}
        after = _uuid(query["cursor"], "cursor") if "cursor" in query else None
        limit = _limit(query.get("limit", "100"))
        found = await self._read(admitted, receipts.page, admitted.mode, list(sources.values()), after, limit + 1)
        shown = [_shown(receipt, admitted.name_of(receipt.source_id)) for receipt in found[:limit]]
        has_more = len(found) > limit
        cursor = str(found[limit - 1].receipt_id) if has_more else None
        return _json({"data": shown, "pagination": {"next_cursor": cursor, "has_more": has_more}})

    async def get_one(self, request: Request) -> Response:
        """One receipt, by the id that POST gave."""
        admitted = self._admit(request)
        receipt_id = _uuid(request.path_params["id"], "id")
        found = await self._read(admitted, receipts.find, admitted.mode, list(admitted.sources.values()), receipt_id)
        if found is None:
            raise Refused("not_found", "No receipt of this key's sources and mode has this id.")
        return _json(_shown(found, admitted.name_of(found.source_id)))

    async def health(self, _request: Request) -> Response:
        """200 while the inbox takes posts; 503 when it cannot learn what changed."""
        is_well = self.is_current()
        return _json({"status": "ok" if is_well else "stale"}, 200 if is_well else 503)

    # --- Limits -------------------------------------------------------------------------------------------------------

    def _admit(self, request: Request) -> Admitted:
        admitted = self.admission.admit(_token(request), datetime.now(UTC))
        wait = self.rates.wait_seconds(admitted.key_id, time.monotonic())
        if wait:
            raise Refused("too_many_requests", retry_after_seconds=max(1, round(wait)))
        return admitted

    @asynccontextmanager
    async def _body(self, request: Request, max_bytes: int) -> AsyncIterator[bytes]:
        """The request's body as it came, while it counts as in flight."""
        announced = request.headers.get("content-length", "")
        size = int(announced) if announced.isdecimal() else max_bytes
        if size > max_bytes:
            raise Refused("too_large", f"A body here may have {max_bytes} bytes.")
        if self.in_flight >= self.limits.in_flight or self.in_flight_bytes + size > self.limits.in_flight_bytes:
            raise Refused("busy", "Too much is on its way at once.", retry_after_seconds=1)
        self.in_flight, self.in_flight_bytes = self.in_flight + 1, self.in_flight_bytes + size
        try:
            yield await self._received(request, max_bytes)
        finally:
            self.in_flight, self.in_flight_bytes = self.in_flight - 1, self.in_flight_bytes - size

    async def _received(self, request: Request, max_bytes: int) -> bytes:
        pieces, size = [], 0
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                async for piece in request.stream():
                    size += len(piece)
                    if size > max_bytes:
                        raise Refused("too_large", f"A body here may have {max_bytes} bytes.")
                    pieces.append(piece)
        except TimeoutError:
            raise Refused("too_slow", "The body did not arrive in time.") from None
        return b"".join(pieces)

    async def _read(self, admitted: Admitted, query: Callable[..., Any], *arguments: object) -> Any:
        def read() -> Any:
            with admitted.tenant.engine.begin() as connection:
                return query(connection, *arguments)

        return await asyncio.to_thread(read)


def inbox_app(inbox: Inbox) -> ASGIApp:
    """The ASGI application; no exception leaves it, so that no server prints one."""
    routes = [
        Route("/v1/raw_transactions", _answering(inbox.post_one), methods=["POST"]),
        Route("/v1/raw_transactions", _answering(inbox.get_page), methods=["GET"]),
        Route("/v1/raw_transactions/batch", _answering(inbox.post_batch), methods=["POST"]),
        Route("/v1/raw_transactions/{id}", _answering(inbox.get_one), methods=["GET"]),
        Route("/health", _answering(inbox.health), methods=["GET"]),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _not_routed})
    return _Outermost(app)


Endpoint = Callable[[Request], Awaitable[Response]]


def _answering(endpoint: Endpoint) -> Endpoint:
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


async def _not_routed(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return Refused({404: "not_found", 405: "method_not_allowed"}.get(status, "malformed")).response()


class _Outermost:
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


def _token(request: Request) -> str:
    given = {token for token in (request.headers.get("token"), _bearer(request.headers)) if token is not None}
    if len(given) != 1:
        raise Refused("unauthorized", "One key is needed, in the header `token` or as a Bearer token.")
    return given.pop()


def _bearer(headers: Mapping[str, str]) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _media_type(request: Request, allowed: tuple[str, ...]) -> str:
    media_type = request.headers.get("content-type", _JSON).partition(";")[0].strip().lower()
    if media_type not in allowed:
        raise Refused("media_type", f"Here Content-Type is one of: {', '.join(allowed)}.")
    return media_type


async def _inflated(request: Request, body: bytes, max_bytes: int) -> bytes:
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise Refused("media_type", "Content-Encoding is neither gzip nor identity.")
    return await asyncio.to_thread(inflated, body, max_bytes)


def _uuid(text: str, name: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Refused("invalid", f"`{name}` is not one that the inbox gave.", field=name) from None


def _limit(text: str) -> int:
    if not (text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= receipts.MAX_PAGE):
        raise Refused("invalid", f"`limit` is a number from 1 to {receipts.MAX_PAGE}.", field="limit")
    return int(text)


def _shown(receipt: Receipt | ReceiptRow, source: str) -> dict[str, object]:
    state = receipt.state if isinstance(receipt, ReceiptRow) else "received"
    return {
        "id": str(receipt.receipt_id),
        "source_id": source,
        "received_at": receipt.received_at.astimezone(UTC).isoformat(),
        "status": "accepted" if state == "received" else state,
    }


def _json(content: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type=_JSON)
