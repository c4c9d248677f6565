"""The SQL of normalising: raw columns in, one pass, every transaction out with its flags, in the records' order.

Fields are f0, f1, ... in SQL, because their names are people's and DuckDB's names ignore case.
"""

# ruff: noqa: S608 - SQL is made of compiled expressions, escaped literals and aliases of our own

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actuals_pipelines.domain.money import exponent
from actuals_pipelines.domain.source import IdScheme, Minimisation, Source
from actuals_pipelines.engine import connect
from actuals_pipelines.expressions import literal, quoted
from actuals_pipelines.normalise import minimise
from actuals_pipelines.normalise.blanks import is_clean
from actuals_pipelines.normalise.currencies import CURRENCIES
from actuals_pipelines.normalise.keys import cleaned_id, ids_in_text
from actuals_pipelines.normalise.mapping import CORE, CompiledMapping, field_names, kinds
from actuals_pipelines.normalise.sql import NumberMarks, day, decimals, instant, local_day, minor_units
from actuals_pipelines.tables import LINE, REJECTS

_IN_ORDER = ("preserve_insertion_order = true",)
_BATCH_ROWS = 20_480  # ten of DuckDB's vectors
_STATUSES = "('booked', 'pending', 'informational')"
_TYPED = ("booked_on", "value_date", "timestamp")
_PLACE = "_actuals_place"
_UNIT, _RECORD = "chr(31)", "chr(30)"  # separators; a null is a lone record separator


@dataclass(frozen=True, slots=True)
class Plan:
    """What one call normalises, compiled."""

    source: Source
    raw: pa.Table  # text columns and LINE; every column that `mappings` and `unbalanced` read is there
    mappings: list[CompiledMapping]
    marks: NumberMarks
    schemes: tuple[IdScheme, ...]
    look_in: tuple[tuple[str, str], ...]  # (scheme, field)
    unbalanced: str  # SQL over a raw record: why its parts do not add up, else NULL
    summed: frozenset[str]  # the columns that it reads
    fields: list[str] = field(init=False)
    at: dict[str, str] = field(init=False)  # field -> f0, f1, ...

    def __post_init__(self) -> None:
        """Number the fields."""
        names = field_names(self.mappings)
        object.__setattr__(self, "fields", names)
        object.__setattr__(self, "at", {name: f"f{place}" for place, name in enumerate(names)})

    @property
    def extras(self) -> list[str]:
        """The mapped fields that have no meaning to the engine: texts."""
        return [name for name in self.fields if name not in (*CORE, "amount_minor_units")]

    @property
    def texts(self) -> list[str]:
        """Every field that stays a text."""
        return [name for name in self.fields if name in minimise.IDS or name in self.extras]

    @property
    def kept_texts(self) -> list[str]:
        """Those that leave as they are, and so are searched."""
        return [name for name in self.texts if minimise.treatment(self.source, name) is Minimisation.KEEP]


