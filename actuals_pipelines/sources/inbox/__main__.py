"""Run the inbox: `python -m actuals_pipelines.sources.inbox --home HOME --port 8444 --certificate PEM --key PEM`.

ACTUALS_DOOR_KEY must be set (base64), and ACTUALS_TLS_PASSPHRASE if the key file is encrypted. HTTPS only: there is no
plain listener and no redirect. When it is ready it prints one line of JSON on standard output:
{"name": "inbox", "url": "https://127.0.0.1:8444"}. SIGTERM ends it with code 0.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import click
import sqlalchemy as sa
import uvicorn

from actuals_pipelines.settings import door_key, find_home, tls_passphrase
from actuals_pipelines.sources.door import Views, guard_process, show_no_values
from actuals_pipelines.sources.inbox.admission import Admission
from actuals_pipelines.sources.inbox.app import Inbox, inbox_app
from actuals_pipelines.sources.inbox.bodies import Limits
from actuals_pipelines.sources.inbox.connections import GuardedConnection
from actuals_pipelines.sources.inbox.key_uses import EVERY_SECONDS, write_uses
from actuals_pipelines.sources.inbox.receipts import NotDurable

log = logging.getLogger("actuals_pipelines.sources.inbox")

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # TLS 1.2: forward secrecy and authenticated encryption alone


@click.command()
@click.option("--home", "home_folder", metavar="FOLDER", help="The home [default: as `actuals`].")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8444, show_default=True, help="0: any free one.")
@click.option("--certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--key", "key_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--rate", default=Limits().requests_per_second, show_default=True, help="Requests a second and API key.")
@click.option(
    "--header-seconds", default=Limits().header_seconds, show_default=True, help="For a request's head to come."
)
@click.option("--body-seconds", default=Limits().body_seconds, show_default=True, help="For a body to come.")
def main(
    *,
    home_folder: str | None,
    host: str,
    port: int,
    certificate: Path,
    key_file: Path,
    rate: float,
    header_seconds: float,
    body_seconds: float,
) -> None:
    """Take raw transactions over HTTPS, seal them and acknowledge them after commit."""
    guard_process()
    show_no_values()
    home = find_home(home_folder)
    limits = Limits(requests_per_second=rate, burst=2 * rate, header_seconds=header_seconds, body_seconds=body_seconds)
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda *_: None)  # uvicorn raises the signal again when it has stopped: that is no failure
    with socket.create_server((host, port), backlog=2048) as listener, ThreadPoolExecutor(16) as threads:
        admission = Admission(door_key(), threads)
        views = Views(home.doors, door_key(), admission.take)
        views.refresh()
        _refuse_servers_that_forget(admission)
        inbox = Inbox(admission, lambda: views.is_current, limits)
        tls = tls_context(certificate, key_file)
        admission.trust = lambda certificates: trust_clients(tls, certificates)
        admission.trust(admission.certificates)
        server = _Server(uvicorn_config(inbox, tls), lambda: _print_ready(listener))
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(_run(server, listener, views, inbox))
        for tenant in admission.tenants:
            write_uses(tenant)
            tenant.engine.dispose()


async def _run(server: uvicorn.Server, listener: socket.socket, views: Views, inbox: Inbox) -> None:
    following = [asyncio.create_task(views.follow(every_seconds=0.5)), asyncio.create_task(_tidy(inbox))]
    try:
        await server.serve(sockets=[listener])
    finally:
        for task in following:
            task.cancel()


async def _tidy(inbox: Inbox) -> None:
    written_at = time.monotonic()
    while True:
        await asyncio.sleep(5)
        inbox.admission.forget_past_minutes(datetime.now(UTC))
        inbox.rates.forget(time.monotonic())
        if time.monotonic() - written_at >= EVERY_SECONDS:
            written_at = time.monotonic()
            for tenant in inbox.admission.tenants:
                await asyncio.to_thread(write_uses, tenant)


def tls_context(certificate: Path, key_file: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer, with forward secrecy."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.load_cert_chain(certificate, key_file, password=lambda: tls_passphrase() or "")  # never a prompt
    return context


def trust_clients(context: ssl.SSLContext, certificates: Sequence[bytes]) -> None:
    """Take these client certificates (DER) from now on, and ask for one; a caller without is told apart by its key.

    Each is trusted for itself, whoever signed it. One whose key was revoked stays known until the process ends: the
    handshake is let through, and the key is refused.
    """
    if certificates:
        context.load_verify_locations(cadata=b"".join(certificates))
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = ssl.CERT_OPTIONAL


def uvicorn_config(inbox: Inbox, tls: ssl.SSLContext) -> uvicorn.Config:
    """How the server runs: no access log, no banner, no headers from proxies believed."""
    GuardedConnection.header_seconds = inbox.limits.header_seconds
    return uvicorn.Config(
        inbox_app(inbox),
        loop="uvloop",
        http=GuardedConnection,
        ws="none",
        lifespan="off",
        ssl_context_factory=lambda *_: tls,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=2000,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
    )


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def _refuse_servers_that_forget(admission: Admission) -> None:
    """Ask one database of each server before anything is acknowledged; later connections are asked one by one.

    Raises:
        NotDurable: that server would acknowledge what it has not written to disk.
    """
    asked = set()
    for tenant in admission.tenants:
        address = tenant.view.login.address
        if address in asked:
            continue
        asked.add(address)
        try:
            with tenant.engine.connect():
                pass
        except NotDurable:
            raise
        except sa.exc.SQLAlchemyError as error:
            log.error("database does not answer yet: tenant=%s kind=%s", tenant.view.ref.uuid, type(error).__name__)


def _print_ready(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    click.echo(json.dumps({"name": "inbox", "url": f"https://{host}:{port}"}))


if __name__ == "__main__":
    main()
