"""The inbox with a clock that a test puts forward: `ahead` in the home's run folder holds the seconds."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Self

from actuals_pipelines.settings import find_home
from actuals_pipelines.sources.inbox import __main__ as inbox
from actuals_pipelines.sources.inbox import group_commit


class Clock(datetime):
    """Now, and as much later as the file says."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        file = find_home().run / "ahead"
        return super().now(tz) + timedelta(seconds=int(file.read_text()) if file.exists() else 0)


if __name__ == "__main__":
    for module in (inbox, group_commit):
        module.datetime = Clock  # type: ignore[attr-defined]
    inbox.main()
