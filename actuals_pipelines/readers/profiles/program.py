# ruff: noqa: S608 - texts of configuration go through the closed expression language, names and literals are quoted
"""A profile compiled against one file: the SQL that turns its records into entries, column by column.

Four steps, each a query over a batch: `cells` (text, trimmed, filled down), `typed` (amounts, days and instants read,
what cannot be read named in `_bad`), `entries` (one SELECT for each of the profile's entries), and what is counted.

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

_LITERAL_OR_NAME = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"(?! IS )")


@dataclass(frozen=True, slots=True)
class Program:
    """The queries. `typed` and `stated` read the batch as `records`; the others read what `typed` made."""

    typed: str
    rejects: str
    entries: str
    unknown: str | None  # (word, how many): kinds that the profile's table does not have
    balances: str | None
    stated: tuple[str, ...]
    noted: tuple[tuple[str, str], ...]  # a check, and (how many records fail it, the first line)


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
        selects = [self._entry(place, entry) for place, entry in enumerate(self.profile.entries)]
        bad = self._outcome()
        columns = ", ".join(quoted(name) for name in ENTRY_COLUMNS)
        union = "\nUNION ALL ".join(selects)
        order = f"\nORDER BY {LINE}, _place" if len(selects) > 1 else ""
        return Program(
            typed=f"CREATE OR REPLACE TEMP TABLE typed AS SELECT *, {bad} AS _bad FROM ({typed})",
            rejects=f"SELECT {LINE}, _bad FROM typed WHERE _bad IS NOT NULL ORDER BY {LINE}",
            entries=f"SELECT {columns}, {LINE}, _minor FROM ({union}){order}",
            unknown=self._unknown(),
            balances=self._balances(),
            stated=tuple(self._stated(place) for place in range(len(self.profile.stated))),
            noted=tuple(self._noted(place) for place, check in enumerate(self.profile.checks) if check.is_noted),
        )

    # Texts

    def _cells(self) -> str:
        """Every word as text: from the file, the metadata, or null."""
        parts = []
        for word in self.texts:
            if word in self.words:
                value = f"nullif(trim({quoted(word)}), '')"
            else:
                given = self.metadata.get(word)
                value = literal(given) if given else "CAST(NULL AS VARCHAR)"
            if word in self.profile.fill_down:
                value = f"last_value({value} IGNORE NULLS) OVER (ORDER BY {LINE} ROWS UNBOUNDED PRECEDING)"
                value = f"coalesce({value}, getvariable({literal('fill_' + word)}))"
            parts.append(f"{value} AS {quoted(word)}")
        return f"SELECT {LINE}, {', '.join(parts)} FROM records"

    def _typed(self) -> str:
        """The query of typed words, what of them could not be read (`_unread`: word|reason), and values."""
        profile = self.profile
        currency = self.text_field(profile.entries[0], "currency", "'XXX'") if self._scales() else "'XXX'"
        read: dict[str, tuple[str, str]] = {}
        for word in profile.amounts.columns:
            expected = "an amount written with the profile's marks"
            read[word] = (marks.amount(quoted(word), profile.amounts, currency), expected)
        for word in profile.dates.columns:
            read[word] = (marks.day(quoted(word), profile.dates.formats), "a date in the profile's format")
        zone = self._zone()
        for word in profile.times.columns:
            read[word] = (marks.moment(quoted(word), profile.times.formats, zone), "a time in the profile's format")
        skipped = f" WHERE NOT coalesce({self.predicate(profile.skip, ('skip',))}, false)" if profile.skip else ""
        parsed = "".join(f", {sql} AS {quoted(word + ':')}" for word, (sql, _) in read.items())
        query = f"SELECT *{parsed} FROM ({self._cells()}){skipped}"
        names = [f"{quoted(word + ':')} AS {quoted(word)}" if word in read else quoted(word) for word in self.texts]
        bad = [
            f"WHEN {quoted(word)} IS NOT NULL AND {quoted(word + ':')} IS NULL THEN {literal(f'{word}|{expected}')}"
            for word, (_, expected) in read.items()
        ]
        unread = f"CASE {' '.join(bad)} END" if bad else "CAST(NULL AS VARCHAR)"
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
            missing = f"({when}) AND ({self._amount_of(place, entry)}) IS NULL"
            arms.append(f"WHEN {missing} THEN 'amount|there is none'")
            status = entry.coded.get("status")
            if status and status.words:
                lookup = self._lookup(status, (*self._steps(place), "status"))
                arms.append(f"WHEN ({when}) AND {lookup} IS NULL THEN 'status|not in the profile''s table'")
        if "true" not in fits:
            arms.append(f"WHEN NOT ({' OR '.join(fits)}) THEN '|no entry of the profile fits it'")
        return f"CASE {' '.join(arms)} END"

    # Entries

    def _entry(self, place: int, entry: Entry) -> str:
        currency = self.text_field(entry, "currency", self._option("currency"))
        columns: dict[str, str] = {}
        for name in ENTRY_COLUMNS:
            if name in AMOUNT_FIELDS and name in entry.fields:
                value = self._amount_of(place, entry) if name == "amount" else self._amount_field(place, entry, name)
                columns[name] = marks.amount_text(value)
            elif name in entry.coded:
                columns[name] = self._coded(entry.coded[name], name, (*self._steps(place), name))
            elif name == "references":
                columns[name] = self._references(place, entry)
            else:
                columns[name] = self.text_field(entry, name, self._default(entry, name, place))
        columns["currency"] = currency
        columns["kind"] = columns["kind"] if "kind" in entry.coded else "'other'"
        columns["booked_on"] = f"left({columns['booked_on']}, 10)"
        columns["value_date"] = f"left({columns['value_date']}, 10)"
        moment = columns["timestamp"]
        columns["timestamp"] = f"CASE WHEN substr({moment}, -6, 1) IN ('+', '-') THEN {moment} END"
        counted = f"{columns['level']} = 'entry' AND {columns['status']} = 'booked'"
        minor = marks.minor_units(f"({self._amount_of(place, entry)})", currency)
        selected = ", ".join(f"CAST({sql} AS VARCHAR) AS {quoted(name)}" for name, sql in columns.items())
        return (
            f"SELECT {selected}, {LINE}, {place} AS _place, CASE WHEN {counted} THEN {minor} END AS _minor "
            f"FROM typed WHERE _bad IS NULL AND {self._when(place, entry)}"
        )

    def _default(self, entry: Entry, name: str, place: int) -> str:
        if name in ("account", "currency"):
            return self._option(name)
        if name == "bank_code" and entry.coded.get("kind", Coded()).words:
            return self._text(entry.coded["kind"].words[0], (*self._steps(place), "kind", "of"))
        return {"level": "'entry'", "status": "'booked'"}.get(name, "NULL")

    def _option(self, name: str) -> str:
        given = self.options.get(name)
        return literal(given) if given else "CAST(NULL AS VARCHAR)"

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

    def _amount_of(self, place: int, entry: Entry) -> str:
        return self.amount(entry.fields["amount"], (*self._steps(place), "amount"))

    def _amount_field(self, place: int, entry: Entry, name: str) -> str:
        return self.amount(entry.fields[name], (*self._steps(place), name))

    def _references(self, place: int, entry: Entry) -> str:
        """SQL: a JSON object of those that are there, keys sorted."""
        parts = []
        for name in sorted(entry.references):
            value = f"nullif({self._text(entry.references[name], (*self._steps(place), 'references', name))}, '')"
            parts.append(f"CASE WHEN {value} IS NOT NULL THEN ',\"{name}\":' || CAST(to_json({value}) AS VARCHAR) END")
        if not parts:
            return "NULL"
        joined = f"concat({', '.join(parts)})"
        return f"CASE WHEN {joined} <> '' THEN '{{' || substr({joined}, 2) || '}}' END"

    def _coded(self, coded: Coded, name: str, steps: Steps) -> str:
        if coded.constant:
            return literal(coded.constant)
        return f"coalesce({self._lookup(coded, steps)}, {literal('other' if name == 'kind' else 'booked')})"

    def _lookup(self, coded: Coded, steps: Steps) -> str:
        arms = " ".join(f"WHEN {literal(word)} THEN {literal(meaning)}" for word, meaning in coded.table.items())
        tries = [f"CASE {self._text(word, (*steps, 'of'))} {arms} END" for word in coded.words] if arms else []
        return f"coalesce({', '.join([*tries, 'NULL'])})"

    # What is counted

    def _unknown(self) -> str | None:
        """How often each word stands that the kind's table does not have."""
        selects = []
        for place, entry in enumerate(self.profile.entries):
            kind = entry.coded.get("kind")
            if kind and kind.words:
                steps = (*self._steps(place), "kind")
                word = self._text(kind.words[0], (*steps, "of"))
                selects.append(
                    f"SELECT coalesce(left({word}, 40), '') AS word FROM typed WHERE _bad IS NULL "
                    f"AND {self._when(place, entry)} AND {self._lookup(kind, steps)} IS NULL"
                )
        return f"SELECT word, count(*) FROM ({' UNION ALL '.join(selects)}) GROUP BY word" if selects else None

    def _balances(self) -> str | None:
        """(account, currency, line, movement, balance) of the booked records, for the chain."""
        if not self.profile.balance:
            return None
        entry = self.profile.entries[0]
        account = self.text_field(entry, "account", self._option("account"))
        statement = self.text_field(entry, "statement", "CAST(NULL AS VARCHAR)")
        currency = self.text_field(entry, "currency", self._option("currency"))
        status = entry.coded.get("status")
        booked = f"{self._coded(status, 'status', ('entry', 'status'))} = 'booked'" if status else "true"
        balance = marks.minor_units(self.amount(self.profile.balance, ("balance",)), currency)
        moved = (
            self.amount(self.profile.movement, ("movement",)) if self.profile.movement else self._amount_of(0, entry)
        )
        movement = marks.minor_units(f"({moved})", currency)
        return (
            f"SELECT {account} AS account, {statement} AS statement, coalesce({currency}, '') AS currency, {LINE}, "
            f"{movement} AS movement, {balance} AS balance FROM typed "
            f"WHERE _bad IS NULL AND {booked} AND {self._when(0, entry)} ORDER BY {LINE}"
        )

    def _stated(self, place: int) -> str:
        stated = self.profile.stated[place]
        currency = self._stated_field(place, "currency")
        parts = []
        for name in ("statement", "account", "currency", "credits", "debits", "entries", "opening", "closing"):
            value = self._stated_field(place, name)
            if name in ("credits", "debits", "opening", "closing") and value != "NULL":
                value = marks.minor_units(value, currency)
            parts.append(f"{value} AS {quoted(name)}")
        steps: Steps = ("stated", place, "when")
        where = f" WHERE {self.predicate(stated.when, steps)}" if stated.when else " LIMIT 1"
        return f"SELECT {', '.join(parts)} FROM ({self._cells()}){where}"

    def _stated_field(self, place: int, name: str) -> str:
        text = self.profile.stated[place].fields.get(name)
        return "NULL" if text is None else self._compile(text, ("stated", place, name)).sql

    def _noted(self, place: int) -> tuple[str, str]:
        check = self.profile.checks[place]
        where = f"{self.predicate(check.when, ('checks', place, 'when'))} AND " if check.when else ""
        that = self.predicate(check.that, ("checks", place, "that"))
        return check.that, f"SELECT count(*), min({LINE}) FROM typed WHERE _bad IS NULL AND {where}NOT {that}"

    # Expressions

    def amount(self, text: str, steps: Steps) -> str:
        """SQL of an amount: blanks count as 0, unless all are blank."""
        compiled = self._compile(text, steps)
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
        return marks.amount(quoted(column.name), self.profile.amounts, "'XXX'")

    def _steps(self, place: int) -> Steps:
        return ("entries", place) if ("entries", place) in self.profile.document.values else ("entry",)
