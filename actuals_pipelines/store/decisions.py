"""The log of what people decided about rows: entries are added and never changed; what they say is sealed.

The database holds to it, whatever program writes: a row is in one claim of a package at most and has its keys decided
once; who approves is not who decided, unless the home's administrator waived that in `policy`; and what two persons put
in force only two persons take back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import sqlalchemy as sa

from actuals_pipelines.database import tables, units
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.store.sealed import open_json, seal_json
from actuals_pipelines.tenants import audit

if TYPE_CHECKING:
    from actuals_pipelines.tenants.environment import TenantEnvironment


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision and what became of it, as of some position in the log."""

    id: UUID
    sequence: int
    package: str
    kind: str  # match | adjust | detach | rekey | explain
    author: str
    at: datetime
    rows: tuple[UUID, ...]
    pass_name: str | None  # the pass that made it; None: a person
    expires_on: date | None  # the last day it holds
    detail: Mapping[str, Any]  # opened: comment, attachment, and what its kind needs
    approved_by: str | None
    withdrawal: UUID | None  # the entry that withdrew it, or asks for that
    is_withdrawn: bool

    @property
    def is_in_force(self) -> bool:
        """Whether the solver may take it; it may still find it void. An adjustment moves money: two persons."""
        return not self.is_withdrawn and (self.kind != "adjust" or self.approved_by is not None)


class RowDecidedAlready(ActualsError):
    """A row is in another decision that is in force."""

    def __init__(self, package: str, kind: str) -> None:
        super().__init__(package, kind)
        self.package, self.kind = package, kind

    def __str__(self) -> str:
        return (
            f"One of these rows is in another decision of package {self.package!r} that a {self.kind} cannot stand "
            "beside: a row is in one match at most, and has its keys decided once. `actuals decide list` names it; "
            "withdraw that first."
        )


class DecisionUnknown(ActualsError):
    """There is no such decision, or it was withdrawn, approved already, or is of a kind that needs no second person."""

    def __init__(self, decision: str, why: str) -> None:
        super().__init__(decision, why)
        self.decision, self.why = decision, why

    def __str__(self) -> str:
        return (
            f"Decision {self.decision}: {self.why}. `actuals decide list` shows all decisions and what became of them."
        )


class NeedsAnotherPerson(ActualsError):
    """Who decided cannot approve it."""

    def __init__(self, decision: UUID, author: str) -> None:
        super().__init__(decision, author)
        self.decision, self.author = decision, author

    def __str__(self) -> str:
        return (
            f"Decision {self.decision} was taken by {self.author}, who is you: another person approves it, under a "
            'login of their own. Where one person alone runs the home, write "four_eyes": false into its home.json.'
        )


def record(
    env: TenantEnvironment,
    package: str,
    kind: str,
    rows: Sequence[UUID],
    detail: Mapping[str, Any],
    *,
    by: str,
    expires_on: date | None = None,
    pass_name: str | None = None,
) -> UUID:
    """Add a decision about these rows to the log, with its audit entry. Call within `closes.locked`.

    Raises:
        RowDecidedAlready: the database refused, because of another decision about one of the rows.
    """
    decision_id = uuid4()
    try:
        with env.engine.begin() as connection:
            values = {"id": decision_id, "kind": kind, "author": by, "expires_on": expires_on, "pass": pass_name}
            _insert(env, connection, package, values, detail)
            lines = [{"decision_id": decision_id, "row_uid": row} for row in rows]
            connection.execute(sa.insert(tables.decision_row), lines)
            audit.record(connection, f"decide.{kind}", decision_id, by=by, detail=detail.get("comment"), keys=env.keys)
    except sa.exc.IntegrityError as refused:
        if _constraint(refused) == "decision_row_once":
            raise RowDecidedAlready(package, kind) from None
        raise
    return decision_id


def approve(env: TenantEnvironment, decision: Decision, *, by: str, comment: str | None = None) -> UUID:
    """Add one person's approval of what another decided, or of its withdrawal. Call within `closes.locked`.

    Raises:
        DecisionUnknown, NeedsAnotherPerson
    """
    target = decision.withdrawal if decision.withdrawal is not None and not decision.is_withdrawn else decision.id
    return _answer(env, decision.package, "approve", target, by=by, comment=comment)


