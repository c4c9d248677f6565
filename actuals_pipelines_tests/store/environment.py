"""A tenant's environment without a database, for what only reads and writes files; and small tables to put in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pyarrow as pa

from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.encryption.keyring import TenantKeys


@dataclass(frozen=True)
class Files:
    """What `store.files` needs of an environment."""

    ref: TenantRef
    keys: TenantKeys
    prefix: Path


def a_tenant_with_files(folder: Path, environment: str = "prod") -> Files:
    """A new tenant with random keys and a folder of its own."""
    ref = TenantRef(uuid4(), environment)
    prefix = folder / ref.prefix
    prefix.mkdir(mode=0o700)
    keys = TenantKeys(ref, uuid4().bytes * 2, uuid4().bytes * 2, uuid4().bytes * 2)
    return Files(ref, keys, prefix)


def payments(*amounts: int, currency: str = "EUR") -> pa.Table:
    """A few rows with random ids: enough for a file."""
    return pa.table(
        {
            "row_uid": uuids(*(uuid4() for _ in amounts)),
            "amount_minor_units": pa.array(amounts, pa.int64()),
            "currency": pa.array([currency] * len(amounts), pa.string()),
        }
    )


def uuids(*values: UUID) -> pa.ExtensionArray:
    """A column of UUIDs."""
    return pa.ExtensionArray.from_storage(pa.uuid(), pa.array([v.bytes for v in values], pa.binary(16)))
