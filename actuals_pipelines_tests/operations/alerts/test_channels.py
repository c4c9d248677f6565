"""Channels over real TLS: a webhook and a mail server of this test, with the home's own authority."""

from __future__ import annotations

import json
import smtplib
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from actuals_pipelines.operations.alerts.channels import AlertsRefused, Smtp, Webhook, read_settings
from actuals_pipelines.operations.certificates import Certificates, ensure_certificates
from actuals_pipelines.operations.platform import Platform

FACTS = {"event": "opened", "severity": "error", "tenant": "acme"}


@pytest.fixture(scope="module")
def tls(platform: Platform) -> Certificates:
    """A certificate for 127.0.0.1 by the home's authority."""
    return ensure_certificates(platform.home, platform.provider, datetime.now(UTC))


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[int]:
    """Serve in a thread; yields the port."""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]  # type: ignore[misc]
    finally:
        server.shutdown()
        server.server_close()


def server_context(tls: Certificates) -> ssl.SSLContext:
    """What a server shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key, tls.passphrase)
    return context


@contextmanager
def webhook(tls: Certificates, status: int = 200) -> Iterator[tuple[int, list[tuple[dict[str, str], str]]]]:
    """An HTTPS address that takes posts: (its port, what it was sent)."""
    taken: list[tuple[dict[str, str], str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            taken.append((body, self.headers.get("authorization", "")))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on the console."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = server_context(tls).wrap_socket(server.socket, server_side=True)
    with serving(server) as port:
        yield port, taken


@contextmanager
def mail_server(tls: Certificates, *, offers_tls: bool = True) -> Iterator[tuple[int, list[str]]]:
    """As much of RFC 5321 and RFC 3207 as one mail needs: (its port, the lines it was sent)."""
    lines: list[str] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            peer = self.request
            stream = peer.makefile("rwb", buffering=0)
            stream.write(b"220 test ESMTP\r\n")
            while line := stream.readline():
                text = line.decode().rstrip("\r\n")
                lines.append(text)
                word = text.split(" ")[0].upper()
                if word == "EHLO":
                    more = b"250-STARTTLS\r\n" if offers_tls and not isinstance(peer, ssl.SSLSocket) else b""
                    stream.write(b"250-test\r\n" + more + b"250 AUTH PLAIN\r\n")
                elif word == "STARTTLS":
                    stream.write(b"220 go on\r\n")
                    peer = server_context(tls).wrap_socket(peer, server_side=True)
                    stream = peer.makefile("rwb", buffering=0)
                    lines.append("(encrypted)")
                elif word == "AUTH":
                    stream.write(b"235 welcome\r\n")
                elif word == "DATA":
                    stream.write(b"354 end with a dot\r\n")
                    while (line := stream.readline()) != b".\r\n":
                        lines.append(line.decode().rstrip("\r\n"))
                    stream.write(b"250 taken\r\n")
                elif word == "QUIT":
                    stream.write(b"221 bye\r\n")
                    return
                else:
                    stream.write(b"250 ok\r\n")

    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        yield port, lines


def test_a_webhook_is_sent_the_words_and_the_facts_with_its_token(tls: Certificates) -> None:
    with webhook(tls) as (port, taken):
        channel = Webhook("chat", f"https://127.0.0.1:{port}/x", "chat_token", str(tls.ca_certificate))
        channel.send("[actuals] error opened: it is late", "Ask.", FACTS, {"chat_token": "s3cret"}.__getitem__)

    assert taken == [({"text": "[actuals] error opened: it is late\nAsk.", **FACTS}, "Bearer s3cret")]


def test_a_webhook_that_refuses_or_cannot_prove_itself_has_not_taken_it(tls: Certificates) -> None:
    with webhook(tls, status=500) as (port, taken):
        url = f"https://127.0.0.1:{port}/x"
        with pytest.raises(httpx.HTTPStatusError):
            Webhook("chat", url, None, str(tls.ca_certificate)).send("s", "t", FACTS, str)
        with pytest.raises(httpx.ConnectError):
            Webhook("chat", url).send("s", "t", FACTS, str)  # the machine's authorities do not know this one

    assert len(taken) == 1


def test_mail_goes_out_encrypted_and_signed_in(tls: Certificates) -> None:
    ca = str(tls.ca_certificate)
    with mail_server(tls) as (port, lines):
        mail = Smtp("mail", "127.0.0.1", "us@example.com", ["ops@example.com"], port, "starttls", "us", "pw", ca)
        mail.send("[actuals] error opened: it is late", "Ask the sender.", FACTS, {"pw": "s3cret"}.__getitem__)

    before, after = lines[: lines.index("(encrypted)")], lines[lines.index("(encrypted)") :]
    assert [line.split(" ")[0] for line in before] == ["ehlo", "STARTTLS"]
    assert any(line.startswith("AUTH PLAIN") for line in after)
    assert "Subject: [actuals] error opened: it is late" in after
    assert "Ask the sender." in after


def test_a_mail_server_without_tls_is_told_nothing(tls: Certificates) -> None:
    """A channel that quietly went on in clear would show the password to the network."""
    with mail_server(tls, offers_tls=False) as (port, lines):
        mail = Smtp("mail", "127.0.0.1", "us@example.com", ["ops@example.com"], port, user="us", password="pw")
        with pytest.raises(smtplib.SMTPNotSupportedError):
            mail.send("s", "t", FACTS, {"pw": "s3cret"}.__getitem__)

    assert not any(line.split(" ")[0].upper() in ("AUTH", "MAIL", "DATA") for line in lines)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("channels:\n- {kind: webhook, name: chat, url: 'http://chat.example'}", "not https://"),
        ("channels:\n- {kind: webhook, name: chat}", "missing required field `url`"),
        ("channels:\n- {kind: pager, name: chat}", "pager"),
        ("channels:\n- {kind: smtp, name: m, host: h, sender: s, to: [a], user: u}", "both user and password"),
        ("unclaimed_hours: soon", "unclaimed_hours"),
        ("channel: []", "unknown field `channel`"),
    ],
    ids=["clear text", "no address", "unknown kind", "user without password", "no number", "unknown key"],
)
def test_settings_that_are_not_right_are_refused_with_their_place(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "alerts.yaml").write_text(text + "\n")

    with pytest.raises(AlertsRefused, match=complaint):
        read_settings(tmp_path)


def test_a_home_without_settings_has_the_log_alone(tmp_path: Path) -> None:
    assert read_settings(tmp_path).channels == []
