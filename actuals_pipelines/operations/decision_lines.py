"""The log's decisions as the solver takes them: one line per decision and row."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

import pyarrow as pa

from actuals_pipelines.reconcile.decisions import LINES
from actuals_pipelines.store import decisions
from actuals_pipelines.store.decisions import Decision
from actuals_pipelines.tenants.environment import TenantEnvironment


def decision_lines(env: TenantEnvironment, package: str, until: int) -> pa.Table:
    """What is in force in a package as of a position in its log; schema `reconcile.decisions.LINES`."""
    lines = [line for one in decisions.history(env, package, until) if one.is_in_force for line in _lines(one)]
    columns = []
    for field in LINES:
        values = [line.get(field.name) for line in lines]
        if field.type == pa.uuid():
            raw = pa.array([value.bytes if value else None for value in values], pa.binary(16))
            columns.append(raw.cast(pa.uuid()))
        else:
            columns.append(pa.array(values, field.type))
    return pa.table(columns, schema=LINES)


def _lines(one: Decision) -> list[dict[str, Any]]:
    detail = one.detail
    common = {
        "decision": one.id,
        "sequence": one.sequence,
        "kind": one.kind,
        "pass": one.pass_name,
        "is_approved": one.approved_by is not None,
        "difference": detail.get("difference"),
        "key_column": detail.get("key_column"),
        "key": UUID(detail["key"]) if "key" in detail else None,
        "category": detail.get("category"),
        "fingerprint": detail.get("fingerprint"),
        "expires_on": one.expires_on,
    }
    lines = [{**common, "row_uid": row} for row in one.rows]
    for line in lines:
        if str(line["row_uid"]) == detail.get("adjustment"):
            line["amount_minor_units"], line["currency"] = detail["amount"], detail["currency"]
            line["booked_on"] = date.fromisoformat(detail["posted_on"])
    return lines
