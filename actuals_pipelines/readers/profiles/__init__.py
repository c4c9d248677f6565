"""Profiles: exports of banks, PSPs, shops and ERPs as formats, each described in a short YAML file (FORMAT.md).

load(text, origin)   a profile of one's own
shipped(name)        one of the library's
find(sample)         which of the library's fit a file, with reasons
"""

from __future__ import annotations

from actuals_pipelines.readers.profiles.finding import Candidate, find
from actuals_pipelines.readers.profiles.library import NAMES, shipped
from actuals_pipelines.readers.profiles.loading import load
from actuals_pipelines.readers.profiles.profile import Profile
from actuals_pipelines.readers.profiles.reader import ProfileReader

__all__ = ["NAMES", "Candidate", "Profile", "ProfileReader", "find", "load", "shipped"]
