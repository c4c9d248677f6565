"""Which names are fetched, and of what day: a name comes from elsewhere, so it is looked at before it is used."""

from __future__ import annotations

import re
from datetime import date
from fnmatch import fnmatchcase

from actuals_pipelines.domain.fetching import Fetching

MAX_BYTES = 255
_UNFINISHED = re.compile(r"(^[.~#])|(~$)|\.(part|filepart|tmp|temp|crdownload|swp|writing)$", re.IGNORECASE)


def is_safe(name: str) -> bool:
    """Whether a listed name is one name: no path, no control or undecodable character, of a length that disks take."""
    encoded = name.encode(errors="surrogatepass")
    return (
        name not in ("", ".", "..")
        and "/" not in name
        and "\\" not in name
        and len(encoded) <= MAX_BYTES
        and name.isprintable()  # no line end, no NUL, no surrogate, no right-to-left override
    )


def is_wanted(name: str, how: Fetching) -> bool:
    """Whether a file of this name is one of the source's: by its pattern, and not a sender's unfinished one."""
    return fnmatchcase(name, how.files) and not _UNFINISHED.search(name)


def day_by_pattern(name: str, pattern: str) -> date | None:
    """The day that the pattern's groups find in a name; None where they find none that is a day."""
    found = re.search(pattern, name)
    if found is None:
        return None
    year, month, day = (found.group(part) for part in ("year", "month", "day"))
    try:
        return date(int(year) + (2000 if len(year) == 2 else 0), int(month), int(day))
    except (TypeError, ValueError):
        return None
