"""Deletes raw containers that no row names: what a process left that was killed between the file and its row.

Their keys would have stood in the row, so nobody can open them; whoever delivered was not told that it had arrived.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.landing.raw import FOLDER

if TYPE_CHECKING:
    from actuals_pipelines.tenants.environment import TenantEnvironment

log = logging.getLogger(__name__)

DROP_FOLDER = "drop"
"""Where the sFTP drop writes (`sources.sftp.upload`)."""


def delete_unnamed(env: TenantEnvironment, older_than: datetime) -> int:
    """Delete containers without a row that were last written before `older_than`; return how many.

    `older_than` must lie before the start of any delivery that is still under way.
    """
    deleted = 0
    for folder in (FOLDER, DROP_FOLDER):
        found = {f"{folder}/{path.name}": path for path in (env.prefix / folder).glob("*")}
        for name in found.keys() - _named(env, list(found)):
            path = found[name]
            if datetime.fromtimestamp(path.stat().st_mtime, UTC) < older_than:
                path.unlink(missing_ok=True)
                deleted += 1
    if deleted:
        log.warning("raw files without a row deleted: tenant=%s files=%s", env.ref.uuid, deleted)
    return deleted


def _named(env: TenantEnvironment, paths: list[str]) -> set[str]:
    wanted = sa.cast(paths, sa.ARRAY(sa.Text))
    with env.engine.begin() as connection:
        return {
            path
            for table in (tables.arrival, tables.unit)
            for path in connection.scalars(sa.select(table.c.path).where(table.c.path == sa.any_(wanted)))
        }
