"""A home of our own kind for this session's tests, and its running platform."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from actuals_pipelines.encryption.keyring import TenantKeys
from actuals_pipelines.operations.init_home import init_home
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.settings import Home
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines.tenants.parse import parse_tenant
from actuals_pipelines_tests.conftest import TenantDatabase

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass(frozen=True)
class MadeHome:
    """A home that `actuals init` made, and where its keys lie."""

    home: Home
    keys: Path


@pytest.fixture(scope="session")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeHome]:
    """One home for the session: tests add tenants of their own to it."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ACTUALS_KEYS", str(folder / "keys"))
        environment.delenv("ACTUALS_KEK", raising=False)
        environment.delenv("ACTUALS_HOME", raising=False)
        yield MadeHome(init_home(folder / "home", NOW).home, folder / "keys")


@pytest.fixture(scope="session")
def platform(made_home: MadeHome) -> Iterator[Platform]:
    """The home's server, running."""
    with running_postgres(made_home.home) as running:
        yield running


@pytest.fixture
def applied(tenant_database: Callable[..., TenantDatabase], tmp_path: Path) -> Callable[[str], TenantEnvironment]:
    """Makes a tenant of this YAML, with a database, keys and a prefix, and nothing landed."""

    def make(yaml: str) -> TenantEnvironment:
        database = tenant_database()
        prefix = tmp_path / database.ref.prefix
        prefix.mkdir(mode=0o700)
        keys = TenantKeys(database.ref, uuid4().bytes * 2, uuid4().bytes * 2, uuid4().bytes * 2)
        return TenantEnvironment(database.ref, parse_tenant(yaml, "acme.yaml"), database.app, keys, prefix)

    return make
