"""Units to judge: small real tables, with the counts that normalising would give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID, uuid5

import pyarrow as pa

from actuals_pipelines.domain.controls import StatementControls
from actuals_pipelines.domain.source import FieldMapping, Source, SourceKind
from actuals_pipelines.tables import TRANSACTIONS
from actuals_pipelines.validate import (
    CheckOutcome,
    DayToJudge,
    Flow,
    Measuring,
    Profile,
    UnitToJudge,
    UnitVerdict,
    judge_days,
    judge_own,
    judge_units,
)
from actuals_pipelines.validate.profile import AmountSums

_SPACE = UUID("6f1c3d1e-0000-4000-8000-000000000000")
SCHEMA = TRANSACTIONS.append(pa.field("note", pa.string()))


def a_source(expectations: Sequence[dict[str, object]] = (), *, has_ids: bool = True) -> Source:
    """A shop's CSV export with a note; a bank's, which has no transaction ids, with has_ids=False."""
    fields = {"amount": "total", "booked_on": "day", "note": "remark"}
    if has_ids:
        fields["transaction_id"] = "order_id"
    return Source("shop", SourceKind.UPLOAD, "csv", FieldMapping(fields), expectations=tuple(expectations))


def a_row(name: str, **changes: Any) -> dict[str, Any]:
    """One transaction of EUR 12.34; its row_uid follows from its name."""
    row = {
        "row_uid": uuid5(_SPACE, name).bytes,
        "row_digest": uuid5(_SPACE, name + " content").bytes,
        "row_id": name,
        "source": "shop",
        "kind": "payment",
        "status": "booked",
        "transaction_id": name,
        "booked_on": date(2026, 1, 31),
        "value_date": None,
        "timestamp": None,
        "amount_minor_units": 1234,
        "currency": "EUR",
        "unit_id": _SPACE.bytes,
        "line": 1,
        "note": None,
    }
    return row | changes


def a_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Transactions of schema `tables.TRANSACTIONS` and a note."""
    numbered = [row | {"line": line} for line, row in enumerate(rows, start=1)]
    arrays = []
    for field in SCHEMA:
        values = [row[field.name] for row in numbered]
        if field.type == pa.uuid():
            arrays.append(pa.ExtensionArray.from_storage(pa.uuid(), pa.array(values, pa.binary(16))))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def counts_of(rows: int, *, rejected: int = 0) -> dict[str, int]:
    """As normalising counts a unit of one row per record."""
    return {
        "raw": rows + rejected,
        "stored": rows,
        "rejected": rejected,
        "not_taken": 0,
        "transactions": rows,
        "rejects": rejected,
    }


def flows_of(rows: Sequence[dict[str, Any]]) -> dict[str, AmountSums]:
    """As normalising adds up the amounts of a unit without rejects."""
    sums: dict[str, int] = {}
    for row in rows:
        sums[row["currency"]] = sums.get(row["currency"], 0) + row["amount_minor_units"]
    return {code: AmountSums(total, total, 0) for code, total in sums.items()}


def a_profile(
    rows: Sequence[dict[str, Any]] = (),
    *,
    rejected: int = 0,
    controls: Sequence[StatementControls] = (),
    counts: dict[str, int] | None = None,
) -> Profile:
    """Measured from a real table."""
    known = counts or counts_of(len(rows), rejected=rejected)
    return measured(a_table(rows), known, flows_of(rows), controls)


def measured(
    transactions: pa.Table,
    counts: Mapping[str, int],
    amounts: Mapping[str, Flow],
    controls: Sequence[StatementControls] = (),
) -> Profile:
    """The profile of a unit that comes in one chunk."""
    measuring = Measuring()
    measuring.add(transactions)
    return measuring.profile(counts, amounts, controls)


def a_statement(opening: int | None, closing: int | None, *, credits: int = 0, **changes: Any) -> StatementControls:
    """One statement of one account, in EUR cents."""
    facts: dict[str, Any] = {"account": "NL91", "statement": None, "currency": "EUR", "debits": 0, "entries": 1}
    return StatementControls(opening=opening, closing=closing, credits=credits, **(facts | changes))


def judge_unit(profile: Profile, source: Source, rows: pa.Table | None = None) -> UnitVerdict:
    """The verdict on one unit alone."""
    [verdict] = judge_units([UnitToJudge(profile, None if rows is None else judge_own(rows, source))], source)
    return verdict


def judge_day(
    profile: Profile, history: Sequence[int], source: Source, *, before: Profile | None = None
) -> tuple[CheckOutcome, ...]:
    """The checks of one day alone."""
    earlier = () if before is None else before.balances
    [checks] = judge_days([DayToJudge(profile, history, earlier)], source)
    return checks
