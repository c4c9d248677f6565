"""The inbox's HTTP face: its routes and what each answers. HTTPS is `__main__`'s; storing is `group_commit`'s.

POST /v1/raw_transactions           one object
POST /v1/raw_transactions/batch     a JSON array or NDJSON, all or nothing, or `?per_item=true`
GET  /v1/raw_transactions           receipts, in pages
GET  /v1/raw_transactions/{id}      one receipt
GET  /health
GET  /openapi.json                  all this as an OpenAPI 3.1 document
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from actuals_pipelines.sources.inbox import receipts
from actuals_pipelines.sources.inbox.admission import Admission, Admitted, Caller
from actuals_pipelines.sources.inbox.answers import Endpoint, Outermost, answering, json_response, not_routed
from actuals_pipelines.sources.inbox.bodies import Bodies, Limits, decoder_of
from actuals_pipelines.sources.inbox.problems import LineError, Refused, problem
from actuals_pipelines.sources.inbox.rates import Rates
from actuals_pipelines.sources.inbox.raw_transactions import (
    MAX_ERRORS,
    Batch,
    RawTransaction,
    instant,
    read_batch,
    read_one,
)
from actuals_pipelines.sources.inbox.receipts import BatchConflict, Outcome, Receipt, ReceiptRow, Wanted
from actuals_pipelines.sources.inbox.signatures import use_nonce, verified_nonce

_JSON = "application/json"
_NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
_FILTERS = ("source_id", "from", "to", "updated_since", "cursor", "limit")
_STATUS = {"received": "accepted", "landed": "taken_in", "rejected": "rejected"}

OPENAPI = Path(__file__).with_name("openapi.json")


class _Acknowledged(msgspec.Struct):
    """What a caller is told of a raw transaction that was stored."""

    id: str
    source_id: str
    received_at: str
    status: str
    duplicate: bool


@dataclass(slots=True)
class Inbox:
    """The state of one inbox process."""

    admission: Admission
    is_current: Callable[[], bool]  # whether the views could be read when last looked at
    limits: Limits = field(default_factory=Limits)
    rates: Rates = field(init=False)
    bodies: Bodies = field(init=False)
    batches: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.rates = Rates(self.limits.requests_per_second, self.limits.burst)
        self.bodies = Bodies(self.limits)
        self.batches = asyncio.Semaphore(self.limits.batches_at_once)

    # --- POST ---------------------------------------------------------------------------------------------------------

    async def post_one(self, request: Request) -> Response:
        """Take one raw transaction. 201 new, 200 duplicate, 409 other body."""
        admitted = self._admit(request)
        _query(request)
        _media_type(request, (_JSON,))
        decoder = decoder_of(request.headers.get("content-encoding", "identity"))
        async with self.bodies.of(request, self.limits.single_bytes) as body:
            await self._check_signature(admitted, request, body)
            text = body if decoder is None else await asyncio.to_thread(decoder, body, self.limits.single_bytes)
            raw = read_one(text)
            [post] = admitted.posts([raw])
            receipt = await admitted.tenant.commits.put(post)
        if receipt.outcome is Outcome.CONFLICT:
            raise Refused("other_body", "The first body stands; this one was not stored.", field="id")
        return json_response(_acknowledged(receipt, raw.source), 201 if receipt.outcome is Outcome.NEW else 200)

    async def post_batch(self, request: Request) -> Response:
        """Take a batch. All or nothing: 201 if anything was new, else 200. Per item: 200, and each is told."""
        admitted = self._admit(request)
        is_per_item = _flag(_query(request, "per_item"), "per_item")
        is_ndjson = _media_type(request, (_JSON, *_NDJSON)) in _NDJSON
        decoder = decoder_of(request.headers.get("content-encoding", "identity"))

        def read(body: bytes) -> tuple[Batch, list[receipts.Post]]:
            text = body if decoder is None else decoder(body, self.limits.inflated_bytes)
            batch = read_batch(text, is_ndjson=is_ndjson, max_rows=self.limits.batch_rows)
            if is_per_item:
                batch = admitted.without_strange_sources(batch)
            else:
                batch.refuse_if_faulty()
            return batch, admitted.posts(batch.records)

        async with self.bodies.of(request, self.limits.batch_bytes) as body, self.batches:
            await self._check_signature(admitted, request, body)
            batch, posts = await asyncio.to_thread(read, body)
            try:
                stored = await admitted.tenant.commits.put_all(posts, refuse_conflicts=not is_per_item)
            except BatchConflict as conflict:
                first = conflict.positions[:MAX_ERRORS]
                errors = [LineError(batch.lines[at], "other_body", "Other body.", "id") for at in first]
                raise Refused("other_body", str(conflict), field="id", errors=errors) from None
            return await asyncio.to_thread(_per_item if is_per_item else _all_stored, batch, stored)

    # --- GET ----------------------------------------------------------------------------------------------------------

    async def get_page(self, request: Request) -> Response:
        """Receipts in the order they came. One that commits late can come in behind a cursor: poll with overlap."""
        admitted = self._admit(request)
        await self._check_signature(admitted, request, b"")
        query = _query(request, *_FILTERS)
        named = query.get("source_id")
        sources = admitted.sources if named is None else {named: admitted.source_id(named)}
        limit = _limit(query.get("limit", "100"))
        wanted = Wanted(
            admitted.mode,
            list(sources.values()),
            since=_instant(query, "from"),
            until=_instant(query, "to"),
            updated_since=_instant(query, "updated_since"),
            after=_uuid(query["cursor"], "cursor") if "cursor" in query else None,
        )
        found = await self._read(admitted, receipts.page, wanted, limit + 1)
        shown = [_shown(receipt, admitted.name_of(receipt.source_id)) for receipt in found[:limit]]
        has_more = len(found) > limit
        cursor = str(found[limit - 1].receipt_id) if has_more else None
        return json_response({"data": shown, "pagination": {"next_cursor": cursor, "has_more": has_more}})

    async def get_one(self, request: Request) -> Response:
        """One receipt, by the id that POST gave."""
        admitted = self._admit(request)
        await self._check_signature(admitted, request, b"")
        _query(request)
        receipt_id = request.path_params["id"]
        found = await self._read(admitted, receipts.find, admitted.mode, list(admitted.sources.values()), receipt_id)
        if found is None:
            raise Refused("not_found", "No receipt of this key's sources and mode has this id.")
        return json_response(_shown(found, admitted.name_of(found.source_id)))

    async def health(self, _request: Request) -> Response:
        """200 while the inbox takes posts; 503 when it cannot learn what changed."""
        is_well = self.is_current()
        return json_response({"status": "ok" if is_well else "stale"}, 200 if is_well else 503)

    async def openapi(self, _request: Request) -> Response:
        """The document that describes this API."""
        return Response(OPENAPI.read_bytes(), media_type="application/json")

    def _admit(self, request: Request) -> Admitted:
        admitted = self.admission.admit(_token(request), datetime.now(UTC), _caller(request))
        wait = self.rates.wait_seconds(admitted.key_id, time.monotonic())
        if wait:
            raise Refused("too_many_requests", retry_after_seconds=max(1, round(wait)))
        return admitted

    async def _check_signature(self, admitted: Admitted, request: Request, body: bytes) -> None:
        if admitted.signing is not None:
            signing = admitted.signing
            nonce = verified_nonce(request, body, admitted.key_id, signing.algorithm, signing.key)
            await self._read(admitted, use_nonce, admitted.mac_key, admitted.key_id, nonce)

    async def _read(self, admitted: Admitted, query: Callable[..., Any], *arguments: object) -> Any:
        def read() -> Any:
            with admitted.tenant.engine.begin() as connection:
                return query(connection, *arguments)

        return await asyncio.to_thread(read)


ROUTES: Sequence[tuple[str, str, Callable[[Inbox, Request], Awaitable[Response]]]] = (
    ("/v1/raw_transactions", "POST", Inbox.post_one),
    ("/v1/raw_transactions", "GET", Inbox.get_page),
    ("/v1/raw_transactions/batch", "POST", Inbox.post_batch),
    ("/v1/raw_transactions/{id}", "GET", Inbox.get_one),
    ("/health", "GET", Inbox.health),
    ("/openapi.json", "GET", Inbox.openapi),
)


def inbox_app(inbox: Inbox) -> ASGIApp:
    """The ASGI application; no exception leaves it, so that no server prints one."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for path, method, answer in ROUTES:
        by_path.setdefault(path, {})[method] = answering(partial(answer, inbox))
    # One route a path, so that the answer to another method lists all that it has.
    routes = [
        Route(path.replace("{id}", "{id:uuid}"), partial(_by_method, answers), methods=list(answers))
        for path, answers in by_path.items()
    ]
    return Outermost(Starlette(routes=routes, exception_handlers={HTTPException: not_routed}))


