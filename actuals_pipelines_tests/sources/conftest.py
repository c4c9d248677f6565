"""A home with two tenants as `tenant apply` leaves it, and doors run as processes of their own, as `up` runs them."""

from __future__ import annotations

import base64
import json
import os
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from actuals_pipelines.database.provision import create_tenant, drop_tenant
from actuals_pipelines.database.server import tenant_engine, tenant_role
from actuals_pipelines.domain.source import SourceKind
from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.encryption.keyring import TenantKeys, create_keyring
from actuals_pipelines.encryption.providers import EnvironmentProvider, platform_key
from actuals_pipelines.settings import HOME_FILE, Home
from actuals_pipelines.tenants.projections import DatabaseLogin, DoorSource, DoorView, write_door_view
from actuals_pipelines_tests.conftest import RunningPostgres


@dataclass(frozen=True)
class ATenant:
    """A provisioned tenant, its opened keys, and the view that doors get."""

    ref: TenantRef
    keys: TenantKeys
    view: DoorView
    prefix: Path
    app: sa.Engine
    door: sa.Engine

    def source_id(self, name: str) -> UUID:
        return self.view.sources[name].uuid


@dataclass
class ADoor:
    """A door that runs as a process; what it writes to standard error is kept."""

    process: subprocess.Popen[str]
    ready: dict[str, str]
    log: Path

    @property
    def port(self) -> int:
        return int(self.ready["url"].rpartition(":")[2])

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(20)


@dataclass
class AHome:
    """A home on disk, and what a test needs to do in it."""

    home: Home
    door_key: bytes
    tenants: dict[str, ATenant] = field(default_factory=dict)
    doors: list[ADoor] = field(default_factory=list)

    def write_view(self, view: DoorView) -> None:
        write_door_view(self.home.doors, self.door_key, view)

    def start_door(self, name: str, *arguments: str, module: str | None = None, **environment: str) -> ADoor:
        """Start `python -m actuals_pipelines.sources.<name>` on a free port and wait for its ready line."""
        module = module or f"actuals_pipelines.sources.{name}"
        log = self.home.root / f"{name}-{len(self.doors)}.log"
        command = [sys.executable, "-m", module, "--home", str(self.home.root)]
        door_key = base64.b64encode(self.door_key).decode()
        with log.open("w") as errors:
            process = subprocess.Popen(
                [*command, "--port", "0", *arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **environment, "ACTUALS_DOOR_KEY": door_key},
            )
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], 30)
        line = process.stdout.readline() if readable else ""
        if not line:
            process.kill()
            raise AssertionError(f"the door did not start: {log.read_text()}")
        door = ADoor(process, json.loads(line), log)
        self.doors.append(door)
        return door


@pytest.fixture(scope="module")
def a_home(tmp_path_factory: pytest.TempPathFactory, postgres: RunningPostgres) -> Iterator[AHome]:
    """A home with the tenants `acme` and `other`, each with the inbox source `shop` and the sFTP source `bank`."""
    root = tmp_path_factory.mktemp("home")
    uuid = uuid4()
    (root / HOME_FILE).write_text(json.dumps({"home": str(uuid)}))
    provider = EnvironmentProvider(base64.b64encode(secrets.token_bytes(32)).decode())
    made = AHome(Home(root, uuid), platform_key(provider, uuid, "doors"))
    for name in ("acme", "other"):
        made.tenants[name] = _a_tenant(made, name, provider, postgres)
        made.write_view(made.tenants[name].view)
    yield made
    for door in made.doors:
        if door.process.poll() is None:
            door.process.kill()
            door.process.wait()
    for tenant in made.tenants.values():
        tenant.app.dispose()
        tenant.door.dispose()
        drop_tenant(postgres.admin, tenant.ref)


def eventually(what: object, seconds: float = 10.0) -> None:
    """Wait until a callable answers truthfully: a view is followed once a second."""
    assert callable(what)
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def _a_tenant(made: AHome, name: str, provider: EnvironmentProvider, postgres: RunningPostgres) -> ATenant:
    ref = TenantRef(uuid4())
    passwords = create_tenant(postgres.admin, ref)
    keys = create_keyring(made.home.keyrings / f"{ref.prefix}.keyring", ref, provider)
    prefix = made.home.data / ref.prefix
    prefix.mkdir(mode=0o700, parents=True)
    login = DatabaseLogin.at(postgres.address, ref.database, tenant_role(ref, "door"), passwords["door"])
    sources = {
        "shop": DoorSource(uuid4(), SourceKind.INBOX, "ndjson"),
        "returns": DoorSource(uuid4(), SourceKind.INBOX, "ndjson"),
        "bank": DoorSource(uuid4(), SourceKind.SFTP, "camt053"),
        "psp": DoorSource(uuid4(), SourceKind.SFTP, "csv"),
    }
    view = DoorView(ref, name, keys.public_key, login, sources)
    app = tenant_engine(postgres.address, ref, "app", passwords["app"])
    door = tenant_engine(postgres.address, ref, "door", passwords["door"])
    return ATenant(ref, keys, view, prefix, app, door)
