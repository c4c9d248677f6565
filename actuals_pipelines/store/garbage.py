"""Deletes files that a killed process left and that no catalogue row names."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from actuals_pipelines.store import files

if TYPE_CHECKING:
    from actuals_pipelines.tenants.environment import TenantEnvironment

log = logging.getLogger(__name__)


def collect_garbage(env: TenantEnvironment, older_than: datetime) -> int:
    """Delete table files that the catalogue does not name and that were last written before `older_than`.

    `older_than` must lie before the start of any run that still writes: its files are not named yet. This is the one
    place that lists folders. Returns how many files were deleted.
    """
    deleted = 0
    for folder in sorted(p for p in env.prefix.iterdir() if p.is_dir() and _as_uuid(p.name) is not None):
        found = {path: _as_uuid(path.stem) for path in folder.iterdir() if path.suffix in (".parquet", ".aside")}
        with env.engine.begin() as connection:
            named = files.named(connection, [i for i in found.values() if i is not None])
        for path, file_id in found.items():
            written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            if file_id not in named and written < older_than:
                path.unlink(missing_ok=True)
                deleted += 1
    if deleted:
        log.info("unnamed files deleted: tenant=%s files=%s", env.ref.uuid, deleted)
    return deleted


def _as_uuid(name: str) -> UUID | None:
    try:
        return UUID(hex=name)
    except ValueError:
        return None
