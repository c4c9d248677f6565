"""The processes of a running home: their commands, addresses and health.

Each child gets exactly the secrets it needs, through its environment: doors the door key, the code location and the
daemon Dagster's database, the gateway its token. None but the code location opens a tenant's keyring.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import sqlalchemy as sa

from actuals_pipelines.database.server import ServerAddress, engine
from actuals_pipelines.encryption.durable import write_durably
from actuals_pipelines.encryption.providers import KeyProvider, platform_key, provider_for
from actuals_pipelines.encryption.secrecy import derived_key
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.certificates import Certificates
from actuals_pipelines.operations.dagster_client import DagsterClient, DagsterRefused
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.platform_credentials import DAGSTER, read_platform_credentials
from actuals_pipelines.settings import Home, base_environment, key_environment

PREFERRED_PORTS = {"dagster": 8443, "inbox": 8444, "sftp": 2222}
COOKIE = "__Host-actuals"

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
# Not in the repository's dagster.yaml: Dagster refuses a file whose variables are not set, also to validate code.
_STORAGE = """
storage:
  custom:
    module: actuals_pipelines.orchestration.storage
    class: PooledPostgresStorage
    config:
      postgres_db:
        hostname: {env: ACTUALS_DAGSTER_PG_HOST}
        port: {env: ACTUALS_DAGSTER_PG_PORT}
        username: {env: ACTUALS_DAGSTER_PG_USER}
        password: {env: ACTUALS_DAGSTER_PG_PASSWORD}
        db_name: dagster
        # SQLAlchemy 2.1 takes a bare postgresql:// for psycopg 3, on which Dagster's NOTIFY fails.
        scheme: postgresql+psycopg2
"""


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


class DagsterNotInitialised(ActualsError):
    """Dagster could not make or migrate its own tables."""

    def __init__(self, log_file: str) -> None:
        super().__init__(log_file)
        self.log_file = log_file

    def __str__(self) -> str:
        return f"Dagster could not prepare its database. Its own words are in {self.log_file}."


@dataclass(frozen=True, slots=True)
class Service:
    """One process of the home."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    url: str

    def __repr__(self) -> str:
        return f"<Service {self.name} at {self.url}>"


@dataclass(frozen=True, slots=True)
class Health:
    """What `actuals status` tells of one service."""

    name: str
    url: str
    healthy: bool


@dataclass(frozen=True, slots=True)
class Running:
    """A running home: the supervisor's process and where its services listen."""

    pid: int
    nonce: str  # of this start; the gateway's token is derived from it and the KEK, and stored nowhere
    ports: Mapping[str, int]
    postgres: ServerAddress

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
    return Running(state["pid"], state["nonce"], state["ports"], _address(state["postgres"]))


def must_run(home: Home) -> Running:
    """The running home. Raises HomeIsNotRunning."""
    found = running(home)
    if found is None:
        raise HomeIsNotRunning(str(home.root))
    return found


def announce(home: Home, postgres: ServerAddress) -> Running:
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
    state = {"pid": pid, "started": started, "nonce": nonce, "ports": ports, "postgres": address}
    write_durably(home.run / "services.json", json.dumps(state).encode(), mode=0o600, replace=True)
    return Running(pid, nonce, ports, postgres.over_tcp())


def withdraw(home: Home) -> None:
    """This process does not run the home any more."""
    found = running(home)
    if found is not None and found.pid == os.getpid():
        (home.run / "services.json").unlink(missing_ok=True)


def gateway_token(home: Home, provider: KeyProvider, nonce: str) -> str:
    """The secret of the link to Dagster's UI: another one at each start, known to whoever holds the KEK."""
    key = derived_key(platform_key(provider, home.uuid, "credentials"), b"actuals gateway token " + nonce.encode())
    return base64.urlsafe_b64encode(key).decode().rstrip("=")


def socket_folder() -> Path:
    """A new short folder (0700) for unix sockets: a path over 100 characters does not fit one."""
    return Path(tempfile.mkdtemp(prefix="actuals-"))


def prepare_dagster(platform: Platform, passwords: Mapping[str, str], sockets: Path) -> Path:
    """Write DAGSTER_HOME and make Dagster's tables once, before parallel starts would race for it.

    Returns:
        the workspace file, which names the code location by its socket: on a port any local user could start runs.
    """
    home = platform.home
    home.dagster.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home.dagster / "dagster.yaml").write_text(dagster_yaml(platform.address))
    workspace = home.dagster / "workspace.yaml"
    workspace.write_text(
        f"load_from:\n  - grpc_server: {{socket: {json.dumps(str(sockets / 'location'))}, location_name: actuals}}\n"
    )
    log_file = home.run / "dagster-migrate.log"
    with log_file.open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-m", "dagster", "instance", "migrate"],
            env=_dagster_environment(home, platform.address, passwords),
            stdout=log,
            stderr=log,
            check=False,
            timeout=300,
        )
    if done.returncode:
        raise DagsterNotInitialised(str(log_file))
    return workspace


def dagster_yaml(address: ServerAddress) -> str:
    """The home's dagster.yaml: the repository's, and the home's PostgreSQL as storage, verified as its address says."""
    tls = f"        params: {json.dumps(dict(address.tls))}\n" if address.tls else ""
    return (_PACKAGE_ROOT / "dagster.yaml").read_text() + _STORAGE + tls


