"""Raw records and a source's mapping -> transactions and rejects. A pure function, computed in columns by DuckDB.

A record is stored whole or rejected whole: where one of its iterations cannot be read, none of them is kept, so that
a payment never enters without its fee. In = stored + rejected + not taken, in records and in amounts per currency.
"""

# ruff: noqa: S608 - SQL is made of compiled expressions, escaped literals and aliases of our own

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from actuals_pipelines.domain.money import exponent
from actuals_pipelines.domain.source import IdScheme, Minimisation, Source
from actuals_pipelines.encryption.pseudonyms import Pseudonyms
from actuals_pipelines.engine import connect
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.expressions import literal, quoted
from actuals_pipelines.normalise import card_numbers
from actuals_pipelines.normalise.currencies import CURRENCIES
from actuals_pipelines.normalise.keys import (
    cleaned_id,
    fingerprint,
    ids_in_text,
    key_lists,
    keys,
    with_transaction_id,
)
from actuals_pipelines.normalise.mapping import CORE, CompiledMapping, compile_mappings, field_names, kinds
from actuals_pipelines.normalise.sql import (
    NumberMarks,
    check_zone,
    day,
    decimals,
    instant,
    local_day,
    minor_units,
)
from actuals_pipelines.tables import LINE, REJECTS, TRANSACTIONS

_TEXT_CORE = ("row_id", "transaction_id")  # core fields that may be tokenised or dropped
_IN_ORDER = ("preserve_insertion_order = true",)  # transactions leave in the order of the records
_STATUSES = "('booked', 'pending', 'informational')"


class NormalisingFailed(ActualsError):
    """The engine failed on a unit in a way that no reject describes; its own text may hold values and is dropped."""

    def __init__(self, source: str, kind: str) -> None:
        super().__init__(source, kind)
        self.source, self.kind = source, kind

    def __str__(self) -> str:
        return (
            f"Source {self.source!r}: its mapping fails while it is computed ({self.kind}). "
            "Look for arithmetic in the mapping that overflows, and for a pattern that is no RE2."
        )


@dataclass(frozen=True, slots=True)
class AmountFlow:
    """What became of the readable amounts of one currency, in minor units: read = stored + rejected."""

    read: int
    stored: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Normalised:
    """One unit's transactions and rejects.

    `transactions`: `tables.TRANSACTIONS`, the extra fields as text, `key_<scheme>` (uuid) and
    `keys_<scheme>_in_<field>` (list of uuid); in the order of the records, iterations of one record together.
    `rejects`: `tables.REJECTS`, one row per record and field.
    `counts`: raw = stored + rejected + not_taken, in records; transactions; rejects (rows of that table);
    card_numbers (records refused for one: the caller destroys the unit's raw key).
    """

    transactions: pa.Table
    rejects: pa.Table
    counts: dict[str, int]
    amounts: dict[str, AmountFlow]  # by currency; amounts that cannot be read are in no sum


def normalise(
    raw: pa.Table,
    source: Source,
    *,
    ids: Sequence[IdScheme],
    look_in: Sequence[tuple[str, str]],
    secrets: Pseudonyms,
    unit_id: UUID,
    unread: pa.Table | None = None,
) -> Normalised:
    """Turn raw records into transactions by the source's mapping.

    Args:
        raw: text columns and `tables.LINE`. Give a unit whole where the mapping has no row_id: equal records are then
            told apart by their number within this table.
        ids: the tenant's id schemes; `transaction_id` itself is always one.
        look_in: (scheme, field) pairs of every package's passes.
        unread: the reader's own rejects, so that they are counted with the others.

    Raises:
        MappingRefused, MappedColumnMissing, ExpressionRefused, IdSchemeRefused, NumberMarksRefused, TimeZoneUnknown:
            the configuration does not fit this file. NormalisingFailed: anything else the engine raised.

    A row's `row_uid` is the keyed digest of source, iteration and row_id; without a row_id, of the raw record and its
    occurrence among equal records. `row_digest` is that of the normalised content and of what makes its keys.
    """
    check_zone(source.name, source.time_zone)
    marks = NumberMarks.of(source.name, dict(source.reader))
    columns = [name for name in raw.column_names if name != LINE]
    mappings = compile_mappings(source, columns, marks)
    work = _Work(
        source=source,
        raw=raw,
        columns=columns,
        mappings=mappings,
        marks=marks,
        schemes=with_transaction_id(ids),
        look_in=tuple(dict.fromkeys(look_in)),
    )
    try:
        return work.run(secrets, unit_id, REJECTS.empty_table() if unread is None else unread)
    except duckdb.Error as error:
        kind = type(error).__name__
    raise NormalisingFailed(source.name, kind) from None


