"""A source's mapping turns raw records into transactions, or rejects with a reason.

Nothing here reads a file, knows a store or guesses: what a source's mapping and options leave open is rejected.
"""

from __future__ import annotations

from actuals_pipelines.normalise.iterate import IterateRefused
from actuals_pipelines.normalise.keys import IdSchemeRefused
from actuals_pipelines.normalise.mapping import MappedColumnMissing, MappingRefused
from actuals_pipelines.normalise.sql import OPTIONS, NumberMarksRefused, TimeZoneUnknown
from actuals_pipelines.normalise.transactions import AmountFlow, Normalised, NormalisingFailed, normalise

__all__ = [
    "OPTIONS",
    "AmountFlow",
    "IdSchemeRefused",
    "IterateRefused",
    "MappedColumnMissing",
    "MappingRefused",
    "Normalised",
    "NormalisingFailed",
    "NumberMarksRefused",
    "TimeZoneUnknown",
    "normalise",
]
