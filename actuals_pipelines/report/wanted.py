"""What somebody looks for: a transaction id, a row's id, a row's uid, a group id; and the rows that it names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import duckdb

from actuals_pipelines.report.group_id import GroupId


@dataclass(frozen=True, slots=True)
class Wanted:
    """One thing looked for, in every form in which it may stand in a close's rows."""

    text: str  # as it was typed
    token: str | None = None  # what stands in a column that is kept as a token
    keys: Mapping[str, UUID] = field(default_factory=dict)  # key column -> its match key, cleaned as the scheme says

    @property
    def group(self) -> GroupId | None:
        """The group, if a group id was typed."""
        return GroupId.read(self.text)

    @property
    def row_uid(self) -> UUID | None:
        """The row, if a row_uid was typed."""
        try:
            return UUID(self.text)
        except ValueError:
            return None


def condition(wanted: Wanted, package: str | None, columns: Collection[str]) -> tuple[str, list[object]]:
    """SQL that holds for the rows that `wanted` names, and its bound values.

    Args:
        package: whose groups the rows are in; None: rows that are in no group yet.
        columns: the rows' columns; only keys that are among them are compared.
    """
    group = wanted.group
    if group is not None:
        if package != group.package:
            return "FALSE", []
        return (
            "(group_key = ? AND currency = ? AND continuation = ?)",
            [group.key, group.currency, group.continuation],
        )
    texts = [wanted.text, *([wanted.token] if wanted.token else [])]
    parts = ["transaction_id IN (SELECT unnest(?))", "row_id IN (SELECT unnest(?))"]
    values: list[object] = [texts, texts]
    if wanted.row_uid is not None:
        parts.append("row_uid = ?")
        values.append(wanted.row_uid)
    for column, key in wanted.keys.items():
        if column in columns:
            parts.append(f'"{column}" = ?')
            values.append(key)
    return f"({' OR '.join(parts)})", values


def columns_of(con: duckdb.DuckDBPyConnection, relation: str) -> frozenset[str]:
    """The names of a relation's columns."""
    return frozenset(name for name, *_ in con.execute(f"DESCRIBE {relation}").fetchall())