def home_services(
    platform: Platform,
    passwords: Mapping[str, str],
    *,
    certificates: Certificates,
    found: Running,
    workspace: Path,
    sockets: Path,
    look_every_seconds: int,
) -> list[Service]:
    """Every process that `actuals up` supervises, in the order of their start."""
    home, python = platform.home, sys.executable
    base = {**base_environment(), "ACTUALS_HOME": str(home.root)}
    dagster = _dagster_environment(home, platform.address, passwords)
    tls = ("--certificate", str(certificates.certificate), "--key", str(certificates.key))
    tls_environment = {"ACTUALS_TLS_PASSPHRASE": certificates.passphrase}
    doors = base64.b64encode(platform_key(platform.provider, home.uuid, "doors")).decode()
    door = {**base, "ACTUALS_DOOR_KEY": doors}
    token = gateway_token(home, platform.provider, found.nonce)
    ports = found.ports
    location = {
        **dagster,
        **key_environment(),
        "ACTUALS_LOOK_EVERY_SECONDS": str(look_every_seconds),
        "GX_ANALYTICS_ENABLED": "false",
    }
    code_server = ("code-server", "start", "--module-name", "actuals_pipelines.definitions", "--attribute", "defs")
    return [
        Service(
            "location",
            (
                python,
                "-m",
                "dagster",
                *code_server,
                "--socket",
                str(sockets / "location"),
                "--location-name",
                "actuals",
            ),
            location,
            f"unix:{sockets / 'location'}",
        ),
        Service(
            "inbox",
            (
                python,
                "-m",
                "actuals_pipelines.sources.inbox",
                "--home",
                str(home.root),
                "--port",
                str(ports["inbox"]),
                *tls,
            ),
            {**door, **tls_environment},
            found.url("inbox"),
        ),
        Service(
            "sftp",
            (python, "-m", "actuals_pipelines.sources.sftp", "--home", str(home.root), "--port", str(ports["sftp"])),
            door,
            found.url("sftp"),
        ),
        Service(
            "dagster",
            (
                python,
                "-m",
                "actuals_pipelines.gateway",
                "--workspace",
                str(workspace),
                "--port",
                str(ports["dagster"]),
                *tls,
            ),
            {**dagster, **tls_environment, "ACTUALS_GATEWAY_TOKEN": token},
            found.url("dagster"),
        ),
        Service(
            "daemon",
            (python, "-m", "dagster._daemon", "run", "--workspace", str(workspace)),
            dagster,
            f"unix:{sockets / 'location'}",
        ),
    ]


def health(home: Home) -> list[Health]:
    """Ask each service whether it does its work; all unhealthy where the home is not running."""
    found = running(home)
    if found is None:
        return [Health(name, "", False) for name in ("postgres", "inbox", "sftp", "dagster", "daemon")]
    passwords = read_platform_credentials(home, provider_for(home))
    address = found.postgres
    database = engine(address, "dagster", "dagster", passwords[DAGSTER], name="actuals health")
    try:
        return [
            Health("postgres", f"postgresql://{address.host}:{address.port}", _answers(database, "select 1")),
            Health("inbox", found.url("inbox"), _is_up(home, f"{found.url('inbox')}/health")),
            Health("sftp", found.url("sftp"), _greets(found.ports["sftp"])),
            Health("dagster", found.url("dagster"), _has_loaded(home, found)),
            Health("daemon", "", _answers(database, _HEARTBEAT)),
        ]
    finally:
        database.dispose()


_HEARTBEAT = (
    "select 1 from daemon_heartbeats where daemon_type = 'SENSOR' "
    "and timestamp > (now() at time zone 'utc') - interval '90 seconds'"  # it is written every 30
)


def dagster_link(home: Home, found: Running) -> str:
    """The link that opens Dagster's UI: it carries the token."""
    return f"{found.url('dagster')}/enter?token={gateway_token(home, provider_for(home), found.nonce)}"


def trusted(home: Home) -> ssl.SSLContext:
    """A TLS context that trusts the home's own authority and nothing else."""
    return ssl.create_default_context(cafile=str(home.tls / "ca.pem"))


def status_document(home: Home) -> dict[str, Any]:
    """What `actuals status --json` prints."""
    return {
        "home": str(home.root),
        "ca_certificate": str(home.tls / "ca.pem"),
        "asked_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "services": [{"name": one.name, "url": one.url, "healthy": one.healthy} for one in health(home)],
    }


def _dagster_environment(home: Home, address: ServerAddress, passwords: Mapping[str, str]) -> dict[str, str]:
    return {
        **base_environment(),
        "ACTUALS_HOME": str(home.root),
        "DAGSTER_HOME": str(home.dagster),
        "ACTUALS_DAGSTER_PG_HOST": address.host,
        "ACTUALS_DAGSTER_PG_PORT": str(address.port),
        "ACTUALS_DAGSTER_PG_USER": "dagster",
        "ACTUALS_DAGSTER_PG_PASSWORD": passwords[DAGSTER],
        "DAGSTER_EVENT_BATCH_SIZE": "200",  # a fifth of the time of a range run on PostgreSQL
        "PYTHONWARNINGS": "ignore",
    }


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


def _has_loaded(home: Home, found: Running) -> bool:
    """Whether the web server answers and lists the code location as loaded, not merely as there."""
    token = gateway_token(home, provider_for(home), found.nonce)
    client = DagsterClient(found.url("dagster"), (COOKIE, token), str(home.tls / "ca.pem"), timeout_seconds=10)
    try:
        return client.is_loaded()
    except (DagsterRefused, httpx.HTTPError, OSError):
        return False


def _is_up(home: Home, url: str) -> bool:
    try:
        return httpx.get(url, verify=trusted(home), timeout=5, trust_env=False).status_code == httpx.codes.OK
    except (httpx.HTTPError, OSError):
        return False


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _answers(database: sa.Engine, question: str) -> bool:
    try:
        with database.connect() as connection:
            return connection.execute(sa.text(question)).scalar() == 1
    except sa.exc.SQLAlchemyError:
        return False


def all_healthy(states: Sequence[Health]) -> bool:
    """Whether every service does its work."""
    return all(state.healthy for state in states)
