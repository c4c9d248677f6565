"""YAML as text with positions: every scalar stays what was written, and every complaint names file, line and column.

YAML's own typing is switched off: `NO`, `0123`, `22:30` and `on` are those four texts; the schema says what they
should be. What makes YAML dangerous or unclear is refused: anchors and aliases (bombs), tags, duplicate keys,
tabs in the indentation, several documents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeAlias

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from actuals_pipelines.errors import ConfigurationError

MAX_CHARACTERS = 1_000_000
MAX_DEPTH = 20

Data: TypeAlias = "str | list[Data] | dict[str, Data]"
Steps: TypeAlias = "tuple[str | int, ...]"
"""Where a value lies in the document: ("packages", 0, "name")."""

# YAML 1.2.2 section 5.1, c-printable
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_Loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader  # only its parser is used: text to events


@dataclass(frozen=True, slots=True)
class Problem:
    """One complaint about one place of a file, for the person who wrote it. Lines and columns count from 1."""

    origin: str
    line: int
    column: int
    expected: str
    found: str
    advice: str

    def __str__(self) -> str:
        return f"{self.origin}:{self.line}:{self.column}: expected {self.expected}, found {self.found}. {self.advice}"


class YamlRefused(ConfigurationError):
    """A configuration file is not what it should be; holds every problem found, in the order of the file."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


@dataclass(frozen=True, slots=True)
class YamlText:
    """A document as plain data, and where each of its values and keys begins (line, column; from 1)."""

    origin: str
    data: Data
    values: Mapping[Steps, tuple[int, int]]
    keys: Mapping[Steps, tuple[int, int]]
    quoted: frozenset[Steps]  # scalars in quotes or blocks: their writer says "this is text"

    def problem(self, steps: Steps, expected: str, found: str, advice: str) -> Problem:
        """A complaint at the value of `steps`, or at the nearest thing above it that exists."""
        while steps and steps not in self.values:
            steps = steps[:-1]
        line, column = self.values.get(steps, (1, 1))
        return Problem(self.origin, line, column, expected, found, advice)

    def problem_at_key(self, steps: Steps, expected: str, found: str, advice: str) -> Problem:
        """A complaint at the key that introduces `steps`."""
        line, column = self.keys.get(steps, (1, 1))
        return Problem(self.origin, line, column, expected, found, advice)


def read_text(path: Path) -> str:
    """Read a configuration file; one that is too large or not UTF-8 is refused."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}. Check the name and your rights.") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        problem = Problem(str(path), line, column, "UTF-8 text", "another encoding", "Save the file as UTF-8.")
        raise YamlRefused((problem,)) from None


def load(text: str, origin: str) -> YamlText:
    """Read one YAML document whose scalars stay text.

    Args:
        origin: the file's name, for complaints.

    Raises:
        YamlRefused: it is no YAML, or holds what is refused (see above); the first problem only.
    """
    if len(text) > MAX_CHARACTERS:
        _refuse(origin, (1, 1), f"at most {MAX_CHARACTERS:,} characters", f"{len(text):,}", "Split the file.")
    text = text.removeprefix("\ufeff")
    _refuse_unprintable(text, origin)
    _refuse_tabs(text, origin)
    composer = _Composer(origin, iter(_events(text, origin)))
    return composer.document()


def _events(text: str, origin: str) -> Iterator[Event]:
    try:
        yield from yaml.parse(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        found = error.problem or "something else"
        found = found.removeprefix("found ")
        advice = "Check indentation, quotes and colons; quote a text that holds ': ' or ' #' or begins with a sign."
        _refuse(origin, (line, column), "YAML", found, advice)
    except yaml.YAMLError:  # without a mark: an encoding it cannot read, which the check above leaves none of
        _refuse(origin, (1, 1), "YAML", "something else", "Save the file as plain UTF-8 text.")


def _refuse_unprintable(text: str, origin: str) -> None:
    found = _UNPRINTABLE.search(text)
    if found:
        at = (text.count("\n", 0, found.start()) + 1, found.start() - text.rfind("\n", 0, found.start()))
        _refuse(origin, at, "printable text", "a control character", "Delete it.")


def _refuse_tabs(text: str, origin: str) -> None:
    for number, line in enumerate(text.split("\n"), start=1):
        indent = line[: len(line) - len(line.lstrip(" \t"))]
        if "\t" in indent and line.strip():
            _refuse(origin, (number, indent.index("\t") + 1), "spaces as indentation", "a tab", "Indent with spaces.")


def _refuse(origin: str, at: tuple[int, int], expected: str, found: str, advice: str) -> NoReturn:
    raise YamlRefused((Problem(origin, *at, expected, found, advice),))


class _Composer:
    """Builds plain data from parser events, and notes where each value and key begins."""

    def __init__(self, origin: str, events: Iterator[Event]) -> None:
        self._origin, self._events = origin, events
        self._values: dict[Steps, tuple[int, int]] = {}
        self._keys: dict[Steps, tuple[int, int]] = {}
        self._quoted: set[Steps] = set()

    def document(self) -> YamlText:
        data: Data | None = None
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                if data is not None:
                    self._stop(event, "one document", "a second one after '---'", "Put it in a file of its own.")
                data = self._value(next(self._events), ())
        if data is None:
            _refuse(self._origin, (1, 1), "a document", "an empty file", "Begin with `name:`.")
        return YamlText(self._origin, data, self._values, self._keys, frozenset(self._quoted))

    def _value(self, event: Event, steps: Steps) -> Data:
        self._check(event, steps)
        self._values[steps] = _begin(event)
        if isinstance(event, ScalarEvent):
            if event.style:
                self._quoted.add(steps)
            return str(event.value)
        if isinstance(event, SequenceStartEvent):
            items: list[Data] = []
            while not isinstance(item := next(self._events), SequenceEndEvent):
                items.append(self._value(item, (*steps, len(items))))
            return items
        fields: dict[str, Data] = {}
        while not isinstance(key := next(self._events), MappingEndEvent):
            name = self._key(key, fields)
            self._keys[(*steps, name)] = _begin(key)
            fields[name] = self._value(next(self._events), (*steps, name))
        return fields

    def _key(self, event: Event, taken: Mapping[str, Data]) -> str:
        self._check(event, ())
        if not isinstance(event, ScalarEvent):
            self._stop(event, "a name before the colon", "a list or mapping", "Quote a text that begins with [ or {.")
        name = str(getattr(event, "value", ""))
        if name in taken:
            self._stop(event, "each key once", f"{name!r} a second time", "Remove one of the two.")
        return name

    def _check(self, event: Event, steps: Steps) -> None:
        if isinstance(event, AliasEvent) or (isinstance(event, NodeEvent) and event.anchor):
            self._stop(event, "plain values", "an anchor or alias (& or *)", "Write it out, or quote the text.")
        if getattr(event, "tag", None) not in (None, "!"):
            self._stop(event, "plain values", "a tag (!)", "Remove the tag, or quote the text.")
        if len(steps) > MAX_DEPTH:
            self._stop(event, f"at most {MAX_DEPTH} levels", "deeper nesting", "Flatten it.")
        if not isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent | AliasEvent):
            self._stop(event, "a value", "the end of the document", "Complete it.")

    def _stop(self, event: Event, expected: str, found: str, advice: str) -> NoReturn:
        _refuse(self._origin, _begin(event), expected, found, advice)


def _begin(event: Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)