class Query:
    """One connection and the view `taken` on it: line, place, iteration, factor, unbalanced, identity, f0, f1, ..."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.connection = connect(settings=_IN_ORDER)
        self.types = self._take()

    def close(self) -> None:
        """Close the connection; what it gave out stays."""
        self.connection.close()

    def rows(self) -> pa.Table:
        """Every row that some iteration takes, in the records' order.

        Columns: line, place, iteration, the texts f0..., shown, identity and content (to be digested), kind, state,
        booked, value_day, utc, minor_units, code, `key_<scheme>`, `keys_<scheme>_in_<field>`, has_problem, is_suspect.
        """
        plan, at = self.plan, self.plan.at
        row_id = at.get("row_id", "NULL::VARCHAR")
        shown = f"coalesce({row_id}, {at.get('transaction_id', 'NULL')}, CAST(line AS VARCHAR))"
        problem = " OR ".join(f"({sql}) IS NOT NULL" for sql in self._problems().values())
        texts = [at[name] for name in plan.kept_texts]
        others = [at[name] for name in plan.texts if name not in plan.kept_texts]
        sieve = (
            f"strlen(kept) > 5 AND regexp_matches(kept, {minimise.SIEVE})" if texts else "FALSE"
        )  # kept: see _parsed
        days = ["epoch_us(utc)", "(booked - DATE '1970-01-01')", "(value_day - DATE '1970-01-01')"]
        nullable = ", ".join(f"coalesce(CAST({part} AS VARCHAR), {_RECORD})" for part in (*days, *others))
        keyed = [f"{cleaned_id(s, at[s.field])} AS {quoted(f'key_{s.name}')}" for s in plan.schemes if s.field in at]
        by_name = {scheme.name: scheme for scheme in plan.schemes}
        keyed += [
            f"{ids_in_text(by_name[scheme], at[name])} AS {quoted(f'keys_{scheme}_in_{name}')}"
            for scheme, name in plan.look_in
            if scheme in by_name and name in at
        ]
        table = self.connection.sql(
            f"""
            SELECT line, place, iteration, {", ".join(at[name] for name in plan.texts) or "NULL AS no_text"},
                   {shown} AS shown, identity,
                   concat_ws({_UNIT}, {nullable}, minor_units, state, kind, code, kept) AS content,
                   kind, state, booked, value_day, utc, minor_units, code,
                   {", ".join([*keyed, ""])}
                   {problem} AS has_problem, coalesce({sieve}, FALSE) AS is_suspect, {row_id} IS NULL AS is_unnamed
            FROM ({self._parsed(texts)})
            """
        ).to_arrow_table()
        for name in ("has_problem", "is_suspect", "is_unnamed"):  # DuckDB's lossless booleans are bytes to Arrow
            table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(pa.bool_()))
        if len(plan.mappings) > 1:  # a tenth of what the engine's own sort of these wide rows costs
            table = table.take(pa.array(np.lexsort((table["iteration"], table["place"]))))
        return self._told_apart(table)

    def rejects(self, table: pa.Table) -> pa.Table:
        """Why each of the flagged rows of `table` cannot be read: `tables.REJECTS`, one row per record and field."""
        if not pc.any(table["has_problem"]).as_py():
            return REJECTS.empty_table()
        flagged = table.filter(table["has_problem"]).select(["place", "iteration"])
        self.connection.register("flagged", flagged)
        # Of the flagged rows alone everything is computed again, and this time kept.
        self.connection.execute(
            f"CREATE TEMP TABLE refused AS SELECT p.* FROM ({self._parsed([])}) AS p SEMI JOIN flagged AS g "
            "ON p.place = g.place AND p.iteration = g.iteration"
        )
        parts = [
            f"SELECT DISTINCT line, {literal(name)} AS field, reason FROM (SELECT line, {sql} AS reason FROM refused) "
            "WHERE reason IS NOT NULL"
            for name, sql in self._problems().items()
        ]
        return self.connection.sql(" UNION ALL ".join(parts)).to_arrow_table().cast(REJECTS)

    def _take(self) -> dict[str, str]:
        """Make the view; returns the fields' types."""
        plan, raw = self.plan, self.plan.raw
        columns = [name for name in raw.column_names if name != LINE]
        # Beside these stand the file's own names, where an expression uses them.
        named = {name: f"_actuals_r{place}" for place, name in enumerate(columns)}
        # A reader's batches may be small, and each would be computed for itself; one alone keeps a single core busy.
        even = pa.Table.from_batches(raw.combine_chunks().to_batches(max_chunksize=_BATCH_ROWS), raw.schema)
        numbered = even.append_column(_PLACE, pa.array(np.arange(raw.num_rows)))
        self.connection.register("raw_table", numbered.rename_columns([named.get(n, n) for n in numbered.column_names]))
        types: dict[str, str] = {}
        selects: list[tuple[CompiledMapping, str]] = []
        for place, mapping in enumerate(plan.mappings):
            view = f"v{place}"
            used = sorted(mapping.columns | plan.summed)
            aliases = "".join(f", {named[name]} AS {quoted(name)}" for name in used)
            self.connection.execute(f"CREATE TEMP VIEW {view} AS SELECT *{aliases} FROM raw_table")
            found = kinds(self.connection, plan.source.name, mapping, view)
            readable = self._with_computed_amount(mapping, found)
            for name, kind in found.items():
                types[name] = kind if types.get(name, kind) == kind else "VARCHAR"
            selects.append((readable, view))
        clean = {quoted(n) for n in columns if any(quoted(n) in m.fields.values() for m in plan.mappings)}
        clean = {name for name in clean if is_clean(raw[name[1:-1].replace('""', '"')])}
        origin = _origin(named)
        parts = [
            f"SELECT {LINE} AS line, {_PLACE} AS place, {iteration} AS iteration, "
            f"CAST({mapping.factor} AS TINYINT) AS factor, {plan.unbalanced} AS unbalanced, "
            f"{self._selected(mapping, types, clean)}, {self._identity(iteration, origin)} AS identity "
            f"FROM {view} WHERE {mapping.where}"
            for iteration, (mapping, view) in enumerate(selects)
        ]
        self.connection.execute(f"CREATE TEMP VIEW taken AS {' UNION ALL '.join(parts)}")
        return types

    def _with_computed_amount(self, mapping: CompiledMapping, found: dict[str, str]) -> CompiledMapping:
        """An amount that was computed becomes text with the source's decimal mark, to be read like the others."""
        sql = mapping.fields.get("amount")
        if sql is None or found["amount"] == "VARCHAR":
            return mapping
        text = f"replace(CAST({sql} AS VARCHAR), '.', {literal(self.plan.marks.decimal)})"
        found["amount"] = "VARCHAR"
        return replace(mapping, fields=mapping.fields | {"amount": text})

    def _selected(self, mapping: CompiledMapping, types: dict[str, str], clean: set[str]) -> str:
        """Every field of the unit; text is trimmed and "" is null; what this iteration does not map is null."""
        selected = []
        for name in self.plan.fields:
            sql = mapping.fields.get(name, "NULL")
            is_typed = types[name].startswith(("DATE", "TIMESTAMP")) and name in _TYPED
            types[name] = types[name] if is_typed else "VARCHAR"
            value = sql if is_typed or sql in clean else f"nullif(trim(CAST({sql} AS VARCHAR)), '')"
            selected.append(f"{value} AS {self.plan.at[name]}")
        return ", ".join(selected)

    def _identity(self, iteration: int, origin: str) -> str:
        """What makes a row itself: the source's own id for it, else the raw record and its number among equal ones."""
        prefix = f"{self.plan.source.name}\x1f{iteration}\x1f"
        raw = f"concat({literal(prefix + 'raw' + chr(31))}, {origin}, {literal(chr(31) + '1')})"
        row_id = self.plan.at.get("row_id")
        return f"coalesce({literal(prefix + 'id' + chr(31))} || {row_id}, {raw})" if row_id else raw

    def _parsed(self, kept: list[str]) -> str:
        """A query: the fields' texts and their values; NULL where a text has none. `kept`: these texts in one."""
        plan, at, types = self.plan, self.plan.at, self.types
        zone, options = plan.source.time_zone, dict(plan.source.reader)
        date_format, time_format = options.get("date_format", ""), options.get("timestamp_format", "")
        is_minor = "amount_minor_units" in at
        amount = at["amount_minor_units"] if is_minor else at["amount"]
        code = f"upper({at['currency']})"
        plain = (
            f"CASE WHEN regexp_full_match({amount}, '-?[0-9]+') THEN {amount} END"
            if is_minor
            else plan.marks.plain(amount)
        )
        codes = self._codes()
        known = f"{code} IN ({', '.join(literal(each) for each in codes)})" if codes else "FALSE"
        utc = instant(at["timestamp"], types["timestamp"], zone, time_format) if "timestamp" in at else "NULL"
        booked = (
            day(at["booked_on"], types["booked_on"], zone, date_format) if "booked_on" in at else local_day("utc", zone)
        )
        value = day(at["value_date"], types["value_date"], zone, date_format) if "value_date" in at else "NULL::DATE"
        texts = ", ".join(f"coalesce({column}, {_RECORD})" for column in kept)
        return f"""
            SELECT *, factor * {minor_units("plain", "exponent")} AS minor_units, {booked} AS booked,
                   {value} AS value_day
            FROM (
                SELECT line, place, iteration, factor, unbalanced, identity, {", ".join(at.values())},
                       {plain} AS plain, {code} AS code, {"0" if is_minor else _exponents(code, codes)} AS exponent,
                       {known} AS is_known, CAST({utc} AS TIMESTAMP) AS utc,
                       {f"concat_ws({_UNIT}, {texts})" if kept else "''"} AS kept,
                       {f"coalesce(lower({at['status']}), 'booked')" if "status" in at else "'booked'"} AS state,
                       {f"coalesce({at['kind']}, 'payment')" if "kind" in at else "'payment'"} AS kind
                FROM taken
            )
        """

    def _problems(self) -> dict[str, str]:
        """For each field that can be wrong, SQL over `_parsed`: why it is, NULL where it is not."""
        plan, at, options = self.plan, self.plan.at, dict(self.plan.source.reader)
        amount = at["amount_minor_units"] if "amount_minor_units" in at else at["amount"]
        problems = {
            "amount": f"""CASE WHEN factor = 0 THEN 'both amount_plus and amount_minus are filled'
                WHEN {amount} IS NULL THEN 'missing'
                WHEN plain IS NULL THEN 'not a plain decimal number'
                WHEN exponent IS NULL OR factor IS NULL THEN NULL
                WHEN minor_units IS NOT NULL THEN NULL
                WHEN {decimals("plain")} > exponent THEN 'more than ' || exponent || ' decimals'
                ELSE 'beyond the largest amount taken' END""",
            "currency": "CASE WHEN code IS NULL THEN 'missing' WHEN is_known IS NOT TRUE "
            "THEN 'not an ISO 4217 code' END",
            "status": f"CASE WHEN state NOT IN {_STATUSES} THEN 'not booked, pending or informational' END",
        }
        signs = [rule for rule in (plan.source.mapping.sign, *(one.sign for one in plan.source.iterations)) if rule]
        if signs:
            words = " or ".join(word for rule in signs for word in (*rule.plus, *rule.minus))
            problems["sign"] = f"CASE WHEN factor IS NULL THEN {literal(f'its flag is not {words}')} END"
        if plan.source.adds_up:
            problems["net"] = "unbalanced"
        for name, column, kept, wanted in (
            ("timestamp", "utc", options.get("timestamp_format", ""), "an ISO 8601 timestamp"),
            ("booked_on", "booked", options.get("date_format", ""), "an ISO 8601 date"),
            ("value_date", "value_day", options.get("date_format", ""), "an ISO 8601 date"),
        ):
            if name in at:
                reason = f"not {wanted}" if not kept else f"not of the form {kept.replace('|', ' or ')}"
                problems[name] = f"CASE WHEN {at[name]} IS NOT NULL AND {column} IS NULL THEN {literal(reason)} END"
        return problems

    def _codes(self) -> list[str]:
        """The currencies that occur."""
        if self._found_codes is None:
            code = f"upper({self.plan.at['currency']})"
            rows = self.connection.execute(f"SELECT DISTINCT {code} FROM taken").fetchall()
            self._found_codes = sorted({row[0] for row in rows} & CURRENCIES)
        return self._found_codes

    _found_codes: list[str] | None = None

    def _told_apart(self, table: pa.Table) -> pa.Table:
        """Equal records without an id are numbered: in `identity` the second of them ends in 2."""
        if not pc.any(table["is_unnamed"]).as_py():
            return table
        self.connection.register(
            "found",
            table.select(["identity", "is_unnamed"]).append_column("row", pa.array(range(table.num_rows), pa.int64())),
        )
        twins = self.connection.sql(
            """
            SELECT row, occurrence FROM (
                SELECT row, row_number() OVER (PARTITION BY identity ORDER BY row) AS occurrence
                FROM found WHERE is_unnamed AND hash(identity) IN (
                    SELECT hash(identity) FROM found WHERE is_unnamed GROUP BY 1 HAVING count(*) > 1
                )
            ) WHERE occurrence > 1 ORDER BY row
            """
        ).to_arrow_table()
        if not twins.num_rows:
            return table
        rows = twins["row"].combine_chunks()
        mask = pc.is_in(pa.array(range(table.num_rows), pa.int64()), value_set=rows)
        stems = pc.utf8_slice_codeunits(table["identity"].take(rows), 0, -1)
        numbered = pc.binary_join_element_wise(stems, twins["occurrence"].cast(pa.string()), "")
        identity = pc.replace_with_mask(table["identity"], mask, numbered.combine_chunks())
        return table.set_column(table.schema.get_field_index("identity"), "identity", identity)


def _origin(named: dict[str, str]) -> str:
    """SQL: the raw record as one text; the order of its columns does not count, nor one that it leaves empty."""
    marked = [f"{literal(name + chr(31))} || {column} || {_RECORD}" for name, column in sorted(named.items())]
    return f"concat({', '.join(marked)})" if marked else "''"


def _exponents(code: str, codes: list[str]) -> str:
    """SQL: the exponent of each currency that occurs; NULL for what is no currency."""
    arms = "".join(f" WHEN {literal(each)} THEN {exponent(each)}" for each in codes)
    return f"CASE {code}{arms} ELSE NULL END" if arms else "CAST(NULL AS INTEGER)"
