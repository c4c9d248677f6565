# ruff: noqa: S608 - texts of configuration go through the closed expression language, names and literals are quoted
"""A profile compiled against one file: the SQL that turns its records into entries, column by column.

Three steps, each a SELECT around the one before: cells (text), typed (amounts, days and instants read, what cannot be
read named in `_bad`) and entries. It is one query for the whole file, because compiling it costs as much as running it
over a hundred thousand records.

In an expression a blank amount counts as 0; where all its amounts are blank, there is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from actuals_pipelines.expressions import Expression, ExpressionRefused, literal, parse, parse_field, quoted
from actuals_pipelines.readers.entries import ENTRY_COLUMNS
from actuals_pipelines.readers.profiles import marks
from actuals_pipelines.readers.profiles.profile import AMOUNT_FIELDS, Coded, Entry, Profile
from actuals_pipelines.tables import LINE
from actuals_pipelines.yaml_text import Steps

OPTIONS = ("account", "currency", "zone")
"""What a source may say about a file that does not say it itself."""

_NO_TEXT = "CAST(NULL AS VARCHAR)"
_LITERAL_OR_NAME = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"(?! IS )")


@dataclass(frozen=True, slots=True)
class Program:
    """Queries over `records`, the words as trimmed text.

    `entries` gives those of `ENTRY_COLUMNS` that the profile fills, LINE, and of each row `_bad` (field|reason: the
    record is a reject), `_amount` (of what counts), `_unknown` (a word that the kind's table does not have),
    `_movement` and `_balance`, `_noted` (the place of a check that it fails). `stated` gives what the file says about
    its sums.
    """

    entries: str
    stated: tuple[str, ...]


class Compiler:
    """One profile, the words that a file has, its metadata, and what its source adds."""

    def __init__(
        self, profile: Profile, words: tuple[str, ...], metadata: Mapping[str, str | None], options: Mapping[str, str]
    ) -> None:
        self.profile, self.words, self.options = profile, words, options
        self.metadata = metadata
        self.texts = (*(column.word for column in profile.columns), *profile.metadata)
        self.known = [*self.texts, LINE]  # and then the values
        self.amount_words = set(profile.amounts.columns)

    def program(self) -> Program:
        """Compile everything; YamlRefused names the place of an expression that cannot be read."""
        typed = self._typed()
        return Program(
            entries=self._entries(f"SELECT *, {self._outcome()} AS _bad FROM ({typed})"),
            stated=tuple(self._stated(place) for place in range(len(self.profile.stated))),
        )

    # Texts

    def _cells(self) -> str:
        """Every word as text: from the file, the metadata, or null."""
        parts = []
        for word in self.texts:
            given = self.metadata.get(word)
            missing = literal(given) if given else _NO_TEXT
            parts.append(f"{quoted(word) if word in self.words else missing} AS {quoted(word)}")
        return f"SELECT {LINE}, {', '.join(parts)} FROM records"

    def _typed(self) -> str:
        """The query of typed words, what of them could not be read (`_unread`: word|reason), and values.

        Each step is a SELECT of its own, so that what it makes has a name: DuckDB compiles a repeated text each time.
        """
        profile = self.profile
        currency = self.text_field(profile.entries[0], "currency", "'XXX'") if self._scales() else "'XXX'"
        skipped = f" WHERE NOT coalesce({self.predicate(profile.skip, ('skip',))}, false)" if profile.skip else ""
        first: list[str] = [f"{currency} AS _currency"]
        second: list[str] = []
        third: dict[str, str] = {}
        expected: dict[str, str] = {}
        for word in profile.amounts.columns:
            text = quoted(word + "~")
            first.append(f"{marks.clean_amount(quoted(word), profile.amounts)} AS {text}")
            third[word] = marks.amount(text, profile.amounts, "_currency")
            expected[word] = "expected an amount written with the profile's marks"
        for word in profile.dates.columns:
            third[word] = marks.day(quoted(word), profile.dates.formats)
            expected[word] = "expected a date in the profile's format"
        zone = self._zone()
        for word in profile.times.columns:
            local, offset = quoted(word + "~"), quoted(word + "+")
            moment = marks.moment(quoted(word), local, offset, profile.times.formats, zone)
            first.append(f"{moment.local} AS {local}")
            second.append(f"{moment.offset} AS {offset}")
            third[word] = moment.written
            expected[word] = "expected a time in the profile's format"
        query = f"SELECT *, {', '.join(first)} FROM ({self._cells()}){skipped}"
        if second:
            query = f"SELECT *, {', '.join(second)} FROM ({query})"
        read = "".join(f", {sql} AS {quoted(word + ':')}" for word, sql in third.items())
        query = f"SELECT *{read} FROM ({query})"
        names = [f"{quoted(word + ':')} AS {quoted(word)}" if word in third else quoted(word) for word in self.texts]
        bad = [
            f"WHEN {quoted(word)} IS NOT NULL AND {quoted(word + ':')} IS NULL THEN {literal(f'{word}|{what}')}"
            for word, what in expected.items()
        ]
        unread = f"CASE {' '.join(bad)} END" if bad else _NO_TEXT
        query = f"SELECT {LINE}, {', '.join(names)}, {unread} AS _unread FROM ({query})"
        for word, text in profile.values.items():
            query = f"SELECT *, {self.amount(text, ('values', word))} AS {quoted(word)} FROM ({query})"
            self.known.append(word)
            self.amount_words.add(word)
        return query

    def _scales(self) -> bool:
        return self.profile.amounts.unit == "minor" or self.profile.amounts.is_rounded

    def _zone(self) -> str:
        zone = self.options.get("zone") or self.profile.times.zone
        return quoted(zone) if zone in self.texts else literal(zone) if zone else ""

    def _outcome(self) -> str:
        """SQL: `field|reason` of what makes a record a reject, NULL for a good one."""
        profile = self.profile
        arms = ["WHEN _unread IS NOT NULL THEN _unread"]
        for place, check in enumerate(profile.checks):
            if check.is_noted:
                continue
            where = f"{self.predicate(check.when, ('checks', place, 'when'))} AND " if check.when else ""
            that = self.predicate(check.that, ("checks", place))
            arms.append(f"WHEN {where}NOT ({that}) THEN {literal('|contradicts itself: ' + check.that)}")
        fits = []
        for place, entry in enumerate(profile.entries):
            when = self._when(place, entry)
            fits.append(when)
            missing = f"({when}) AND ({self.amount(entry.fields['amount'], (*self._steps(place), 'amount'))}) IS NULL"
            arms.append(f"WHEN {missing} THEN 'amount|there is none'")
            status = entry.coded.get("status")
            if status and status.words:
                lookup = self._lookup(status, (*self._steps(place), "status"))
                arms.append(f"WHEN ({when}) AND {lookup} IS NULL THEN 'status|not in the profile''s table'")
        if "true" not in fits:
            arms.append(f"WHEN NOT ({' OR '.join(fits)}) THEN '|no entry of the profile fits it'")
        return f"CASE {' '.join(arms)} END"

    # Entries

    def _entries(self, typed: str) -> str:
        """Every entry of every record. Fields that the entries share are computed once, the others by `_place`."""
        profile = self.profile
        made = [self._fields(place, entry) for place, entry in enumerate(profile.entries)]
        inner = ", ".join(f"{self._by_place([each[name] for each in made])} AS {quoted(name)}" for name in made[0])
        whens = self._by_place([self._when(place, entry) for place, entry in enumerate(profile.entries)])
        places = f", (VALUES {', '.join(f'({place})' for place in range(len(made)))}) places(_place)"
        source = f"({typed}){places if len(made) > 1 else ''}"
        is_first = "_place = 0" if len(made) > 1 else "true"
        rows = f"SELECT {inner}, {LINE}, _bad, {is_first} AS _first FROM {source} "
        rows += f"WHERE CASE WHEN _bad IS NULL THEN {whens} ELSE {is_first} END"
        outer = {name: quoted(name) for name in ENTRY_COLUMNS}
        for name in AMOUNT_FIELDS:
            if any(name in entry.fields for entry in profile.entries):
                outer[name] = marks.amount_text(quoted(name), profile.amounts)
        outer["kind"] = "coalesce(kind, 'other')"
        outer["booked_on"], outer["value_date"] = "left(booked_on, 10)", "left(value_date, 10)"
        outer["timestamp"] = "CASE WHEN substr(timestamp, -6, 1) IN ('+', '-') THEN timestamp END"
        outer["references"] = "CASE WHEN \"references\" <> '' THEN '{' || substr(\"references\", 2) || '}' END"
        blank = {name for name in ENTRY_COLUMNS if all(each[name] == _NO_TEXT for each in made)}
        written = ", ".join(f"{sql} AS {quoted(name)}" for name, sql in outer.items() if name not in blank)
        return (
            f"SELECT {written}, {LINE}, _bad, "
            "CASE WHEN level = 'entry' AND status = 'booked' THEN amount END AS _amount, "
            "CASE WHEN kind IS NULL THEN coalesce(left(_word, 40), '') END AS _unknown, "
            "CASE WHEN _first THEN _movement END AS _movement, CASE WHEN _first THEN _balance END AS _balance, "
            f"CASE WHEN _first THEN _noted END AS _noted FROM ({rows})"
        )

    def _by_place(self, sqls: list[str]) -> str:
        if len(set(sqls)) == 1:
            return sqls[0]
        return f"CASE _place {' '.join(f'WHEN {place} THEN {sql}' for place, sql in enumerate(sqls))} END"

    def _fields(self, place: int, entry: Entry) -> dict[str, str]:
        """SQL of an entry's fields under their names, amounts as amounts."""
        steps = self._steps(place)
        kind = entry.coded.get("kind", Coded(constant="other"))
        made: dict[str, str] = {}
        for name in ENTRY_COLUMNS:
            if name in AMOUNT_FIELDS:
                used = any(name in each.fields for each in self.profile.entries)
                made[name] = self._amount_of(entry.fields.get(name), (*steps, name)) if used else _NO_TEXT
            elif name == "kind":
                made[name] = literal(kind.constant) if kind.constant else self._lookup(kind, (*steps, name))
            elif name == "status" and name in entry.coded:
                made[name] = self._coded(entry.coded[name], (*steps, name))
            elif name == "references":
                made[name] = self._references(place, entry)
            else:
                made[name] = self.text_field(entry, name, self._default(entry, name, place))
        made["_word"] = self._text(kind.words[0], (*steps, "kind", "of")) if kind.words else _NO_TEXT
        profile = self.profile
        chained = bool(profile.balance) and place == 0
        movement = profile.movement or profile.entries[0].fields["amount"]
        made["_movement"] = self._amount_of(movement if chained else None, ("movement",))
        made["_balance"] = self._amount_of(profile.balance if chained else None, ("balance",))
        made["_noted"] = self._noted() if place == 0 else "CAST(NULL AS INTEGER)"
        return made

    def _amount_of(self, text: str | None, steps: Steps) -> str:
        kind = marks.amount_type(self.profile.amounts)
        return f"CAST({self.amount(text, steps) if text else 'NULL'} AS {kind})"

    def _noted(self) -> str:
        """SQL: the place of the first check that the record fails of those that are only noted."""
        arms = []
        for place, check in enumerate(self.profile.checks):
            if check.is_noted:
                where = f"{self.predicate(check.when, ('checks', place, 'when'))} AND " if check.when else ""
                arms.append(f"WHEN {where}NOT {self.predicate(check.that, ('checks', place, 'that'))} THEN {place}")
        return f"CASE {' '.join(arms)} END" if arms else "CAST(NULL AS INTEGER)"

    def _default(self, entry: Entry, name: str, place: int) -> str:
        if name in ("account", "currency"):
            return self._option(name)
        if name == "bank_code" and entry.coded.get("kind", Coded()).words:
            return self._text(entry.coded["kind"].words[0], (*self._steps(place), "kind", "of"))
        return {"level": "'entry'", "status": "'booked'"}.get(name, _NO_TEXT)

    def _option(self, name: str) -> str:
        given = self.options.get(name)
        return literal(given) if given else _NO_TEXT

    def text_field(self, entry: Entry, name: str, default: str) -> str:
        """SQL of a text field of an entry."""
        text = entry.fields.get(name)
        if text is None:
            return default
        place = self.profile.entries.index(entry)
        sql = self._text(text, (*self._steps(place), name))
        if name == "text":
            return f"nullif(trim({sql}), '')"
        return f"coalesce({sql}, {default})" if name in ("account", "currency") else sql

    def _when(self, place: int, entry: Entry) -> str:
        if not entry.when:
            return "true"
        return f"coalesce({self.predicate(entry.when, (*self._steps(place), 'when'))}, false)"

    def _references(self, place: int, entry: Entry) -> str:
        """SQL: `,"type":"value"` of those that are there, keys sorted."""
        parts = []
        for name in sorted(entry.references):
            value = f"nullif({self._text(entry.references[name], (*self._steps(place), 'references', name))}, '')"
            parts.append(f"',\"{name}\":' || CAST(to_json({value}) AS VARCHAR)")
        return f"concat({', '.join(parts)})" if parts else _NO_TEXT

    def _coded(self, coded: Coded, steps: Steps) -> str:
        return literal(coded.constant) if coded.constant else self._lookup(coded, steps)

    def _lookup(self, coded: Coded, steps: Steps) -> str:
        arms = " ".join(f"WHEN {literal(word)} THEN {literal(meaning)}" for word, meaning in coded.table.items())
        tries = [f"CASE {self._text(word, (*steps, 'of'))} {arms} END" for word in coded.words] if arms else []
        return f"coalesce({', '.join([*tries, 'NULL'])})"

    # What is counted

    def _stated(self, place: int) -> str:
        stated = self.profile.stated[place]
        currency = self._stated_field(place, "currency")
        parts = []
        for name in ("statement", "account", "currency", "credits", "debits", "entries", "opening", "closing"):
            value = self._stated_field(place, name)
            if name in ("credits", "debits", "opening", "closing") and value != "NULL":
                value = marks.minor_units(f"({value})", marks.scale(currency))
            parts.append(f"{value} AS {quoted(name)}")
        steps: Steps = ("stated", place, "when")
        where = f" WHERE {self.predicate(stated.when, steps)}" if stated.when else " LIMIT 1"
        return f"SELECT {', '.join(parts)} FROM ({self._cells()}){where}"

    def _stated_field(self, place: int, name: str) -> str:
        text = self.profile.stated[place].fields.get(name)
        return "NULL" if text is None else self._compile(text, ("stated", place, name)).sql

    # Expressions

    def amount(self, text: str, steps: Steps) -> str:
        """SQL of an amount: blanks count as 0, unless all are blank."""
        compiled = self._compile(text, steps)
        if compiled.columns and not compiled.columns & self.amount_words and "number(" not in text:
            raise self.profile.refuse(
                steps, "an amount", "columns that are text", "Name them in `amounts: columns`, or write number(word)."
            )
        return self._blank_as_zero(compiled)

    def predicate(self, text: str, steps: Steps) -> str:
        """SQL of a condition; blank amounts in it count as 0, but for IS NULL."""
        compiled = self._compile(text, steps, is_predicate=True)
        return f"({self._filled(compiled)})"

    def _text(self, text: str, steps: Steps) -> str:
        return f"({self._compile(text, steps).sql})"

    def _blank_as_zero(self, compiled: Expression) -> str:
        used = sorted(compiled.columns & self.amount_words)
        if not used:
            return compiled.sql
        return f"CASE WHEN coalesce({', '.join(map(quoted, used))}) IS NOT NULL THEN {self._filled(compiled)} END"

    def _filled(self, compiled: Expression) -> str:
        names = {quoted(word) for word in compiled.columns & self.amount_words}
        return _LITERAL_OR_NAME.sub(
            lambda found: f"coalesce({found[0]}, 0)" if found[0] in names else found[0], compiled.sql
        )

    def _compile(self, text: str, steps: Steps, *, is_predicate: bool = False) -> Expression:
        where = f"profile {self.profile.name}"
        functions = {"number": self._number}
        try:
            if not is_predicate and text in self.known:
                return parse_field(text, self.known, where)
            return parse(text, self.known, where, functions=functions, is_predicate=is_predicate)
        except ExpressionRefused as error:
            raise self.profile.refuse(steps, "an expression", error.what, f"Allowed: {error.allowed}.") from None

    def _number(self, arguments: object) -> str:
        """number(word): a text column as an amount, for records whose columns mean something else."""
        [column] = arguments if isinstance(arguments, list | tuple) else [None]
        if not isinstance(column, exp.Column) or column.name not in self.texts:
            raise ValueError("the word of one column")
        return marks.amount(
            marks.clean_amount(quoted(column.name), self.profile.amounts), self.profile.amounts, "'XXX'"
        )

    def _steps(self, place: int) -> Steps:
        return ("entries", place) if ("entries", place) in self.profile.document.values else ("entry",)