def withdraw(env: TenantEnvironment, decision: Decision, *, by: str, comment: str) -> UUID:
    """Take a decision back, or ask for that where two persons put it in force. Call within `closes.locked`.

    Raises:
        DecisionUnknown
    """
    return _answer(env, decision.package, "withdraw", decision.id, by=by, comment=comment)


def position(env: TenantEnvironment, package: str) -> int:
    """How far the package's log goes; 0 where nobody decided anything."""
    d = tables.decision
    query = sa.select(sa.func.max(d.c.sequence)).join(tables.package).where(tables.package.c.name == package)
    with env.engine.begin() as connection:
        return int(connection.execute(query).scalar() or 0)


def history(env: TenantEnvironment, package: str, until: int | None = None) -> list[Decision]:
    """Every decision of a package, in order, with what the log up to a position says became of it."""
    d, r = tables.decision, tables.decision_row
    entries = sa.select(d).join(tables.package).where(tables.package.c.name == package).order_by(d.c.sequence)
    rows = (
        sa.select(r.c.decision_id, r.c.row_uid)
        .join(tables.package, tables.package.c.id == r.c.package_id)
        .where(tables.package.c.name == package)
        .order_by(r.c.row_uid)
    )
    if until is not None:
        entries = entries.where(d.c.sequence <= until)
    with env.engine.begin() as connection:
        log = connection.execute(entries).all()
        lines = connection.execute(rows).all() if log else []
    rows_of: dict[UUID, list[UUID]] = {}
    for line in lines:
        rows_of.setdefault(line.decision_id, []).append(line.row_uid)
    approvals = {one.target_id: one for one in log if one.kind == "approve"}
    withdrawals = {one.target_id: one for one in log if one.kind == "withdraw"}
    found = []
    for one in log:
        if one.kind in ("approve", "withdraw"):
            continue
        approval, withdrawal = approvals.get(one.id), withdrawals.get(one.id)
        # What two persons put in force, two persons take back.
        needs_two = approval is not None and withdrawal is not None and approval.sequence < withdrawal.sequence
        found.append(
            Decision(
                id=one.id,
                sequence=one.sequence,
                package=package,
                kind=one.kind,
                author=one.author,
                at=one.decided_at,
                rows=tuple(rows_of.get(one.id, ())),
                pass_name=one._mapping["pass"],
                expires_on=one.expires_on,
                detail=open_json(env, d.c.detail_sealed, one.id, one.detail_sealed),
                approved_by=approval.author if approval is not None else None,
                withdrawal=withdrawal.id if withdrawal is not None else None,
                is_withdrawn=withdrawal is not None and (not needs_two or withdrawal.id in approvals),
            )
        )
    return found


def _answer(env: TenantEnvironment, package: str, kind: str, target: UUID, *, by: str, comment: str | None) -> UUID:
    entry_id = uuid4()
    values = {"id": entry_id, "kind": kind, "author": by, "target_id": target}
    try:
        with env.engine.begin() as connection:
            _insert(env, connection, package, values, {"comment": comment} if comment else {})
            audit.record(connection, f"decide.{kind}", target, by=by, detail=comment, keys=env.keys)
    except sa.exc.IntegrityError as refused:
        constraint = _constraint(refused)
        if constraint == "decision_has_four_eyes":
            raise NeedsAnotherPerson(target, by) from None
        if constraint == "decision_answered_once":
            raise DecisionUnknown(str(target), f"somebody did that already ({kind})") from None
        if constraint == "decision_answer_fits":
            raise DecisionUnknown(str(target), f"there is nothing to {kind}") from None
        raise
    return entry_id


def _insert(
    env: TenantEnvironment,
    connection: sa.Connection,
    package: str,
    values: Mapping[str, Any],
    detail: Mapping[str, Any],
) -> None:
    d = tables.decision
    package_id = units.ensure_named(connection, tables.package, [package])[package]
    sealed = seal_json(env, d.c.detail_sealed, values["id"], dict(detail))
    connection.execute(sa.insert(d).values(**values, package_id=package_id, detail_sealed=sealed))


def _constraint(refused: sa.exc.IntegrityError) -> str | None:
    return refused.orig.diag.constraint_name if isinstance(refused.orig, psycopg.Error) else None
