"""Connections as hostile or unlucky callers use them: too slow, too large, smuggled, not TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from actuals_pipelines_tests.sources.inbox.conftest import AnInbox, TlsFiles, start_inbox
from actuals_pipelines_tests.sources.inbox.test_app import PATH, an_order


@pytest.fixture(scope="module")
def hurried(inbox: AnInbox, tls_files: TlsFiles) -> Iterator[AnInbox]:
    """An inbox that waits one second for a request's head and for its body."""
    door = start_inbox(inbox.home, tls_files, "--header-seconds", "1", "--body-seconds", "1")
    yield AnInbox(inbox.home, door, tls_files, inbox.keys)
    assert door.stop() == 0


@contextmanager
def connected(inbox: AnInbox) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", inbox.door.port), 20) as plain,
        inbox.tls.trust().wrap_socket(plain, server_hostname="127.0.0.1") as tls,
    ):
        yield tls


def answer_of(tls: ssl.SSLSocket) -> bytes:
    """All that comes until the server ends the connection."""
    pieces = []
    try:
        while piece := tls.recv(65536):
            pieces.append(piece)
    except (ConnectionError, ssl.SSLError):
        pass
    return b"".join(pieces)


def test_a_head_that_comes_byte_by_byte_is_not_waited_for(hurried: AnInbox) -> None:
    with connected(hurried) as tls:
        for byte in b"GET /health HTTP/1.1\r\nx-slow: ":
            try:
                tls.sendall(bytes([byte]))
            except (ConnectionError, ssl.SSLError):
                break
            time.sleep(0.1)
        assert answer_of(tls).startswith(b"HTTP/1.1 408")


def test_a_second_request_is_not_waited_for_either(hurried: AnInbox) -> None:
    with connected(hurried) as tls:
        tls.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert tls.recv(65536).startswith(b"HTTP/1.1 200")
        tls.sendall(b"GET /heal")
        assert b"HTTP/1.1 408" in answer_of(tls)


def test_who_connects_and_says_nothing_is_let_go(hurried: AnInbox) -> None:
    with connected(hurried) as tls:
        assert answer_of(tls).startswith(b"HTTP/1.1 408")


def test_a_body_that_comes_too_slowly_is_refused(hurried: AnInbox) -> None:
    token = hurried.keys["acme"].text
    with connected(hurried) as tls:
        tls.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\ntoken: {token}\r\nContent-Length: 99\r\n\r\n{{".encode())
        assert answer_of(tls).startswith(b"HTTP/1.1 408")


def test_a_head_without_end_is_refused(inbox: AnInbox) -> None:
    with connected(inbox) as tls:
        tls.sendall(b"GET /health HTTP/1.1\r\n")
        try:
            for _ in range(100):
                tls.sendall(b"x-more: " + b"y" * 8000 + b"\r\n")
        except (ConnectionError, ssl.SSLError):
            pass
        said = answer_of(tls)
    assert said == b"" or said.startswith(b"HTTP/1.1 413")  # it may end before its answer is read
    with inbox.client() as client:
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    "lengths",
    [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 5",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Content-Length: +4",
        "Content-Length : 4",
    ],
)
def test_a_request_whose_length_is_not_plain_is_refused(inbox: AnInbox, lengths: str) -> None:
    """Request smuggling: what a proxy in front and this server could read differently."""
    with connected(inbox) as tls:
        tls.sendall(
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\ntoken: {inbox.keys['acme'].text}\r\n{lengths}\r\n\r\n".encode()
            + b"0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        assert answer_of(tls).startswith(b"HTTP/1.1 400")


def test_idle_callers_do_not_keep_others_out(hurried: AnInbox) -> None:
    """Two hundred that say nothing, and one that has something to say."""

    async def meanwhile() -> int:
        context = hurried.tls.trust()
        idle = await asyncio.gather(
            *(asyncio.open_connection("127.0.0.1", hurried.door.port, ssl=context) for _ in range(200))
        )
        with hurried.client() as client:
            status = client.post(PATH, json=an_order()).status_code
        for _, writer in idle:
            writer.close()
        return status

    assert asyncio.run(meanwhile()) == 201
