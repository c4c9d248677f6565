"""Run the emulator: `python -m actuals_pipelines.operations.psp_emulator --data FOLDER --certificate FILE --key FILE`.

It prints one line of JSON when it listens: `{"port": 40123, "url": "https://127.0.0.1:40123"}`.
`--clients` is a JSON list of `{client_id, client_secret, folder, redirect_uris}`; `folder`, relative to `--data`, holds
that client's `transactions-<day>.ndjson` and `payouts-<day>.ndjson` ("demo/psp_api").
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
from pathlib import Path

import msgspec
import uvicorn

from actuals_pipelines.operations.psp_emulator.app import Limits, make_app
from actuals_pipelines.operations.psp_emulator.authorization import Client


def main(arguments: list[str] | None = None) -> None:
    """Listen until SIGTERM or SIGINT."""
    given = _parser().parse_args(arguments)
    clients = msgspec.json.decode(given.clients.read_bytes(), type=list[Client])
    limits = Limits(given.token_seconds, given.page_limit, given.rate)
    app = make_app(given.data, clients, limits, has_faults=given.faults)
    config = uvicorn.Config(
        app,
        ssl_certfile=given.certificate,
        ssl_keyfile=given.key,
        ssl_keyfile_password=sys.stdin.readline().rstrip("\n") if given.passphrase_stdin else None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    listener = socket.create_server((given.host, given.port))
    port = listener.getsockname()[1]
    sys.stdout.write(json.dumps({"port": port, "url": f"https://{given.host}:{port}"}) + "\n")
    sys.stdout.flush()
    uvicorn.Server(config).run(sockets=[listener])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="psp_emulator", description="A PSP's API behind OAuth 2, for demo and tests.")
    parser.add_argument("--data", type=Path, required=True, help="the folder that `actuals demo-data --out` wrote")
    parser.add_argument("--clients", type=Path, required=True, help="who may ask for tokens (JSON)")
    parser.add_argument("--certificate", required=True, help="TLS certificate chain (PEM)")
    parser.add_argument("--key", required=True, help="its private key (PEM)")
    parser.add_argument("--passphrase-stdin", action="store_true", help="the key's passphrase is stdin's first line")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one, see the printed line")
    parser.add_argument("--token-seconds", type=float, default=60.0, help="how long an access token lives")
    parser.add_argument("--page-limit", type=int, default=250, help="the most rows a page has")
    parser.add_argument("--rate", type=float, default=0.0, help="requests per second and client; 0: no limit")
    parser.add_argument("--faults", action="store_true", help="tests only: open /admin/faults to whoever reaches it")
    return parser


if __name__ == "__main__":
    main()
