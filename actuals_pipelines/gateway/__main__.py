"""`python -m actuals_pipelines.gateway`: Dagster's UI behind the guard, over TLS, on one port."""

from __future__ import annotations

import socket
from pathlib import Path

import click
import uvicorn

from actuals_pipelines.gateway.dagster_ui import dagster_app
from actuals_pipelines.gateway.guard import Guard
from actuals_pipelines.settings import gateway_token, tls_passphrase


@click.command()
@click.option("--workspace", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--port", type=int, required=True)
@click.option("--certificate", type=click.Path(exists=True), required=True)
@click.option("--key", type=click.Path(exists=True), required=True)
def serve(workspace: Path, port: int, certificate: str, key: str) -> None:
    """Serve until SIGTERM."""
    # The port is taken before the code locations are waited for, so that nobody else sees it as free meanwhile.
    with socket.create_server(("127.0.0.1", port)) as listener, dagster_app(workspace) as app:
        config = uvicorn.Config(
            Guard(app, host=f"127.0.0.1:{port}", token=gateway_token()),
            ssl_certfile=certificate,
            ssl_keyfile=key,
            ssl_keyfile_password=tls_passphrase(),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=5,
        )
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    serve()
