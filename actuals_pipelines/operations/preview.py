"""What a source would make of a file, before anything is saved: rows, rejects, totals, and what looks wrong.

Nothing is opened but the file and nothing is written; match keys and tokens are made under a pepper that is forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from actuals_pipelines.domain.controls import StatementControls
from actuals_pipelines.domain.money import Money, exponent
from actuals_pipelines.domain.source import Minimisation, Source
from actuals_pipelines.domain.tenant import Tenant
from actuals_pipelines.encryption.pseudonyms import Pseudonyms
from actuals_pipelines.normalise import Normalised, normalise
from actuals_pipelines.normalise.mapping import compile_mappings
from actuals_pipelines.normalise.sql import NumberMarks
from actuals_pipelines.readers import open_reader
from actuals_pipelines.tables import LINE

_OWES_US = ("sale", "payment", "reserve_release", "chargeback_reversal", "fee_refund")
_COSTS_US = ("refund", "chargeback", "fee", "payout", "reserve_hold", "credit_note")
_OURS = ("row_uid", "row_digest", "unit_id", "source")
_ENOUGH = 10  # rows from which a pattern in their amounts says something
_NO_UNIT = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Total:
    """One currency's rows, in minor units; debits are negative."""

    currency: str
    rows: int
    credits: int
    debits: int
    rejected: int  # of the readable amounts that were rejected
    first_on: Any  # the first and last booking day, None where no row has one
    last_on: Any

    @property
    def net(self) -> int:
        """Credits and debits together."""
        return self.credits + self.debits


@dataclass(frozen=True, slots=True)
class Preview:
    """A file as a source reads it."""

    source: Source
    columns: tuple[str, ...]  # of the file
    unmapped: tuple[str, ...]  # of these, what no mapping reads: dropped
    treatments: dict[str, str]  # mapped field -> keep, token or drop
    counts: dict[str, int]  # see `normalise.Normalised`
    rows: pa.Table  # the first transactions, as they would be kept
    rejects: pa.Table  # tables.REJECTS, by line
    totals: list[Total]
    controls: list[StatementControls]  # what the file says of itself
    keys: dict[str, tuple[int, int]]  # id scheme -> (rows with its field filled, rows with a key)
    warnings: list[str] = field(default_factory=list)


def preview(tenant: Tenant, source: Source, file: Path, *, rows: int) -> Preview:
    """Read and normalise a whole file as `source` would.

    Raises:
        FileRefused and what a mapping's configuration raises: the file does not fit the source at all.
    """
    reader = open_reader(source.format)
    with file.open("rb") as stream:
        reading = reader.read(stream, source.reader)
        raw = reading.table()
    look_in = sorted({(one.by, name) for package in tenant.packages for one in package.passes for name in one.look_in})
    done = normalise(
        raw,
        source,
        ids=tenant.ids,
        look_in=look_in,
        secrets=Pseudonyms.random(),
        unit_id=_NO_UNIT,
        unread=reading.reject_table(),
    )
    columns = tuple(name for name in raw.column_names if name != LINE)
    shown = [name for name in done.transactions.column_names if name not in _OURS and not name.startswith("key")]
    found = Preview(
        source=source,
        columns=columns,
        unmapped=_unmapped(source, columns),
        treatments=_treatments(source),
        counts=done.counts,
        rows=done.transactions.slice(0, rows).select(shown),
        rejects=done.rejects,
        totals=_totals(done),
        controls=list(reading.controls),
        keys=_keys(tenant, done),
    )
    found.warnings.extend(_warnings(found, raw, done))
    return found


def _unmapped(source: Source, columns: tuple[str, ...]) -> tuple[str, ...]:
    if source.iterate or not columns:
        return ()
    marks = NumberMarks.of(source.name, dict(source.reader))
    compiled = compile_mappings(source, (*columns, *(n for n in source.optional if n not in columns)), marks)
    used = {name for mapping in compiled for name in mapping.columns}
    return tuple(name for name in columns if name not in used)


def _treatments(source: Source) -> dict[str, str]:
    mapped = [name for each in (source.mapping, *source.iterations) for name in (*each.fields, *each.constants)]
    return {name: source.columns.get(name, Minimisation.KEEP).value for name in dict.fromkeys(mapped)}


def _totals(done: Normalised) -> list[Total]:
    rows, totals = done.transactions, []
    for currency, flow in done.amounts.items():
        own = rows.filter(pc.equal(rows["currency"], currency))
        amounts = own["amount_minor_units"].cast(pa.decimal128(38, 0))
        zero = pa.scalar(0, pa.decimal128(38, 0))
        plus, minus = (pc.sum(amounts.filter(test(amounts, zero))).as_py() or 0 for test in (pc.greater, pc.less))
        days = pc.min_max(own["booked_on"]).as_py()
        totals.append(Total(currency, own.num_rows, int(plus), int(minus), flow.rejected, days["min"], days["max"]))
    return totals


