"""The profiles that come with the product: one YAML file each, whose name is the format's."""

from __future__ import annotations

from functools import cache
from importlib import resources

from actuals_pipelines.readers.profiles.loading import load
from actuals_pipelines.readers.profiles.profile import Profile

NAMES = tuple(
    sorted(path.name.removesuffix(".yaml") for path in resources.files(__package__).iterdir() if ".yaml" in path.name)
)


@cache
def shipped(name: str) -> Profile:
    """One of `NAMES`; KeyError for any other."""
    if name not in NAMES:
        raise KeyError(name)
    text = resources.files(__package__).joinpath(f"{name}.yaml").read_text("utf-8")
    return load(text, f"{name}.yaml")
