"""The guard before Dagster's UI: what a foreign page, name or websocket tries, and the neighbour that must work."""

from __future__ import annotations

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from actuals_pipelines.gateway.guard import COOKIE, Guard

HOST = "127.0.0.1:8443"
ORIGIN = f"https://{HOST}"
TOKEN = "the-token-of-this-start"
OURS = {"host": HOST, "cookie": f"{COOKIE}={TOKEN}"}


async def _graphql(request: Request) -> PlainTextResponse:
    return PlainTextResponse("reached")


async def _socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("reached")
    await socket.close()


GUARDED = Guard(
    Starlette(
        routes=[
            Route("/graphql", _graphql, methods=["GET", "POST", "PUT"]),
            Route("/runs", _graphql),
            WebSocketRoute("/graphql", _socket),
        ]
    ),
    host=HOST,
    token=TOKEN,
)


def ask(
    method: str, path: str, headers: dict[str, str] | list[tuple[str, str]], content: bytes = b""
) -> httpx.Response:
    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(app=GUARDED)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            request = client.build_request(method, path, headers=headers, content=content)
            return await client.send(request)

    return anyio.run(call)


JSON = {"content-type": "application/json"}


def test_the_operators_own_page_may_read_and_launch() -> None:
    """The neighbour of every refusal below."""
    assert ask("GET", "/runs", OURS).text == "reached"
    assert ask("POST", "/graphql", {**OURS, **JSON, "origin": ORIGIN}).text == "reached"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/graphql?query=mutation%7BlaunchRun%7D", OURS, 405),
        ("POST", "/graphql", {**OURS, **JSON, "origin": "https://evil.example"}, 403),
        ("POST", "/graphql", {**OURS, **JSON}, 403),
        ("POST", "/graphql", {**OURS, **JSON, "origin": "null"}, 403),
        ("POST", "/graphql", {**OURS, "content-type": "text/plain", "origin": ORIGIN}, 415),
        ("POST", "/graphql", {**OURS, "origin": ORIGIN}, 415),
        ("PUT", "/graphql", {**OURS, **JSON, "origin": ORIGIN}, 405),
        ("GET", "/runs", {**OURS, "host": "evil.example:8443"}, 421),
        ("GET", "/runs", {**OURS, "host": "127.0.0.1"}, 421),
        ("GET", "/runs", [("host", HOST), ("host", "evil.example"), ("cookie", OURS["cookie"])], 421),
        ("GET", "/runs", {"host": HOST}, 401),
        ("GET", "/runs", {"host": HOST, "cookie": f"{COOKIE}=wrong"}, 401),
        ("GET", "/enter?token=wrong", {"host": HOST}, 401),
    ],
    ids=[
        "a mutation by GET",
        "a post from a foreign origin",
        "a post without origin",
        "a post from a sandboxed frame",
        "a form dressed as text",
        "a post without content type",
        "another method",
        "a foreign name that resolves here",
        "our name without the port",
        "two hosts",
        "no cookie",
        "a wrong cookie",
        "a wrong link",
    ],
)
def test_what_a_foreign_page_can_send_is_refused(
    method: str, path: str, headers: dict[str, str] | list[tuple[str, str]], status: int
) -> None:
    """Each is a request that a browser can be made to send, or that a scanner tries."""
    answer = ask(method, path, headers)

    assert answer.status_code == status
    assert "reached" not in answer.text


def test_the_printed_link_sets_a_cookie_that_only_this_host_gets() -> None:
    """__Host- cookies are bound to host and path by the browser; scripts cannot read this one."""
    answer = ask("GET", f"/enter?token={TOKEN}", {"host": HOST})

    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 200
    assert cookie == f"{COOKIE}={TOKEN}; Path=/; Secure; HttpOnly; SameSite=Strict"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "reached"),
    [
        ({**OURS, "origin": ORIGIN}, True),
        ({**OURS, "origin": "https://evil.example"}, False),
        (OURS, False),
        ({"host": HOST, "origin": ORIGIN}, False),
        ({**OURS, "host": "evil.example", "origin": ORIGIN}, False),
    ],
    ids=["ours", "foreign origin", "no origin", "no cookie", "foreign host"],
)
def test_a_websocket_needs_host_origin_and_cookie(headers: dict[str, str], reached: bool) -> None:
    """Browsers let any page open a websocket to anyone; only the server can refuse."""
    client = TestClient(GUARDED)

    if reached:
        with client.websocket_connect("/graphql", headers=headers) as socket:
            assert socket.receive_text() == "reached"
    else:
        with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect("/graphql", headers=headers):
            pass
        assert refused.value.code == 4403


def test_refusals_carry_the_security_headers_too() -> None:
    """A 401 is a response like any other to a browser."""
    answer = ask("GET", "/runs", {"host": HOST})

    assert answer.headers["strict-transport-security"].startswith("max-age=31536000")
    assert answer.headers["x-content-type-options"] == "nosniff"