class _Work:
    """The steps of one call, on one connection: taken -> parsed -> rejected or stored.

    Fields are f0, f1, ... in SQL, because their names are people's and DuckDB's names ignore case.
    """

    def __init__(
        self,
        *,
        source: Source,
        raw: pa.Table,
        columns: list[str],
        mappings: list[CompiledMapping],
        marks: NumberMarks,
        schemes: tuple[IdScheme, ...],
        look_in: tuple[tuple[str, str], ...],
    ) -> None:
        self.source, self.raw, self.columns, self.mappings, self.marks = source, raw, columns, mappings, marks
        self.schemes, self.look_in = schemes, look_in
        self.fields = field_names(mappings)
        self.at = {name: f"f{place}" for place, name in enumerate(self.fields)}
        self.extras = [name for name in self.fields if name not in (*CORE, "amount_minor_units")]
        self.connection = connect(settings=_IN_ORDER)

    def run(self, secrets: Pseudonyms, unit_id: UUID, unread: pa.Table) -> Normalised:
        try:
            types = self._take()
            self._parse(types)
            rejects = pa.concat_tables([unread, self._rejects()])
            table = self._columns()
            refused = pc.is_in(table["line"], value_set=pc.unique(rejects["line"]))
            kept = table.filter(pc.invert(refused)) if rejects.num_rows else table  # a filter copies
            transactions = self._assembled(kept, secrets, unit_id)
            amounts = self._amounts(transactions, table.filter(refused))
            taken = self._one("SELECT count(DISTINCT line) FROM parsed")
        finally:
            self.connection.close()
        rejected = pc.count_distinct(rejects["line"]).as_py()
        unreadable = pc.count_distinct(unread["line"]).as_py()
        counts = {
            "raw": self.raw.num_rows + unreadable,
            "stored": pc.count_distinct(transactions["line"]).as_py(),
            "rejected": rejected,
            "not_taken": self.raw.num_rows - taken,
            "transactions": transactions.num_rows,
            "rejects": rejects.num_rows,
            "card_numbers": self.card_numbers,
        }
        return Normalised(transactions, rejects.sort_by([("line", "ascending")]), counts, amounts)

    def _take(self) -> dict[str, str]:
        """View `taken`: line, iteration, content (the raw record's digest), f0, f1...; returns the fields' types."""
        # Beside these stand the file's own names, where an expression uses them.
        named = {name: f"_actuals_r{place}" for place, name in enumerate(self.columns)}
        self.connection.register("raw_table", self.raw.rename_columns([named.get(n, n) for n in self.raw.column_names]))
        self.connection.execute(
            f"CREATE TEMP VIEW numbered AS SELECT {_star(named)}, {LINE} AS _actuals_line FROM raw_table"
        )
        content = self._content(named)
        types: dict[str, str] = {}
        selects: list[tuple[CompiledMapping, str]] = []
        for place, mapping in enumerate(self.mappings):
            view = f"v{place}"
            aliases = "".join(f", {named[name]} AS {quoted(name)}" for name in sorted(mapping.columns))
            self.connection.execute(f"CREATE TEMP VIEW {view} AS SELECT *{aliases} FROM numbered")
            found = kinds(self.connection, self.source.name, mapping, view)
            readable = self._with_computed_amount(mapping, found)
            for name, kind in found.items():
                types[name] = kind if types.get(name, kind) == kind else "VARCHAR"
            selects.append((readable, view))
        parts = [
            f"SELECT _actuals_line AS line, {place} AS iteration, "
            f"{self._content_where_needed(mapping, content)} AS content, {self._selected(mapping, types)} "
            f"FROM {view} WHERE {mapping.where}"
            for place, (mapping, view) in enumerate(selects)
        ]
        self.connection.execute(f"CREATE TEMP VIEW taken AS {' UNION ALL '.join(parts)}")
        return types

    def _with_computed_amount(self, mapping: CompiledMapping, found: dict[str, str]) -> CompiledMapping:
        """An amount that was computed becomes text with the source's decimal mark, to be read like the others."""
        sql = mapping.fields.get("amount")
        if sql is None or found["amount"] == "VARCHAR":
            return mapping
        text = f"replace(CAST({sql} AS VARCHAR), '.', {literal(self.marks.decimal)})"
        found["amount"] = "VARCHAR"
        return replace(mapping, fields=mapping.fields | {"amount": text})

    def _selected(self, mapping: CompiledMapping, types: dict[str, str]) -> str:
        """Every field of the unit; text is trimmed and "" is null; what this iteration does not map is null."""
        selected = []
        for name in self.fields:
            sql = mapping.fields.get(name, "NULL")
            is_typed = types[name].startswith(("DATE", "TIMESTAMP")) and name in (
                "booked_on",
                "value_date",
                "timestamp",
            )
            value = sql if is_typed else f"nullif(trim(CAST({sql} AS VARCHAR)), '')"
            types[name] = types[name] if is_typed else "VARCHAR"
            selected.append(f"{value} AS {self.at[name]}")
        return ", ".join(selected)

    def _content(self, named: dict[str, str]) -> str:
        """SQL: the raw record's digest, not keyed yet; the order of its columns does not count."""
        marked = [f"{literal(name)} || chr(31) || {column} || chr(30)" for name, column in sorted(named.items())]
        return f"sha256(concat({', '.join(marked)}))" if marked else "''"

    def _content_where_needed(self, mapping: CompiledMapping, content: str) -> str:
        """The digest is for records without a row_id: CASE computes it for no others."""
        row_id = mapping.fields.get("row_id")
        if row_id is None:
            return content
        return f"CASE WHEN nullif(trim(CAST({row_id} AS VARCHAR)), '') IS NULL THEN {content} END"

    def _parse(self, types: dict[str, str]) -> None:
        """Table `parsed`: the fields' values and, for each that can be wrong, why it is (p_...), else null."""
        at, zone, options = self.at, self.source.time_zone, dict(self.source.reader)
        date_format, time_format = options.get("date_format", ""), options.get("timestamp_format", "")
        is_minor = "amount_minor_units" in at
        amount = at["amount_minor_units"] if is_minor else at["amount"]
        code = f"upper({at['currency']})"
        texts = ", ".join(["line", "iteration", "content", *at.values()])
        plain = (
            self.marks.plain(amount)
            if not is_minor
            else f"CASE WHEN regexp_full_match({amount}, '-?[0-9]+') THEN {amount} END"
        )
        exponents = "0" if is_minor else self._exponents(code)
        utc = instant(at["timestamp"], types["timestamp"], zone, time_format) if "timestamp" in at else "NULL"
        booked = (
            day(at["booked_on"], types["booked_on"], zone, date_format) if "booked_on" in at else local_day("utc", zone)
        )
        value = day(at["value_date"], types["value_date"], zone, date_format) if "value_date" in at else "NULL::DATE"
        self.connection.execute(
            f"""
            CREATE TEMP TABLE parsed AS
            SELECT *, {minor_units("plain", "exponent")} AS minor_units, {booked} AS booked, {value} AS value_day
            FROM (
                SELECT {texts}, {plain} AS plain, {code} AS code, {exponents} AS exponent,
                       CASE WHEN {self._known(code)} THEN 1 END AS is_known, CAST({utc} AS TIMESTAMP) AS utc,
                       {f"coalesce(lower({at['status']}), 'booked')" if "status" in at else "'booked'"} AS state,
                       {f"coalesce({at['kind']}, 'payment')" if "kind" in at else "'payment'"} AS kind
                FROM taken
            )
            """
        )
        self.problems = {
            "amount": f"""CASE WHEN {amount} IS NULL THEN 'missing'
                WHEN plain IS NULL THEN 'not a plain decimal number'
                WHEN exponent IS NULL THEN NULL
                WHEN {decimals("plain")} > exponent THEN 'more than ' || exponent || ' decimals'
                WHEN minor_units IS NULL THEN 'beyond the largest amount taken' END""",
            "currency": "CASE WHEN code IS NULL THEN 'missing' WHEN is_known IS NULL THEN 'not an ISO 4217 code' END",
            "status": f"CASE WHEN state NOT IN {_STATUSES} THEN 'not booked, pending or informational' END",
        }
        for name, column, kept, wanted in (
            ("timestamp", "utc", time_format, "an ISO 8601 timestamp"),
            ("booked_on", "booked", date_format, "an ISO 8601 date"),
            ("value_date", "value_day", date_format, "an ISO 8601 date"),
        ):
            if name in at:
                reason = f"not {wanted}" if not kept else f"not of the form {kept.replace('|', ' or ')}"
                self.problems[name] = (
                    f"CASE WHEN {at[name]} IS NOT NULL AND {column} IS NULL THEN {literal(reason)} END"
                )

    def _known(self, code: str) -> str:
        listed = ", ".join(literal(each) for each in self._codes(code))
        return f"{code} IN ({listed})" if listed else "FALSE"

    def _exponents(self, code: str) -> str:
        """SQL: the exponent of each currency that occurs; NULL for what is no currency."""
        arms = "".join(f" WHEN {literal(each)} THEN {exponent(each)}" for each in self._codes(code))
        return f"CASE {code}{arms} ELSE NULL END" if arms else "CAST(NULL AS INTEGER)"

    def _codes(self, code: str) -> list[str]:
        rows = self.connection.execute(f"SELECT DISTINCT {code} FROM taken").fetchall()
        return sorted({row[0] for row in rows} & CURRENCIES)

    def _rejects(self) -> pa.Table:
        """One row per record and field that cannot be read, and per card number."""
        parts = [
            f"SELECT DISTINCT line, '{name}' AS field, reason FROM (SELECT line, {sql} AS reason FROM parsed) "
            "WHERE reason IS NOT NULL"
            for name, sql in self.problems.items()
        ]
        unreadable = self.connection.sql(" UNION ALL ".join(parts)).to_arrow_table().cast(REJECTS)
        scanned = {self.at[name]: name for name in self.fields if name in (*_TEXT_CORE, "kind") or name in self.extras}
        kept = {column: name for column, name in scanned.items() if self._treatment(name) is Minimisation.KEEP}
        found = card_numbers.lines_with_card_numbers(self.connection, "parsed", kept)
        self.card_numbers = int(pc.count_distinct(found["line"]).as_py())
        reasons = pa.array(["card number"] * found.num_rows, pa.string())
        cards = pa.table([found["line"], found["field"], reasons], schema=REJECTS)
        return pa.concat_tables([unreadable, cards])

    def _columns(self) -> pa.Table:
        """Every parsed row with what is digested from it, in the records' order."""
        at = self.at
        row_id = at.get("row_id", "CAST(NULL AS VARCHAR)")
        shown = f"coalesce({row_id}, {at.get('transaction_id', 'NULL')}, CAST(line AS VARCHAR))"
        prefix = f"{literal(self.source.name)} || chr(31) || iteration || chr(31)"
        identity = (
            f"{prefix} || CASE WHEN {row_id} IS NOT NULL THEN 'id' || chr(31) || {row_id} "
            "ELSE 'raw' || chr(31) || content || chr(31) || occurrence END"
        )
        texts = [f"f.{at[name]}" for name in self.fields if name in _TEXT_CORE or name in self.extras]
        days = ["(booked - DATE '1970-01-01')", "(value_day - DATE '1970-01-01')", "epoch_us(utc)"]
        parts = ["kind", "state", *days, "minor_units", "code", *texts]
        joined = ", ".join(f"coalesce(CAST({part} AS VARCHAR), chr(30))" for part in parts)
        made = literal(fingerprint(self.schemes, self.look_in) + repr(sorted(self.source.columns.items())))
        digested = f"sha256(concat({made}, concat_ws(chr(31), {joined}), chr(31)))"
        found = [f"{cleaned_id(s, at[s.field])} AS {_quoted_key(s)}" for s in self.schemes if s.field in at]
        by_name = {scheme.name: scheme for scheme in self.schemes}
        found += [
            f"{ids_in_text(by_name[scheme], at[field])} AS {quoted(f'keys_{scheme}_in_{field}')}"
            for scheme, field in self.look_in
            if scheme in by_name and field in at
        ]
        self._occurrences(row_id)
        order = " ORDER BY f.line, f.iteration" if len(self.mappings) > 1 or self._has_twins else ""
        occurrence = "coalesce(t.occurrence, 1)" if self._has_twins else "1"
        numbered = "LEFT JOIN twins AS t ON t.line = f.line AND t.iteration = f.iteration" if self._has_twins else ""
        return self.connection.sql(
            f"""
            SELECT f.line, {identity} AS identity, {digested} AS digested,
                   {shown} AS shown, kind, state, booked, value_day, utc, minor_units, code,
                   {", ".join([f"f.{column}" for column in at.values()])}
                   {"".join(f", {each}" for each in found)}
            FROM (SELECT f.*, {occurrence} AS occurrence FROM parsed AS f {numbered}) AS f{order}
            """
        ).to_arrow_table()

    def _occurrences(self, row_id: str) -> None:
        """Table `twins`: the number of each record among equal ones, for the few that have equals and no id."""
        self.connection.execute(
            f"""
            CREATE TEMP TABLE twins AS
            SELECT line, iteration, row_number() OVER (PARTITION BY iteration, content ORDER BY line) AS occurrence
            FROM parsed WHERE {row_id} IS NULL AND hash(content) IN (
                SELECT hash(content) FROM parsed WHERE iteration = 0 AND {row_id} IS NULL GROUP BY 1 HAVING count(*) > 1
                UNION ALL
                SELECT hash(content) FROM parsed WHERE iteration > 0 AND {row_id} IS NULL
            )
            """
        )
        self._has_twins = self._one("SELECT count(*) FROM twins WHERE occurrence > 1") > 0

    def _assembled(self, rows: pa.Table, secrets: Pseudonyms, unit_id: UUID) -> pa.Table:
        """The transactions as Arrow, with digests, tokens and keys."""
        count = rows.num_rows
        core = {
            "row_uid": secrets.digests("row_uid", rows["identity"]),
            "row_digest": secrets.digests("row_digest", rows["digested"]),
            "row_id": self._minimised("row_id", rows["shown"], secrets),
            "source": pa.repeat(self.source.name, count),
            "kind": rows["kind"],
            "status": rows["state"],
            "transaction_id": self._text(rows, "transaction_id", secrets),
            "booked_on": rows["booked"],
            "value_date": rows["value_day"],
            "timestamp": rows["utc"].cast(pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC")),
            "amount_minor_units": rows["minor_units"],
            "currency": rows["code"],
            "unit_id": pa.ExtensionArray.from_storage(pa.uuid(), _repeated(unit_id.bytes, count)),
            "line": rows["line"],
        }
        arrays = [core[field.name] for field in TRANSACTIONS]
        fields = list(TRANSACTIONS)
        for name in self.extras:
            if self._treatment(name) is not Minimisation.DROP:
                arrays.append(self._text(rows, name, secrets))
                fields.append(pa.field(name, pa.string()))
        for scheme in self.schemes:
            name = f"key_{scheme.name}"
            has = name in rows.column_names
            arrays.append(keys(rows[name], scheme, secrets) if has else pa.nulls(count, pa.uuid()))
            fields.append(pa.field(name, pa.uuid()))
        by_name = {scheme.name: scheme for scheme in self.schemes}
        for scheme_name, field in self.look_in:
            name = f"keys_{scheme_name}_in_{field}"
            if name in rows.column_names:
                arrays.append(key_lists(rows[name], by_name[scheme_name], secrets))
            else:
                arrays.append(pa.nulls(count, pa.list_(pa.uuid())))
            fields.append(pa.field(name, pa.list_(pa.uuid())))
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields))

    def _text(self, rows: pa.Table, name: str, secrets: Pseudonyms) -> pa.Array:
        if name not in self.at:
            return pa.nulls(rows.num_rows, pa.string())
        return self._minimised(name, rows[self.at[name]], secrets)

    def _minimised(self, name: str, values: pa.ChunkedArray, secrets: Pseudonyms) -> pa.Array:
        treatment = self._treatment(name)
        if treatment is Minimisation.TOKEN:
            return secrets.tokens(values)
        return pa.nulls(len(values), pa.string()) if treatment is Minimisation.DROP else values

    def _treatment(self, name: str) -> Minimisation:
        if name == "row_id" and "row_id" not in self.at:  # shown instead: the transaction id, so treated like it
            name = "transaction_id"
        return self.source.columns.get(name, Minimisation.KEEP)

    def _amounts(self, transactions: pa.Table, refused: pa.Table) -> dict[str, AmountFlow]:
        """Per currency: what was read, from `parsed`; stored and rejected, from the tables that leave here."""
        self.connection.register("stored_rows", transactions.select(["currency", "amount_minor_units"]))
        self.connection.register("refused_rows", refused.select(["code", "minor_units", "line"]))
        read = self._sums("SELECT code, sum(minor_units) FROM parsed WHERE minor_units IS NOT NULL GROUP BY 1")
        stored = self._sums("SELECT currency, sum(amount_minor_units) FROM stored_rows GROUP BY 1")
        rejected = self._sums(
            "SELECT code, sum(minor_units) FROM refused_rows WHERE minor_units IS NOT NULL GROUP BY 1"
        )
        return {
            code: AmountFlow(read.get(code, 0), stored.get(code, 0), rejected.get(code, 0))
            for code in sorted({*read, *stored, *rejected} & CURRENCIES)
        }

    def _sums(self, sql: str) -> dict[str, int]:
        return {code: int(total) for code, total in self.connection.execute(sql).fetchall()}

    def _one(self, sql: str) -> int:
        return int(self.connection.execute(sql).fetchall()[0][0])


def _star(named: dict[str, str]) -> str:
    return ", ".join(named.values()) or "NULL AS nothing"


def _quoted_key(scheme: IdScheme) -> str:
    return quoted(f"key_{scheme.name}")


def _repeated(value: bytes, count: int) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), count, [None, pa.py_buffer(value * count)])
