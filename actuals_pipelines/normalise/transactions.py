"""Raw records and a source's mapping -> transactions and rejects. A pure function, computed in columns by DuckDB.

A record is stored whole or rejected whole: where one of its iterations cannot be read, none of them is kept, so that
a payment never enters without its fee. In = stored + rejected + not taken, in records and in amounts per currency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from actuals_pipelines.domain.source import IdScheme, Minimisation, Source
from actuals_pipelines.encryption.pseudonyms import Pseudonyms
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.normalise import minimise
from actuals_pipelines.normalise.currencies import CURRENCIES
from actuals_pipelines.normalise.iterate import elements
from actuals_pipelines.normalise.keys import content_domain, key_lists, keys, with_transaction_id
from actuals_pipelines.normalise.mapping import compile_mappings, compile_sum
from actuals_pipelines.normalise.query import Plan, Query
from actuals_pipelines.normalise.sql import NumberMarks, check_zone
from actuals_pipelines.tables import LINE, REJECTS, TRANSACTIONS


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
    unread = REJECTS.empty_table() if unread is None else unread
    records = raw.num_rows + pc.count_distinct(unread["line"]).as_py()
    if source.iterate:
        raw, broken = elements(raw, source.name, source.iterate)
        unread = pa.concat_tables([unread, broken])
    plan = _plan(raw, source, with_transaction_id(ids), tuple(dict.fromkeys(look_in)))
    try:
        return _normalised(plan, secrets, unit_id, unread, records)
    except duckdb.Error as error:
        kind = type(error).__name__
    raise NormalisingFailed(source.name, kind) from None


class _AnyColumn(tuple[str, ...]):
    """The columns where none can be known, as of a pull's quiet day: whatever is named is there."""

    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)


def _plan(raw: pa.Table, source: Source, schemes: tuple[IdScheme, ...], look_in: tuple[tuple[str, str], ...]) -> Plan:
    marks = NumberMarks.of(source.name, dict(source.reader))
    present = [name for name in raw.column_names if name != LINE]
    columns = tuple(dict.fromkeys([*present, *source.optional]))
    # Of no records, or of lists without an element, nobody knows the keys; a table without rows has its header.
    is_unknown = not raw.num_rows and (bool(source.iterate) or not present)
    known = _AnyColumn(columns) if is_unknown else columns
    mappings = compile_mappings(source, known, marks)
    unbalanced, summed = compile_sum(source, known, marks) if source.adds_up else ("NULL::VARCHAR", frozenset())
    named = [*columns, *sorted({name for each in mappings for name in each.columns} | summed)]
    for name in dict.fromkeys(named):
        if name not in present:
            raw = raw.append_column(name, pa.nulls(raw.num_rows, pa.string()))
    return Plan(
        source=source,
        raw=raw,
        mappings=mappings,
        marks=marks,
        schemes=schemes,
        look_in=look_in,
        unbalanced=unbalanced,
        summed=summed,
    )


def _normalised(plan: Plan, secrets: Pseudonyms, unit_id: UUID, unread: pa.Table, records: int) -> Normalised:
    query = Query(plan)
    try:
        table = query.rows()
        rejects = pa.concat_tables([unread, query.rejects(table), _card_numbers(plan, table)])
    finally:
        query.close()
    cards = rejects.filter(pc.equal(rejects["reason"], minimise.CARD_NUMBER))
    refused = pc.is_in(table["line"], value_set=pc.unique(rejects["line"]))
    kept = table.filter(pc.invert(refused)) if rejects.num_rows else table  # a filter copies
    transactions = _assembled(plan, kept, secrets, unit_id)
    stored = _distinct(transactions["line"])
    rejected = _distinct(rejects["line"])
    counts = {
        "raw": records,
        "stored": stored,
        "rejected": rejected,
        "not_taken": records - stored - rejected,
        "transactions": transactions.num_rows,
        "rejects": rejects.num_rows,
        "card_numbers": _distinct(cards["line"]),
    }
    return Normalised(transactions, rejects.sort_by([("line", "ascending")]), counts, _amounts(table, refused))


def _distinct(lines: pa.ChunkedArray) -> int:
    return int(pc.count_distinct(lines).as_py())