async def _by_method(answers: Mapping[str, Endpoint], request: Request) -> Response:
    return await answers["GET" if request.method == "HEAD" else request.method](request)


# --- What is asked ----------------------------------------------------------------------------------------------------


def _caller(request: Request) -> Caller:
    """By the socket: no header of a proxy is believed."""
    tls = request.scope.get("extensions", {}).get("tls", {})
    return Caller(request.client.host if request.client else "", tls.get("client_certificate_sha256"))


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


def _query(request: Request, *allowed: str) -> Mapping[str, str]:
    query = request.query_params
    if not set(query) <= set(allowed):
        takes = f"takes {', '.join(allowed)}" if allowed else "takes nothing"
        raise Refused("invalid", f"The query of this path {takes}.")
    if len(query.multi_items()) > len(query):
        raise Refused("invalid", "A parameter of the query is given twice.")
    return query


def _flag(query: Mapping[str, str], name: str) -> bool:
    given = query.get(name, "false")
    if given not in ("true", "false"):
        raise Refused("invalid", f"`{name}` is true or false.", field=name)
    return given == "true"


def _uuid(text: str, name: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Refused("invalid", f"`{name}` is not one that the inbox gave.", field=name) from None


def _instant(query: Mapping[str, str], name: str) -> datetime | None:
    if name not in query:
        return None
    found = instant(query[name].replace(" ", "+"))  # an unescaped plus sign means a space in a query
    if found is None:
        raise Refused("invalid", f"`{name}` is not RFC 3339 with an offset.", field=name)
    return found


def _limit(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and len(text) <= 4 and 1 <= int(text) <= receipts.MAX_PAGE):
        raise Refused("invalid", f"`limit` is a number from 1 to {receipts.MAX_PAGE}.", field="limit")
    return int(text)


# --- What is told -----------------------------------------------------------------------------------------------------


def _all_stored(batch: Batch, stored: Sequence[Receipt]) -> Response:
    data = _each_acknowledged(batch.records, stored)
    new = sum(not one.duplicate for one in data)
    return json_response({"new": new, "duplicates": len(data) - new, "data": data}, 201 if new else 200)


def _per_item(batch: Batch, stored: Sequence[Receipt]) -> Response:
    """An answer for each record, in order; what is refused says its line and why."""
    told: dict[int, _Acknowledged | dict[str, object]] = {
        error.line: {"status": "refused", "line": error.line, "problem": problem(error.code, error.detail, error.field)}
        for error in batch.errors
    }
    acknowledged = _each_acknowledged(batch.records, stored)
    conflict = problem("other_body", "The first body stands; this one was not stored.", "id")
    new = duplicates = 0
    for line, receipt, one in zip(batch.lines, stored, acknowledged, strict=True):
        if receipt.outcome is Outcome.CONFLICT:
            told[line] = {"status": "refused", "line": line, "problem": conflict}
            continue
        told[line] = one
        new += not one.duplicate
        duplicates += one.duplicate
    data = [told[line] for line in sorted(told)]
    refused = len(data) - new - duplicates
    return json_response({"new": new, "duplicates": duplicates, "refused": refused, "data": data})


def _each_acknowledged(records: Sequence[RawTransaction], stored: Sequence[Receipt]) -> list[_Acknowledged]:
    times = {receipt.received_at: "" for receipt in stored}
    for at in times:
        times[at] = at.astimezone(UTC).isoformat()
    return [
        _Acknowledged(receipt_id, raw.source, times[at], "accepted", outcome is Outcome.DUPLICATE)
        for raw, (receipt_id, at, outcome) in zip(records, stored, strict=True)
    ]


def _acknowledged(receipt: Receipt, source: str) -> _Acknowledged:
    at = receipt.received_at.astimezone(UTC).isoformat()
    return _Acknowledged(receipt.receipt_id, source, at, "accepted", receipt.outcome is Outcome.DUPLICATE)


def _shown(receipt: ReceiptRow, source: str) -> dict[str, object]:
    is_rejected = receipt.reject_reason is not None
    return {
        "id": str(receipt.receipt_id),
        "source_id": source,
        "received_at": receipt.received_at.astimezone(UTC).isoformat(),
        "updated_at": receipt.changed_at.astimezone(UTC).isoformat(),
        "status": "rejected" if is_rejected else _STATUS[receipt.state],
        "reject_reason": receipt.reject_reason,
    }
