"""A tenant with a real database, keys and a folder, for the tests of the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from actuals_pipelines_tests.conftest import TenantDatabase
from actuals_pipelines_tests.store.books import Books, a_book


@pytest.fixture
def acme(tenant_database: Callable[..., TenantDatabase], tmp_path: Path) -> Books:
    """A new tenant with nothing in its store."""
    return a_book(tenant_database(), tmp_path)