def _card_numbers(plan: Plan, table: pa.Table) -> pa.Table:
    """Rejects of the records with a card number in what would be kept of them."""
    searched = {
        plan.at[name]: name for name in plan.kept_texts if name not in plan.source.long_numbers and name in plan.at
    }
    return minimise.card_number_rejects(table.filter(table["is_suspect"]), searched)


def _assembled(plan: Plan, rows: pa.Table, secrets: Pseudonyms, unit_id: UUID) -> pa.Table:
    """The transactions as Arrow, with digests, tokens and keys."""
    count = rows.num_rows
    source, schemes = plan.source, {scheme.name: scheme for scheme in plan.schemes}
    domain = content_domain(plan.schemes, plan.look_in, source)
    core = {
        "row_uid": secrets.digests("row_uid", rows["identity"]),
        "row_digest": secrets.digests(domain, rows["content"]),
        "row_id": _minimised(plan, "row_id", rows["shown"], rows, secrets),
        "source": pa.repeat(source.name, count),
        "kind": rows["kind"],
        "status": rows["state"],
        "transaction_id": _text(plan, rows, "transaction_id", secrets),
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
    for name in plan.extras:
        if minimise.treatment(source, name) is not Minimisation.DROP:
            arrays.append(_text(plan, rows, name, secrets))
            fields.append(pa.field(name, pa.string()))
    for scheme in plan.schemes:
        name = f"key_{scheme.name}"
        has = name in rows.column_names
        arrays.append(keys(rows[name], scheme, secrets) if has else pa.nulls(count, pa.uuid()))
        fields.append(pa.field(name, pa.uuid()))
    for scheme_name, field in plan.look_in:
        name = f"keys_{scheme_name}_in_{field}"
        has = name in rows.column_names
        arrays.append(key_lists(rows[name], schemes[scheme_name], secrets) if has else _no_lists(count))
        fields.append(pa.field(name, pa.list_(pa.uuid())))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _text(plan: Plan, rows: pa.Table, name: str, secrets: Pseudonyms) -> pa.Array:
    if name not in plan.at:
        return pa.nulls(rows.num_rows, pa.string())
    return _minimised(plan, name, rows[plan.at[name]], rows, secrets)


def _minimised(plan: Plan, name: str, values: pa.ChunkedArray, rows: pa.Table, secrets: Pseudonyms) -> pa.Array:
    if name == "row_id" and "row_id" not in plan.at:  # shown instead: the transaction id, so treated like it
        name = "transaction_id"
    treatment = minimise.treatment(plan.source, name)
    if treatment is Minimisation.TOKEN:
        return minimise.tokens(values, secrets)
    if treatment is Minimisation.DROP:
        return pa.nulls(len(values), pa.string())
    if name in minimise.IDS:
        return values
    return minimise.without_personal_data(values, rows["is_suspect"], secrets)


def _amounts(table: pa.Table, refused: pa.ChunkedArray) -> dict[str, AmountFlow]:
    """Per currency what was read, stored and rejected: each summed for itself, over every readable amount."""
    parts = [table, table.filter(pc.invert(refused)), table.filter(refused)] if pc.any(refused).as_py() else [table] * 2
    read, stored, *rejected = [_sums(part.select(["code", "minor_units"])) for part in parts]
    return {
        code: AmountFlow(read.get(code, 0), stored.get(code, 0), rejected[0].get(code, 0) if rejected else 0)
        for code in sorted(read.keys() & CURRENCIES)
    }


def _sums(rows: pa.Table) -> dict[str, int]:
    rows = rows.filter(pc.is_valid(rows["minor_units"]))
    # Arrow's sums of int64 wrap; those of decimals do not. 38 digits hold any number of rows.
    exact = rows.set_column(1, "minor_units", rows["minor_units"].cast(pa.decimal128(38, 0)))
    summed = exact.group_by("code").aggregate([("minor_units", "sum")])
    return {row["code"]: int(row["minor_units_sum"]) for row in summed.to_pylist()}


def _no_lists(count: int) -> pa.Array:
    return pa.nulls(count, pa.list_(pa.uuid()))


def _repeated(value: bytes, count: int) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), count, [None, pa.py_buffer(value * count)])
