"""Senders' own sample files, which are not ours to copy: ACTUALS_SAMPLES names the folder that holds them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def sample(folder: str, name: str) -> bytes:
    """A sample's bytes; the test is skipped where there are none."""
    named = os.environ.get("ACTUALS_SAMPLES")
    if not named:
        pytest.skip("senders' sample files are not part of the repository; ACTUALS_SAMPLES names their folder")
    return (Path(named) / folder / name).read_bytes()
