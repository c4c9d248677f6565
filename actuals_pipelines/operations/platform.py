"""A home whose database server runs, as those see it who administer it. No tenant's process is given one."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from actuals_pipelines.database.server import ServerAddress
from actuals_pipelines.encryption.providers import KeyProvider
from actuals_pipelines.settings import Home


@dataclass(frozen=True, slots=True)
class Platform:
    """A home with its database server running, for whoever administers it."""

    home: Home
    provider: KeyProvider
    address: ServerAddress
    admin: sa.Engine  # makes databases and roles
    control: sa.Engine  # role `control` in the control database
