"""Time zones as reports name them: IANA's names, and abbreviations."""

from __future__ import annotations

from zoneinfo import available_timezones

# Adyen and others name a zone by the abbreviation that held at that moment, so each is one offset.
ABBREVIATIONS = {
    "UTC": "+00:00", "GMT": "+00:00", "Z": "+00:00", "WET": "+00:00", "BST": "+01:00", "CET": "+01:00",
    "WEST": "+01:00", "CEST": "+02:00", "EET": "+02:00", "EEST": "+03:00", "EST": "-05:00", "EDT": "-04:00",
    "CST": "-06:00", "CDT": "-05:00", "MST": "-07:00", "MDT": "-06:00", "PST": "-08:00", "PDT": "-07:00",
    "JST": "+09:00", "SGT": "+08:00", "HKT": "+08:00", "AEST": "+10:00", "AEDT": "+11:00", "NZST": "+12:00",
    "NZDT": "+13:00",
}  # fmt: skip


def is_zone(name: str) -> bool:
    """Whether a text names a zone."""
    return name in ABBREVIATIONS or name in available_timezones()
