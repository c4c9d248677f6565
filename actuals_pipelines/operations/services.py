"""The processes of a running home: their commands and what each of them gets.

Each child gets exactly the secrets it needs, through its environment: doors the door key, a code location Dagster's
database and the key of its own projection, the daemon Dagster's database, the gateway its token. None gets the KEK.
"""

from __future__ import annotations

import base64
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actuals_pipelines.encryption.providers import platform_key
from actuals_pipelines.operations.certificates import Certificates
from actuals_pipelines.operations.dagster_home import dagster_environment, write_workspace
from actuals_pipelines.operations.locations import project
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.running import Running, gateway_token
from actuals_pipelines.settings import base_environment, keep_runs_days


@dataclass(frozen=True, slots=True)
class Service:
    """One process of the home."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    url: str

    def __repr__(self) -> str:
        return f"<Service {self.name} at {self.url}>"


def socket_folder() -> Path:
    """A new short folder (0700) for unix sockets: a path over 100 characters does not fit one."""
    return Path(tempfile.mkdtemp(prefix="actuals-"))


def home_services(
    platform: Platform,
    passwords: Mapping[str, str],
    *,
    certificates: Certificates,
    found: Running,
    look_every_seconds: int,
) -> list[Service]:
    """Every process that `actuals up` supervises, in the order of their start; writes the locations' projections."""
    home = platform.home
    locations = location_services(platform, passwords, found.sockets, look_every_seconds)
    workspace = str(write_workspace(home, found.sockets, [location.name for location in locations]))
    base = {**base_environment(), "ACTUALS_HOME": str(home.root)}
    dagster = dagster_environment(home, platform.address, passwords)
    tls = ("--certificate", str(certificates.certificate), "--key", str(certificates.key))
    tls_environment = {"ACTUALS_TLS_PASSPHRASE": certificates.passphrase}
    doors = base64.b64encode(platform_key(platform.provider, home.uuid, "doors")).decode()
    door = {**base, "ACTUALS_DOOR_KEY": doors}
    token = gateway_token(home, platform.provider, found.nonce)
    gateway = {**dagster, **tls_environment, "ACTUALS_GATEWAY_TOKEN": token}

    def service(name: str, module: str, *options: str, environment: Mapping[str, str]) -> Service:
        command = (sys.executable, "-m", module, *options)
        return Service(name, command, environment, found.url(name) if name in found.ports else "")

    def listens(name: str) -> tuple[str, ...]:
        return ("--home", str(home.root), "--port", str(found.ports[name]))

    ui = ("--workspace", workspace, "--port", str(found.ports["dagster"]), *tls)
    inbox = {**door, **tls_environment}
    return [
        *locations,
        service("inbox", "actuals_pipelines.sources.inbox", *listens("inbox"), *tls, environment=inbox),
        service("sftp", "actuals_pipelines.sources.sftp", *listens("sftp"), environment=door),
        service("dagster", "actuals_pipelines.gateway", *ui, environment=gateway),
        service("daemon", "dagster._daemon", "run", "--workspace", workspace, environment=dagster),
    ]


def location_services(
    platform: Platform, passwords: Mapping[str, str], sockets: Path, look_every_seconds: int
) -> Sequence[Service]:
    """The home's code locations, as its tenants are now; their projections are written anew."""
    dagster = dagster_environment(platform.home, platform.address, passwords)
    more = {
        "ACTUALS_LOOK_EVERY_SECONDS": str(look_every_seconds),
        "ACTUALS_KEEP_RUNS_DAYS": str(keep_runs_days()),
        "GX_ANALYTICS_ENABLED": "false",
    }
    made = []
    for name, own in project(platform.home).items():
        serve = ("code-server", "start", "--module-name", "actuals_pipelines.definitions", "--attribute", "defs")
        where = ("--socket", str(sockets / name), "--location-name", name)
        command = (sys.executable, "-m", "dagster", *serve, *where)
        made.append(Service(name, command, {**dagster, **own, **more}, f"unix:{sockets / name}"))
    return made
