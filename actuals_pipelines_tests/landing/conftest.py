"""A tenant whose doors can be played: database, keys, folder, and sources of each kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from actuals_pipelines.domain.tenant import Tenant
from actuals_pipelines.encryption.keyring import TenantKeys
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines_tests.conftest import TenantDatabase
from actuals_pipelines_tests.landing.doors import BANK, ERP, PSP, SHOP, Doors


@pytest.fixture
def acme(tenant_database: Callable[..., TenantDatabase], tmp_path: Path) -> Doors:
    """A new tenant in Amsterdam with nothing landed."""
    database = tenant_database()
    prefix = tmp_path / database.ref.prefix
    prefix.mkdir(mode=0o700)
    keys = TenantKeys(database.ref, uuid4().bytes * 2, uuid4().bytes * 2, uuid4().bytes * 2)
    tenant = Tenant("acme", (BANK, PSP, ERP, SHOP), (), time_zone="Europe/Amsterdam")
    return Doors(TenantEnvironment(database.ref, tenant, database.app, keys, prefix), database.door)
