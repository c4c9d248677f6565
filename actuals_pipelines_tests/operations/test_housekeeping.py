"""What is done daily: raw expires by its source's days, and files that nothing names go."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from actuals_pipelines.domain.tenant import Tenant
from actuals_pipelines.encryption.keyring import TenantKeys
from actuals_pipelines.operations.housekeeping import LONGEST_RUN, keep_house
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines_tests.conftest import TenantDatabase
from actuals_pipelines_tests.landing.doors import BANK, ERP, Doors


@pytest.fixture
def acme(tenant_database: Callable[..., TenantDatabase], tmp_path: Path) -> Doors:
    """A tenant whose ERP keeps raw ten days and whose bank keeps it a hundred."""
    database = tenant_database()
    prefix = tmp_path / database.ref.prefix
    prefix.mkdir(mode=0o700)
    keys = TenantKeys(database.ref, uuid4().bytes * 2, uuid4().bytes * 2, uuid4().bytes * 2)
    return Doors(
        TenantEnvironment(database.ref, Tenant("acme", (BANK, ERP), ()), database.app, keys, prefix), database.door
    )


def test_raw_that_is_over_goes_and_what_is_not_stays(acme: Doors) -> None:
    """Eleven days later the ERP's raw is destroyed; the bank's is not."""
    erp, bank = acme.land(ERP, b"erp", "1"), acme.land(BANK, b"bank", "1")

    first = keep_house(acme.env, erp.landed_at + timedelta(days=11))
    second = keep_house(acme.env, erp.landed_at + timedelta(days=11))

    assert (first.raw_units_destroyed, second.raw_units_destroyed) == (1, 0)
    assert acme.read(bank) == b"bank"


def test_a_table_file_that_nothing_names_goes_when_no_run_can_still_write_it(acme: Doors) -> None:
    """A crash leaves such files; a run of today may be about to name one."""
    landed = acme.land(BANK, b"bank", "1")
    folder = acme.env.prefix / uuid4().hex
    folder.mkdir()
    old, new = folder / f"{uuid4().hex}.parquet", folder / f"{uuid4().hex}.parquet"
    for path, age in ((old, LONGEST_RUN + timedelta(hours=1)), (new, timedelta(hours=1))):
        path.write_bytes(b"left behind")
        written = (landed.landed_at - age).timestamp()
        os.utime(path, (written, written))

    kept = keep_house(acme.env, landed.landed_at)

    assert (kept.files_deleted, old.exists(), new.exists()) == (1, False, True)
