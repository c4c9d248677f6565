"""The day that a file's name says it is for."""

from __future__ import annotations

import re
from datetime import date

# 2026-01-31, 2026_01_31, 20260131; not inside a longer number, which is an id and not a day.
_DAY = re.compile(r"(?<!\d)(20\d\d)([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)")


def day_in_name(name: str) -> date | None:
    """The last day written in a file's name ("statement-2026-01-31.xml"); None where there is none that exists."""
    found = None
    for year, _, month, day in _DAY.findall(name):
        try:
            found = date(int(year), int(month), int(day))
        except ValueError:  # 30 February: a name like any other
            continue
    return found
