"""The secrets that alerts.yaml names: among the home's own passwords, sealed under its KEK."""

from __future__ import annotations

import re

from actuals_pipelines.errors import ConfigurationError
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.platform_credentials import read_platform_credentials, write_platform_credentials

_PREFIX = "alert "
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class AlertSecretRefused(ConfigurationError):
    """A channel's secret is not set, or cannot be set so."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return f"The secret {self.name!r} {self.reason}. Set it with `actuals alert secret NAME`."


def alert_secret(platform: Platform, name: str) -> str:
    """The secret of that name. Raises AlertSecretRefused."""
    found = read_platform_credentials(platform.home, platform.provider).get(_PREFIX + name)
    if found is None:
        raise AlertSecretRefused(name, "is not set")
    return found


def set_alert_secret(platform: Platform, name: str, value: str) -> None:
    """Keep a secret; takes the place of the one before. Raises AlertSecretRefused."""
    if not _NAME.fullmatch(name):
        raise AlertSecretRefused(name, "has a name that is not of small letters, digits and _, beginning with a letter")
    if not value:
        raise AlertSecretRefused(name, "is empty")
    passwords = read_platform_credentials(platform.home, platform.provider)
    write_platform_credentials(platform.home, platform.provider, {**passwords, _PREFIX + name: value})
