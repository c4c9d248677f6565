"""Which process runs a home, where its services listen, and the link to its Dagster."""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import ssl
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from actuals_pipelines.database.server import ServerAddress
from actuals_pipelines.encryption.durable import write_durably
from actuals_pipelines.encryption.providers import KeyProvider, platform_key, provider_for
from actuals_pipelines.encryption.secrecy import derived_key
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.dagster_client import DagsterClient
from actuals_pipelines.settings import Home

PREFERRED_PORTS = {"dagster": 8443, "inbox": 8444, "sftp": 2222}
COOKIE = "__Host-actuals"


class HomeIsNotRunning(ActualsError):
    """A command needs the home's services."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.root = root

    def __str__(self) -> str:
        return (
            f"The home {self.root} is not running. Start it in another terminal with `actuals up --home {self.root}`."
        )


class HomeIsRunning(ActualsError):
    """`actuals up` already runs this home."""

    def __init__(self, root: str, pid: int) -> None:
        super().__init__(root, pid)
        self.root, self.pid = root, pid

    def __str__(self) -> str:
        return f"The home {self.root} is already running (process {self.pid}). `actuals status` shows its addresses."


@dataclass(frozen=True, slots=True)
class Running:
    """A running home: the supervisor's process and where its services listen."""

    pid: int
    nonce: str  # of this start; the gateway's token is derived from it and the KEK, and stored nowhere
    ports: Mapping[str, int]
    postgres: ServerAddress
    sockets: Path  # short folder (0700): of the code servers, and of the supervisor itself
    look_every_seconds: int

    def url(self, name: str) -> str:
        """Where a service listens."""
        scheme = "sftp" if name == "sftp" else "https"
        return f"{scheme}://127.0.0.1:{self.ports[name]}"


def running(home: Home) -> Running | None:
    """The home's supervisor, if it is alive."""
    try:
        state = json.loads((home.run / "services.json").read_text())
    except FileNotFoundError:
        return None
    try:
        started = psutil.Process(state["pid"]).create_time()
    except psutil.NoSuchProcess:
        return None
    if abs(started - state["started"]) > 1:  # another process got its number
        return None
    address, sockets = _address(state["postgres"]), Path(state["sockets"])
    return Running(state["pid"], state["nonce"], state["ports"], address, sockets, state["look_every_seconds"])


def must_run(home: Home) -> Running:
    """The running home. Raises HomeIsNotRunning."""
    found = running(home)
    if found is None:
        raise HomeIsNotRunning(str(home.root))
    return found


def announce(home: Home, postgres: ServerAddress, sockets: Path, look_every_seconds: int) -> Running:
    """Write down that this process runs the home, with a port for each service. Raises HomeIsRunning."""
    earlier = running(home)
    if earlier is not None:
        raise HomeIsRunning(str(home.root), earlier.pid)
    ports: dict[str, int] = {}
    for name, preferred in PREFERRED_PORTS.items():
        ports[name] = _free_port(preferred, set(ports.values()))
    pid, nonce = os.getpid(), secrets.token_hex(16)
    address = {"host": postgres.host, "port": postgres.port, "tls": postgres.tls}
    started = psutil.Process(pid).create_time()
    state = {
        "pid": pid,
        "started": started,
        "nonce": nonce,
        "ports": ports,
        "postgres": address,
        "sockets": str(sockets),
        "look_every_seconds": look_every_seconds,
    }
    write_durably(home.run / "services.json", json.dumps(state).encode(), mode=0o600, replace=True)
    return Running(pid, nonce, ports, postgres.over_tcp(), sockets, look_every_seconds)


def withdraw(home: Home) -> None:
    """This process does not run the home any more."""
    found = running(home)
    if found is not None and found.pid == os.getpid():
        (home.run / "services.json").unlink(missing_ok=True)


def gateway_token(home: Home, provider: KeyProvider, nonce: str) -> str:
    """The secret of the link to Dagster's UI: another one at each start, known to whoever holds the KEK."""
    key = derived_key(platform_key(provider, home.uuid, "credentials"), b"actuals gateway token " + nonce.encode())
    return base64.urlsafe_b64encode(key).decode().rstrip("=")


def dagster_link(home: Home, found: Running) -> str:
    """The link that opens Dagster's UI: it carries the token."""
    return f"{found.url('dagster')}/enter?token={gateway_token(home, provider_for(home), found.nonce)}"


def dagster_of(home: Home, found: Running, timeout_seconds: float = 60) -> DagsterClient:
    """The running home's Dagster, with the operator's token."""
    token = gateway_token(home, provider_for(home), found.nonce)
    return DagsterClient(found.url("dagster"), (COOKIE, token), str(home.tls / "ca.pem"), timeout_seconds)


def trusted(home: Home) -> ssl.SSLContext:
    """A TLS context that trusts the home's own authority and nothing else."""
    return ssl.create_default_context(cafile=str(home.tls / "ca.pem"))


def _address(recorded: Mapping[str, Any]) -> ServerAddress:
    tls = tuple((str(name), str(value)) for name, value in recorded["tls"])
    return ServerAddress(recorded["host"], recorded["port"], None, tls)


def _free_port(preferred: int, taken: Collection[int]) -> int:
    """`preferred` if it is free on loopback, else the next free one, within a hundred; else any."""
    for port in (*range(preferred, preferred + 100), 0):
        if port in taken or not _reserve(port):
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no port on 127.0.0.1 is free")


_reservations: list[socket.socket] = []


def _reserve(port: int) -> bool:
    """Keep a port for this process from now on, though nobody listens on it yet; false if another home did.

    Two homes that start at the same moment see the same ports free. A name in Linux' abstract socket space is held as
    long as the process lives and leaves nothing behind; elsewhere the first to listen wins.
    """
    if port == 0 or sys.platform != "linux":
        return True
    reservation = socket.socket(socket.AF_UNIX)
    try:
        reservation.bind(f"\0actuals port {port}")
    except OSError:
        reservation.close()
        return False
    _reservations.append(reservation)
    return True
