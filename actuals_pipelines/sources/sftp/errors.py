"""What the drop refuses. The texts go to the customer's client: they hold no name and no value."""

from __future__ import annotations

from actuals_pipelines.errors import ActualsError


class DropRefused(ActualsError):
    """The drop does not do what a client asks."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason, advice)
        self.reason, self.advice = reason, advice

    def __str__(self) -> str:
        return f"{self.reason}. {self.advice}"


class NotPermitted(DropRefused):
    """The drop never does this: reading back, deleting, links, folders."""


class NotThere(DropRefused):
    """There is no such folder or file."""


class UploadRefused(DropRefused):
    """An upload cannot go on; nothing of it was kept."""


class QuotaReached(UploadRefused):
    """An upload is larger than allowed, or the disk is nearly full."""
