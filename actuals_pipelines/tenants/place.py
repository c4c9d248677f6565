"""A place in a configuration document: its text, its parts, and how to complain about it.

Parsers read through places once the schema has said that the shapes are right, so they need no type checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from actuals_pipelines.yaml_text import Data, Problem, Steps, YamlText


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value lies, with the list that gathers complaints."""

    document: YamlText
    problems: list[Problem]
    steps: Steps = ()

    @property
    def value(self) -> Data | None:
        """What lies here; None where nothing was written."""
        value: Data = self.document.data
        for step in self.steps:
            if isinstance(value, dict) and step in value:
                value = value[str(step)]
            elif isinstance(value, list) and isinstance(step, int) and step < len(value):
                value = value[step]
            else:
                return None
        return value

    @property
    def exists(self) -> bool:
        """Whether anything was written here."""
        return self.value is not None

    @property
    def is_quoted(self) -> bool:
        """Whether it was written in quotes: a text, whatever it looks like."""
        return self.steps in self.document.quoted

    def __getitem__(self, key: str) -> Place:
        return Place(self.document, self.problems, (*self.steps, key))

    def items(self) -> tuple[Place, ...]:
        """The entries of a list; of a single value, that value; of nothing, none."""
        value = self.value
        if isinstance(value, list):
            return tuple(Place(self.document, self.problems, (*self.steps, index)) for index in range(len(value)))
        return () if value is None else (self,)

    def fields(self) -> dict[str, Place]:
        """The parts of a mapping by key; of nothing, none."""
        value = self.value
        return {key: self[key] for key in value} if isinstance(value, dict) else {}

    def text(self, default: str = "") -> str:
        """The text here, else `default`."""
        value = self.value
        return value.strip() if isinstance(value, str) else default

    def optional(self) -> str | None:
        """The text here; None where nothing was written."""
        value = self.value
        return value.strip() if isinstance(value, str) and value.strip() else None

    def texts(self) -> tuple[str, ...]:
        """A list of texts; a single text is a list of one."""
        return tuple(item.text() for item in self.items())

    def mapping(self) -> dict[str, str]:
        """A mapping of texts to texts, as they stand: a blank may be a thousands mark, a tab a delimiter."""
        return {key: str(place.value) for key, place in self.fields().items()}

    def number(self, default: int) -> int:
        """The whole number here, else `default`."""
        text = self.optional()
        return default if text is None else int(text)

    def is_true(self) -> bool:
        """Whether `true` was written here."""
        return self.text() == "true"

    def day(self, default: date) -> date:
        """The day here, else `default`; a day that no calendar has is a complaint."""
        text = self.optional()
        if text is None:
            return default
        try:
            return date.fromisoformat(text)
        except ValueError:
            self.complain("a day as YYYY-MM-DD", repr(text), "No calendar has that day.")
            return default

    def time_zone(self, default: str) -> str:
        """The time zone here, else `default`; one that does not exist is a complaint."""
        text = self.optional() or default
        try:
            ZoneInfo(text)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self.complain("a time zone by its IANA name", repr(text), "Write it as in 'Europe/Amsterdam' or 'UTC'.")
        return text

    def complain(self, expected: str, found: str, advice: str) -> None:
        """Note a problem at this value."""
        self.problems.append(self.document.problem(self.steps, expected, found, advice))

    def complain_at_key(self, expected: str, found: str, advice: str) -> None:
        """Note a problem at the key that introduces this value."""
        self.problems.append(self.document.problem_at_key(self.steps, expected, found, advice))
