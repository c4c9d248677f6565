"""The text of a profile -> a profile, or everything that is wrong with it and where.

Checked are its shape, its words and its references; its expressions when it is compiled against a file (`program.py`),
because only a file says which optional columns there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from actuals_pipelines.readers.entries import ENTRY_COLUMNS, KINDS, REFERENCES
from actuals_pipelines.readers.profiles.profile import Amounts, Check, Coded, Column, Days, Entry, Profile, Stated
from actuals_pipelines.readers.profiles.zones import is_zone
from actuals_pipelines.yaml_text import Data, Problem, Steps, YamlRefused, YamlText
from actuals_pipelines.yaml_text import load as load_yaml

_FILES = ("table", "json")
_STATUSES = ("booked", "pending", "informational")
_UNITS = ("major", "minor", "hundredths")
_CODED_FIELDS = ("kind", "status")
_KEYS = (
    "name", "title", "file", "delimiter", "quote", "encodings", "columns", "header", "pad", "records", "metadata",
    "fill_down", "skip", "amounts", "dates", "times", "values", "currency", "entry", "entries", "checks", "balance",
    "movement", "zero_sum", "stated",
)  # fmt: skip
_WORD = re.compile(r"[a-z][a-z0-9_]*\??")
_FORMAT = re.compile(r"(?:[^%]|%-?[aAbBdfgHIjmMnpSuUVwWxXcyYzZG%])*")  # what strptime of the engine knows
_EPOCHS = ("epoch", "epoch_ms")


def load(text: str, origin: str) -> Profile:
    """Read a profile.

    Args:
        origin: the file's name, for complaints.

    Raises:
        YamlRefused: names file, line, column, what was expected and what was found; every problem of its shape.
    """
    return _Loading(load_yaml(text, origin)).profile()


class _Loading:
    """Takes the document apart, and collects what is wrong with it."""

    def __init__(self, document: YamlText) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def profile(self) -> Profile:
        top = self._map((), _KEYS)
        for key in ("name", "columns"):
            if key not in top and isinstance(self.document.data, dict):
                self._wrong((), f"the key {key!r}", "none", "Add it.")
        columns = self._columns()
        common = self._map(("entry",), (*ENTRY_COLUMNS, "when"))
        listed = self._list(("entries",))
        profile = Profile(
            name=self._text(("name",)),
            title=self._text(("title",)) or self._text(("name",)),
            document=self.document,
            file=self._one_of(("file",), _FILES, "table"),
            delimiter={"tab": "\t"}.get(self._text(("delimiter",)), self._text(("delimiter",))) or None,
            quote=self._text(("quote",)) or '"',
            encodings=self._texts(("encodings",)),
            columns=columns,
            header=self._texts(("header",)),
            is_padded=self._one_of(("pad",), ("true", "false"), "false") == "true",
            records=self._texts(("records",)),
            metadata=self._patterns(),
            fill_down=self._texts(("fill_down",)),
            skip=self._text(("skip",)),
            amounts=self._amounts(),
            dates=self._days("dates"),
            times=self._days("times"),
            values=self._pairs(("values",)),
            entries=tuple(
                self._entry(("entries", place), common) for place in range(len(listed))
            ) or (self._entry((), common),),
            checks=tuple(self._check(("checks", place)) for place in range(len(self._list(("checks",))))),
            balance=self._text(("balance",)),
            movement=self._text(("movement",)),
            is_zero_sum=self._one_of(("zero_sum",), ("true", "false"), "false") == "true",
            stated=tuple(self._stated(("stated", place)) for place in range(len(self._list(("stated",))))),
        )  # fmt: skip
        self._known(profile)
        if self.problems:
            raise YamlRefused(tuple(sorted(self.problems, key=lambda each: (each.line, each.column))))
        return profile

    def _known(self, profile: Profile) -> None:
        """Every word that is named is a column, a value or a piece of metadata."""
        words = {column.word for column in profile.columns} | set(profile.metadata)
        for key, days in (("amounts", profile.amounts), ("dates", profile.dates), ("times", profile.times)):
            for place, word in enumerate(days.columns):
                if word not in words:
                    self._wrong((key, "columns", place), "a word of `columns`", f"{word!r}", "Name the column there.")
        zone = profile.times.zone
        if zone and zone not in words and not is_zone(zone):
            what = "a time zone such as Europe/Amsterdam, or the column that names it"
            self._wrong(("times", "zone"), what, f"{zone!r}", "Correct it.")
        for place, word in enumerate(profile.fill_down):
            if word not in words:
                self._wrong(("fill_down", place), "a word of `columns`", f"{word!r}", "Name the column there.")
        for word in profile.values:
            if word in words:
                self._wrong(("values", word), "a new word", f"{word!r}, which is a column", "Choose another.")
        for entry in profile.entries[:1]:
            if "amount" not in entry.fields:
                self._wrong(("entry",), "an `amount`", "none", "State where the amount stands: `amount: ...`.")

    def _columns(self) -> tuple[Column, ...]:
        found = []
        for key in self._map(("columns",), None):
            word = key.removesuffix("?")
            if not _WORD.fullmatch(key):
                self._wrong(("columns", key), "a word of small letters, digits and _", f"{key!r}", "Rename it.")
            headers = self._texts(("columns", key)) or (word,)
            found.append(Column(word, headers, is_required=not key.endswith("?")))
        return tuple(found)

    def _patterns(self) -> dict[str, str]:
        patterns = self._pairs(("metadata",))
        for word, pattern in patterns.items():
            try:
                groups = re.compile(pattern).groups
            except re.error:
                groups = 0
            if groups != 1:
                self._wrong(("metadata", word), "a pattern with one group", "another", "Write e.g. 'IBAN: (\\S+)'.")
        return patterns

    def _amounts(self) -> Amounts:
        steps: Steps = ("amounts",)
        self._map(steps, ("columns", "decimal", "thousands", "unit", "symbols", "round", "decimals"))
        unit = self._one_of((*steps, "unit"), _UNITS, "major")
        decimal = self._one_of((*steps, "decimal"), (".", ","), "." if unit != "major" else "")
        thousands = self._one_of((*steps, "thousands"), (".", ",", "'", "’", "_", " ", "\u00a0", ""), "")
        if thousands and thousands == decimal:
            self._wrong((*steps, "thousands"), "another mark than the decimal one", "the same", "Check a file.")
        return Amounts(
            columns=self._texts((*steps, "columns")),
            decimal=decimal or None,
            thousands=thousands,
            unit=unit,
            symbols=self._texts((*steps, "symbols")),
            is_rounded=self._one_of((*steps, "round"), ("half_up",), "") == "half_up",
            decimals=int(self._one_of((*steps, "decimals"), tuple("345678"), "4")),
        )

    def _days(self, key: str) -> Days:
        self._map((key,), ("columns", "formats", "zone"))
        formats = self._texts((key, "formats"))
        for place, text in enumerate(formats):
            if not (_FORMAT.fullmatch(text) and "%" in text) and (key == "dates" or text not in _EPOCHS):
                steps = (key, "formats", place) if isinstance(self._at((key, "formats")), list) else (key, "formats")
                self._wrong(steps, "a format such as %d.%m.%Y", f"{text!r}", "Use the letters of strptime.")
        return Days(self._texts((key, "columns")), formats, self._text((key, "zone")))

    def _entry(self, steps: Steps, common: Mapping[str, Data]) -> Entry:
        """One entry: its own fields over the common ones."""
        own = self._map(steps, (*ENTRY_COLUMNS, "when")) if steps else {}
        fields: dict[str, str] = {}
        coded: dict[str, Coded] = {}
        references: dict[str, str] = {}
        for key in {**common, **own}:
            at: Steps = (*steps, key) if key in own else ("entry", key)
            if key in _CODED_FIELDS:
                coded[key] = self._coded(at, tuple(sorted(KINDS)) if key == "kind" else _STATUSES)
            elif key == "references":
                references = self._pairs(at, tuple(sorted(REFERENCES)))
            elif key != "when" and self._at(at) != "":  # left blank: without what all entries have
                fields[key] = self._text(at)
        when = own.get("when") or common.get("when") or ""
        return Entry(str(when), fields, coded, references)

    def _coded(self, steps: Steps, allowed: tuple[str, ...]) -> Coded:
        if isinstance(self._at(steps), str):
            return Coded(constant=self._one_of(steps, allowed, ""))
        self._map(steps, ("of", "is"))
        table = self._pairs((*steps, "is"))
        for word, meaning in table.items():
            if meaning not in allowed:
                self._wrong((*steps, "is", word), " | ".join(allowed), f"{meaning!r}", "Choose one of these.")
        words = self._texts((*steps, "of"))
        if not words:
            self._wrong(steps, "`of`: the column with the source's word", "none", "Add it.")
        return Coded(words=words, table=table)

    def _check(self, steps: Steps) -> Check:
        if isinstance(self._at(steps), str):
            return Check(self._text(steps))
        self._map(steps, ("that", "when", "else"))
        outcome = self._one_of((*steps, "else"), ("reject", "note"), "reject")
        return Check(self._text((*steps, "that")), self._text((*steps, "when")), outcome == "note")

    def _stated(self, steps: Steps) -> Stated:
        names = ("statement", "account", "currency", "credits", "debits", "entries", "opening", "closing")
        found = self._map(steps, (*names, "when"))
        return Stated(
            self._text((*steps, "when")), {name: self._text((*steps, name)) for name in names if name in found}
        )

    # What stands at a place, as what it should be.

    def _at(self, steps: Steps) -> Data | None:
        found: Data | None = self.document.data
        for step in steps:
            if isinstance(found, dict):
                found = found.get(str(step))
            elif isinstance(found, list) and isinstance(step, int) and step < len(found):
                found = found[step]
            else:
                return None
        return found

    def _map(self, steps: Steps, allowed: tuple[str, ...] | None) -> dict[str, Data]:
        found = self._at(steps)
        if found is None or found == "":
            return {}
        if not isinstance(found, dict):
            self._wrong(steps, "keys with values", "something else", "Write `key: value` lines.")
            return {}
        for key in found:
            if allowed is not None and key not in allowed:
                problem = self.document.problem_at_key(
                    (*steps, key), f"one of {', '.join(allowed)}", f"{key!r}", "Correct the spelling, or delete it."
                )
                self.problems.append(problem)
        return found

    def _list(self, steps: Steps) -> list[Data]:
        found = self._at(steps)
        if found is None:
            return []
        if not isinstance(found, list):
            self._wrong(steps, "a list", "something else", "Begin each item with `- `.")
            return []
        return found

    def _text(self, steps: Steps) -> str:
        found = self._at(steps)
        if found is None:
            return ""
        if not isinstance(found, str):
            self._wrong(steps, "a text", "a list or keys", "Write one value.")
            return ""
        return found

    def _texts(self, steps: Steps) -> tuple[str, ...]:
        """A text, or a list of texts."""
        found = self._at(steps)
        if isinstance(found, str):
            return (found,)
        return tuple(self._text((*steps, place)) for place in range(len(self._list(steps))))

    def _pairs(self, steps: Steps, allowed: tuple[str, ...] | None = None) -> dict[str, str]:
        return {key: self._text((*steps, key)) for key in self._map(steps, allowed)}

    def _one_of(self, steps: Steps, allowed: tuple[str, ...], default: str) -> str:
        found = self._text(steps) if self._at(steps) is not None else default
        if found != default and found not in allowed:
            self._wrong(steps, " | ".join(each or "''" for each in allowed), f"{found!r}", "Choose one of these.")
            return default
        return found

    def _wrong(self, steps: Steps, expected: str, found: str, advice: str) -> None:
        self.problems.append(self.document.problem(steps, expected, found, advice))
