"""DAGSTER_HOME of a home: dagster.yaml, workspace.yaml, and Dagster's tables."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import yaml

from actuals_pipelines.database.server import ServerAddress
from actuals_pipelines.encryption.durable import write_durably
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.platform_credentials import DAGSTER
from actuals_pipelines.settings import Home, base_environment

# Not in dagster.yaml itself: Dagster refuses a file whose variables are not set, also to validate code.
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


class DagsterNotInitialised(ActualsError):
    """Dagster could not make or migrate its own tables."""

    def __init__(self, log_file: str) -> None:
        super().__init__(log_file)
        self.log_file = log_file

    def __str__(self) -> str:
        return f"Dagster could not prepare its database. Its own words are in {self.log_file}."


def prepare_dagster(platform: Platform, passwords: Mapping[str, str]) -> None:
    """Write dagster.yaml and make Dagster's tables once, before parallel starts would race for it."""
    home = platform.home
    home.dagster.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home.dagster / "dagster.yaml").write_text(dagster_yaml(platform.address))
    log_file = home.run / "dagster-migrate.log"
    with log_file.open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-m", "dagster", "instance", "migrate"],
            env=dagster_environment(home, platform.address, passwords),
            stdout=log,
            stderr=log,
            check=False,
            timeout=300,
        )
    if done.returncode:
        raise DagsterNotInitialised(str(log_file))


def write_workspace(home: Home, sockets: Path, locations: Sequence[str]) -> Path:
    """Name the code locations for web server and daemon, by socket: on a port any local user could run code."""
    servers = [{"grpc_server": {"socket": str(sockets / name), "location_name": name}} for name in locations]
    path = workspace_file(home)
    write_durably(path, yaml.safe_dump({"load_from": servers}).encode(), mode=0o600, replace=True)
    return path


def workspace_file(home: Home) -> Path:
    """Where a home's workspace.yaml lies."""
    return home.dagster / "workspace.yaml"


def dagster_yaml(address: ServerAddress) -> str:
    """The home's dagster.yaml: the package's, and the home's PostgreSQL as storage, verified as its address says."""
    tls = f"        params: {json.dumps(dict(address.tls))}\n" if address.tls else ""
    return resources.files(__package__).joinpath("dagster.yaml").read_text("utf-8") + _STORAGE + tls


def dagster_environment(home: Home, address: ServerAddress, passwords: Mapping[str, str]) -> dict[str, str]:
    """What every process of Dagster's gets: where it is, and its database's password."""
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
