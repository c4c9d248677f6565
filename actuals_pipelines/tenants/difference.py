"""What changes between two versions of a tenant's file, in lines that a person can say yes or no to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from actuals_pipelines.tenants.schema import shown
from actuals_pipelines.yaml_text import Data

_NAMED_BY = ("name", "user")
"""Entries of these lists are told apart by name, so that inserting one does not "change" all that follow."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that was added, removed or changed. `path` is readable: sources.shop.mapping.amount."""

    path: str
    kind: str  # added | removed | changed
    before: str | None = None
    after: str | None = None

    def __str__(self) -> str:
        if self.kind == "changed":
            return f"~ {self.path}: {self.before} -> {self.after}"
        sign, value = ("+", self.after) if self.kind == "added" else ("-", self.before)
        return f"{sign} {self.path}" + (f": {value}" if value else "")


@dataclass(frozen=True, slots=True)
class Difference:
    """Every change, in the order of the new file, what was removed last. Empty: nothing changes."""

    changes: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes)

    def __str__(self) -> str:
        return "\n".join(str(change) for change in self.changes) or "Nothing changes."


def difference(before: Data | None, after: Data) -> Difference:
    """Compare two files as plain data; `before` None is a tenant that does not exist yet."""
    if before is None:  # name what a new tenant gets, one by one
        before = {key: [] for key, value in after.items() if isinstance(value, list)} if isinstance(after, dict) else {}
    return Difference(tuple(_changes((), before, after)))


def _changes(path: tuple[str, ...], before: Data, after: Data) -> Iterator[Change]:
    old, new = _parts(before), _parts(after)
    if old is None or new is None:
        if before != after:
            yield Change(_written(path), "changed", _value(before), _value(after))
        return
    for key in (*new, *(key for key in old if key not in new)):
        if key not in new:
            yield Change(_written((*path, key)), "removed", _leaf(old[key]))
        elif key not in old:
            yield Change(_written((*path, key)), "added", None, _leaf(new[key]))
        else:
            yield from _changes((*path, key), old[key], new[key])
    common_old, common_new = [key for key in old if key in new], [key for key in new if key in old]
    if isinstance(after, list) and common_old != common_new:  # of passes and rules the order decides
        yield Change(_written(path), "changed", ", ".join(common_old), ", ".join(common_new))


def _parts(value: Data) -> dict[str, Data] | None:
    """A mapping's parts, or a list's entries by their names; None for what is compared as a whole."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        return None
    named = {}
    for entry in value:
        name = next((entry[key] for key in _NAMED_BY if key in entry), None) if isinstance(entry, dict) else None
        if not isinstance(name, str) or name in named:
            return None
        named[name] = entry
    return named


def _written(path: tuple[str, ...]) -> str:
    return ".".join(f"'{step}'" if " " in step or "." in step else step for step in path)


def _leaf(value: Data) -> str | None:
    return _value(value) if isinstance(value, str) else None


def _value(value: Data) -> str:
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return "[" + ", ".join(str(entry) for entry in value) + "]"
    return value if isinstance(value, str) and len(value) <= 200 else shown(value)
