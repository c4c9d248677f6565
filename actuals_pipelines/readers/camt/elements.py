"""What is wanted of an element: texts at paths of local names, whatever version and namespace they come in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Texts = dict[str, str]
"""Name -> the first text found for it. An amount's currency is under its name and CURRENCY, further texts of the same
name are under it and MORE, one a line."""

CURRENCY, MORE = "@Ccy", "+"
_MAX_TAGS = 1_000  # tags and namespaces come from outside


class Plan:
    """Paths below an element ("Refs/EndToEndId") and the names that their texts get; the rest is not looked at.

    Several paths may have one name: what versions name or wrap differently is one thing afterwards.
    """

    def __init__(self, *wanted: Mapping[str, str]) -> None:
        self._root = _Node()
        for paths in wanted:
            for path, name in paths.items():
                node = self._root
                *holders, leaf = path.split("/")
                for step in holders:
                    node = node.below(step)
                node.name(leaf, name)

    def texts(self, element: Any) -> Texts:
        """The wanted texts, trimmed; blank ones are left out."""
        found: Texts = {}
        more: dict[str, list[str]] = {}
        _collect(element, self._root, found, more)
        for name, rest in more.items():
            found[name + MORE] = "\n".join(rest)
        return found


class _Node(dict[str, "tuple[str | None, _Node | None, bool] | None"]):
    """Tag with its namespace -> (name of its text, what is wanted below it, whether it has a currency)."""

    def __init__(self) -> None:
        super().__init__()
        self._steps: dict[str, tuple[str | None, _Node | None, bool]] = {}  # by local name

    def __missing__(self, tag: str) -> tuple[str | None, _Node | None, bool] | None:
        step = self._steps.get(tag.rpartition("}")[2])
        if len(self) < _MAX_TAGS:
            self[tag] = step
        return step

    def below(self, local: str) -> _Node:
        name, node, is_amount = self._steps.get(local, (None, None, False))
        node = node if node is not None else _Node()
        self._steps[local] = (name, node, is_amount)
        return node

    def name(self, local: str, name: str) -> None:
        self._steps[local] = (name, self._steps.get(local, (None, None, False))[1], local.endswith("Amt"))


def _collect(element: Any, node: _Node, found: Texts, more: dict[str, list[str]]) -> None:
    """Elements that are not wanted cost next to nothing, and those are most of a file."""
    for child in element:
        step = node[child.tag]
        if step is None:
            continue
        name, below, is_amount = step
        if below is not None:
            _collect(child, below, found, more)
        if name is None:
            continue
        text = child.text
        if text is None or not (text := text.strip()):
            continue
        if name in found:
            more.setdefault(name, []).append(text)
            continue
        found[name] = text
        if is_amount:
            found[name + CURRENCY] = child.get("Ccy") or ""