def _keys(tenant: Tenant, done: Normalised) -> dict[str, tuple[int, int]]:
    rows = done.transactions
    filled = {
        scheme.name: rows.num_rows - rows[scheme.field].null_count
        for scheme in tenant.ids
        if scheme.field in rows.column_names
    }
    return {name: (count, rows.num_rows - rows[f"key_{name}"].null_count) for name, count in filled.items() if count}


def _warnings(found: Preview, raw: pa.Table, done: Normalised) -> list[str]:
    return [
        *_sign_warnings(done.transactions),
        *_factor_warnings(found, raw, done.transactions),
        *_control_warnings(found),
        *_key_warnings(found),
    ]


def _sign_warnings(rows: pa.Table) -> list[str]:
    words = []
    for kinds, is_wrong, usual in (
        (_OWES_US, pc.less, "positive: more is owed to us"),
        (_COSTS_US, pc.greater, "negative: it costs us"),
    ):
        for kind in kinds:
            amounts = rows.filter(pc.equal(rows["kind"], kind))["amount_minor_units"]
            moved = amounts.filter(pc.not_equal(amounts, 0))
            if len(moved) and pc.all(is_wrong(moved, 0)).as_py():
                words.append(f"Every {kind!r} has the other sign than usual ({usual}). Is `sign: reversed` missing?")
    return words


def _factor_warnings(found: Preview, raw: pa.Table, rows: pa.Table) -> list[str]:
    """Whole amounts throughout, written without decimals: the file may count cents."""
    column = found.source.mapping.fields.get("amount")
    if column not in raw.column_names or rows.num_rows < _ENOUGH:
        return []
    mark = found.source.reader.get("decimal", ".")
    if pc.any(pc.match_substring(raw[column], mark)).as_py():
        return []
    if not any(exponent(total.currency) for total in found.totals):
        return []
    return [
        f"No amount in the column {column!r} has decimals. If the file counts the smallest unit (cents), map "
        "`amount_minor_units`, else every amount is 100 times too large."
    ]


def _control_warnings(found: Preview) -> list[str]:
    words = []
    for total in found.totals:
        stated = sum(one.credits - one.debits for one in found.controls if one.currency == total.currency)
        if not stated or not total.net or stated == total.net:
            continue
        told = f"The file's own {total.currency} entries come to {Money(stated, total.currency)}, the rows to "
        told += f"{Money(total.net, total.currency)}"
        if total.net == -stated:
            words.append(f"{told}: the signs are reversed.")
        elif total.net in (100 * stated, stated // 100):
            words.append(f"{told}: a factor of 100.")
        else:
            words.append(f"{told}. The difference is in what is rejected, not taken, or made by other iterations.")
    return words


def _key_warnings(found: Preview) -> list[str]:
    return [
        f"The id scheme {name!r} finds an id in {keyed} of {filled} filled values. Does its pattern fit this source?"
        for name, (filled, keyed) in found.keys.items()
        if 2 * keyed < filled
    ]


def as_document(found: Preview, *, rejects: int) -> dict[str, Any]:
    """The preview as plain data for JSON; money in minor units.

    Args:
        rejects: how many of them to list.
    """
    return {
        "source": found.source.name,
        "format": found.source.format,
        "columns": list(found.columns),
        "unmapped": list(found.unmapped),
        "fields": found.treatments,
        "counts": found.counts,
        "rows": found.rows.to_pylist(),
        "rejects": found.rejects.slice(0, rejects).to_pylist(),
        "totals": [
            {name: getattr(total, name) for name in (*Total.__dataclass_fields__, "net")} for total in found.totals
        ],
        "controls": [
            {name: getattr(one, name) for name in (*StatementControls.__dataclass_fields__, "gap", "agrees")}
            for one in found.controls
        ],
        "keys": {name: {"filled": filled, "keyed": keyed} for name, (filled, keyed) in found.keys.items()},
        "warnings": list(found.warnings),
    }


def reasons(rejects: pa.Table) -> Sequence[tuple[str, str, int]]:
    """How often each (field, reason) occurs, the most frequent first."""
    counted = (
        rejects.group_by(["field", "reason"])
        .aggregate([([], "count_all")])
        .sort_by([("count_all", "descending"), ("field", "ascending")])
    )
    return [(row["field"], row["reason"], row["count_all"]) for row in counted.to_pylist()]
