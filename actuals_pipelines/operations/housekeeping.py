"""What must be done daily and nobody asks for: expired raw is destroyed, files that nothing names are deleted."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from actuals_pipelines.landing import delete_unnamed, expire_raw
from actuals_pipelines.store.garbage import collect_garbage
from actuals_pipelines.tenants.environment import TenantEnvironment

log = logging.getLogger(__name__)

LONGEST_RUN = timedelta(days=2)
"""A run that still writes has files that nothing names yet; none runs as long as this."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What one tenant's housekeeping did."""

    raw_units_destroyed: int
    files_deleted: int


def keep_house(environment: TenantEnvironment, now: datetime) -> Kept:
    """Destroy raw units that are older than their source's `raw_days`; delete files that nothing names."""
    destroyed = len(expire_raw(environment, now))
    deleted = collect_garbage(environment, now - LONGEST_RUN) + delete_unnamed(environment, now - LONGEST_RUN)
    log.info("housekeeping: tenant=%s raw_destroyed=%s files_deleted=%s", environment.ref.uuid, destroyed, deleted)
    return Kept(destroyed, deleted)
