"""What every room's tests may ask for: a real PostgreSQL, started once per test session."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import hypothesis
import pytest
import sqlalchemy as sa

from actuals_pipelines.database.embedded import EmbeddedPostgres
from actuals_pipelines.database.provision import create_platform, create_tenant
from actuals_pipelines.database.server import ServerAddress, administrator, tenant_engine
from actuals_pipelines.domain.tenant import TenantRef

# No deadline: a busy machine is not a defect. `settings` in a test still say how many examples.
hypothesis.settings.register_profile("project", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("project")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes: a file's tests stay together, and so do the journeys, which share one running home."""
    for item in items:
        folder = item.path.parent.name
        item.add_marker(pytest.mark.xdist_group(folder if folder == "journeys" else str(item.path)))


@dataclass(frozen=True)
class RunningPostgres:
    """A server of this test session: our own embedded one, as `actuals up` starts it."""

    server: EmbeddedPostgres
    address: ServerAddress
    superuser_password: str
    admin: sa.Engine  # superuser, database `postgres`, over the socket


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPostgres]:
    """A running embedded PostgreSQL in a temporary folder; stopped when the session ends."""
    password = secrets.token_urlsafe(24)
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), password)
    try:
        address = server.start()
        admin = administrator(address.url("postgres", server.superuser, password))
        yield RunningPostgres(server, address, password, admin)
        admin.dispose()
    finally:
        server.stop()
        shutil.rmtree(server.folder)  # pytest keeps folders; this one has 10 MB for each database


@pytest.fixture(scope="session")
def platform(postgres: RunningPostgres) -> dict[str, str]:
    """The databases `dagster` and `control` on that server; role -> password."""
    return create_platform(postgres.admin)


@dataclass(frozen=True)
class TenantDatabase:
    """A migrated database of one tenant: its roles' passwords, and an engine for each."""

    ref: TenantRef
    passwords: dict[str, str]  # app, ro, door
    app: sa.Engine
    ro: sa.Engine
    door: sa.Engine


@pytest.fixture(scope="session")
def tenant_database(postgres: RunningPostgres) -> Iterator[Callable[..., TenantDatabase]]:
    """Call it for a tenant's database of one's own: `tenant_database()`, or `tenant_database(ref)`; 0.3 s each."""
    engines: list[sa.Engine] = []

    def make(ref: TenantRef | None = None) -> TenantDatabase:
        ref = ref or TenantRef(uuid4())
        passwords = create_tenant(postgres.admin, ref)
        app, ro, door = (tenant_engine(postgres.address, ref, role, passwords[role]) for role in ("app", "ro", "door"))
        engines.extend((app, ro, door))
        return TenantDatabase(ref, passwords, app, ro, door)

    yield make
    for engine in engines:
        engine.dispose()
