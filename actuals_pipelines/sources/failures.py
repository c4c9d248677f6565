"""What can go wrong where we ask or fetch. The type tells whether to do so again: transient passes by itself.

Texts name the connection, host and path of the configuration; never a query, header, body, file's name or the
library's own words, which may hold tokens and customers' values.
"""

from __future__ import annotations

from typing import ClassVar, Self

from actuals_pipelines.errors import ActualsError


class SourceFailed(ActualsError):
    """A source did not deliver. `where` is as "connector psp, GET https://host/v1", `found` what came instead."""

    what: ClassVar[str]
    advice: ClassVar[str]

    def __init__(self, where: str, found: str) -> None:
        super().__init__(where, found)
        self.where, self.found = where, found

    def __str__(self) -> str:
        return f"{self.what} ({self.where}): {self.found}. {self.advice}"


class Transient(SourceFailed):
    """May pass by itself: asked again with growing pauses, later given up and left to the next schedule."""

    retry_after_seconds: float | None = None  # as the other side asked for

    def given_up(self, attempts: int) -> Self:
        """The same, told after the last attempt."""
        error = type(self)(self.where, f"{self.found}, at the last of {attempts} attempts")
        error.retry_after_seconds = self.retry_after_seconds
        return error


class Terminal(SourceFailed):
    """Asking again would give the same: somebody must change something."""
