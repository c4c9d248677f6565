"""People's decisions over a package's last close: named as people name rows, written to the log, in effect at once.

A decision is taken under the package's lock, and then the last close is taken again with it: what it touches is solved
anew, and the close before stays with it, superseded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID, uuid4

from actuals_pipelines.domain.money import Money
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.reconcile import close_again
from actuals_pipelines.operations.reports import OpenedClose, opened_close, packages_of, wanted_by
from actuals_pipelines.reconcile.decisions import fingerprint_sql
from actuals_pipelines.reconcile.members import key_columns
from actuals_pipelines.report.engine import over
from actuals_pipelines.report.wanted import columns_of, condition
from actuals_pipelines.store import closes, decisions
from actuals_pipelines.store.decisions import Decision
from actuals_pipelines.tenants.environment import TenantEnvironment

MAX_ROWS = 100_000
"""More rows than this are no decision of a person."""

_ROW = "row_uid, side, source, currency, contribution, status, group_key, continuation"


class NothingClosed(ActualsError):
    """The package has no close yet, so there is nothing to decide about."""

    def __init__(self, package: str) -> None:
        super().__init__(package)
        self.package = package

    def __str__(self) -> str:
        return f"Package {self.package!r} has no close yet. `actuals run TENANT` takes one; then decide about its rows."


class NotOneRow(ActualsError):
    """What should name one row of the last close names none, or several. What was typed is not repeated."""

    def __init__(self, package: str, place: int, found: Sequence[str]) -> None:
        super().__init__(package, place, tuple(found))
        self.package, self.place, self.found = package, place, tuple(found)

    def __str__(self) -> str:
        start = f"Row {self.place} of the command names"
        if not self.found:
            return f"{start} no row that package {self.package!r} takes. `actuals find` shows the rows of an id."
        listed = "; ".join(self.found)
        return f"{start} {len(self.found)} rows of package {self.package!r}: {listed}. Name one by its row_uid."


class DoesNotFit(ActualsError):
    """A decision that could never hold."""

    def __init__(self, package: str, why: str, advice: str) -> None:
        super().__init__(package, why, advice)
        self.package, self.why, self.advice = package, why, advice

    def __str__(self) -> str:
        return f"Package {self.package!r}: {self.why}. {self.advice}"


@dataclass(frozen=True, slots=True)
class Taken:
    """A decision that is in the log, and what it did."""

    decision: Decision
    state: str  # see `state_of_decision`
    close: str  # "published" | "provisional" | "held" | "as before": what became of the last close


def match(env: TenantEnvironment, package: str, rows: Sequence[str], *, by: str, said: Mapping[str, Any]) -> Taken:
    """Put rows together. What leaves a difference beyond the tolerance holds when another person approved it.

    Args:
        rows: each names one row: a transaction id, a row's id or its row_uid.
        said: comment, attachment.

    Raises:
        PackageUnknown, NothingClosed, NotOneRow, DoesNotFit, RowDecidedAlready
    """

    def write(opened: OpenedClose) -> UUID:
        found = [_one_row(env, opened, text, place) for place, text in enumerate(rows, 1)]
        if len({row["row_uid"] for row in found}) != len(found) or len(found) < 2:
            raise DoesNotFit(package, "a match needs two rows or more, each named once", "Name them apart.")
        if len({row["currency"] for row in found}) > 1:
            raise DoesNotFit(package, "the rows are in several currencies", "A match is of one currency.")
        detail = {**said, "difference": sum(row["contribution"] for row in found)}
        return decisions.record(env, package, "match", [row["row_uid"] for row in found], detail, by=by)

    return _take(env, package, write)


def detach(env: TenantEnvironment, package: str, row: str, *, by: str, said: Mapping[str, Any]) -> Taken:
    """Let a row stand alone, whatever ids it carries. Raises as `match`."""

    def write(opened: OpenedClose) -> UUID:
        return decisions.record(env, package, "detach", [_one_row(env, opened, row, 1)["row_uid"]], said, by=by)

    return _take(env, package, write)


def rekey(
    env: TenantEnvironment, package: str, row: str, new_id: str, *, scheme: str | None, by: str, said: Mapping[str, Any]
) -> Taken:
    """Give a row another id of one scheme. Raises as `match`."""

    def write(opened: OpenedClose) -> UUID:
        known = wanted_by(env, new_id).keys
        names = [name for name in key_columns(opened.package) if name in known]
        names = [name for name in names if scheme is None or name == f"key_{scheme}"]
        if len(names) != 1:
            read = ", ".join(name.removeprefix("key_") for name in names) or "none"
            why = f"the id is one of {len(names)} schemes that its passes use ({read})"
            raise DoesNotFit(package, why, "Write the id as the sources have it, or name its scheme with --scheme.")
        detail = {**said, "key_column": names[0], "key": str(known[names[0]])}
        return decisions.record(env, package, "rekey", [_one_row(env, opened, row, 1)["row_uid"]], detail, by=by)

    return _take(env, package, write)


def explain(
    env: TenantEnvironment,
    package: str,
    group: str,
    category: str,
    *,
    expires_on: date | None,
    by: str,
    said: Mapping[str, Any],
) -> Taken:
    """Label an open group; it holds for the rows and amounts that it has now. Raises as `match`."""

    def write(opened: OpenedClose) -> UUID:
        rows, fingerprint = _open_group(env, opened, group)
        detail = {**said, "category": category, "fingerprint": fingerprint}
        uids = [row["row_uid"] for row in rows]
        return decisions.record(env, package, "explain", uids, detail, by=by, expires_on=expires_on)

    return _take(env, package, write)


def adjust(
    env: TenantEnvironment, package: str, group: str, *, posted_on: date | None, by: str, said: Mapping[str, Any]
) -> Taken:
    """Write an open group's difference off, as a row of the source `adjustments`; another person approves it.

    Raises as `match`.
    """

    def write(opened: OpenedClose) -> UUID:
        rows, _ = _open_group(env, opened, group)
        day, start = posted_on or opened.close.day, opened.package.start
        if start is not None and day < start:
            raise DoesNotFit(package, f"it starts on {start}, after the posting date {day}", "Post it later.")
        uid = uuid4()
        detail = {
            **said,
            "adjustment": str(uid),
            "amount": sum(row["contribution"] for row in rows),  # on IST its contribution is the opposite
            "currency": rows[0]["currency"],
            "posted_on": str(day),
        }
        return decisions.record(env, package, "adjust", [*(row["row_uid"] for row in rows), uid], detail, by=by)

    return _take(env, package, write)


def approve(env: TenantEnvironment, decision: str, *, by: str, comment: str | None) -> Taken:
    """Approve what another person decided, or its withdrawal. Raises DecisionUnknown, NeedsAnotherPerson."""
    found = found_decision(env, decision)

    def write(_: OpenedClose) -> UUID:
        decisions.approve(env, found, by=by, comment=comment)
        return found.id

    return _take(env, found.package, write)


def withdraw(env: TenantEnvironment, decision: str, *, by: str, comment: str) -> Taken:
    """Take a decision back; what two persons put in force another one lets go, too. Raises DecisionUnknown."""
    found = found_decision(env, decision)

    def write(_: OpenedClose) -> UUID:
        decisions.withdraw(env, found, by=by, comment=comment)
        return found.id

    return _take(env, found.package, write)


def listed(env: TenantEnvironment, package: str | None) -> list[tuple[Decision, str]]:
    """Every decision of a package, or of all of them, with its state. Raises PackageUnknown."""
    found = []
    for one in packages_of(env, package):
        opened = opened_close(env, one)
        found += [(each, state_of_decision(each, opened)) for each in decisions.history(env, one.name)]
    return found


def found_decision(env: TenantEnvironment, text: str) -> Decision:
    """The decision of this id, of whichever package. Raises DecisionUnknown."""
    for package in env.tenant.packages:
        for one in decisions.history(env, package.name):
            if str(one.id) == text.strip().lower():
                return one
    raise decisions.DecisionUnknown(text if _is_uuid(text) else "of that name", "there is none of this id")


def state_of_decision(decision: Decision, opened: OpenedClose | None) -> str:
    """withdrawn | waits (for another person) | expired | void | in force, as of a close that knows the decision."""
    if decision.is_withdrawn:
        return "withdrawn"
    if not decision.is_in_force:
        return "waits"
    if opened is not None and decision.expires_on is not None and decision.expires_on < opened.close.day:
        return "expired"
    if opened is None or decision.kind in ("detach", "rekey") or _holds(decision, opened):
        return "in force"
    balances_not = decision.kind == "match" and decision.approved_by is None and decision.detail.get("difference")
    return "waits" if balances_not else "void"


def _holds(decision: Decision, opened: OpenedClose) -> bool:
    """Whether the close has the group that a claim makes, or explained the group that a label is of."""
    with over(rows=opened.rows) as con:
        if decision.kind == "explain":
            query = f"""
                SELECT count(*) FROM (
                SELECT {fingerprint_sql()} AS print FROM rows WHERE status = 'explained' AND group_key IN (
                    SELECT group_key FROM rows WHERE row_uid = ?) GROUP BY group_key, currency, continuation)
                WHERE print = ?"""  # noqa: S608
            values = [decision.rows[0], decision.detail["fingerprint"]]
        else:
            query, values = "SELECT count(*) FROM rows WHERE group_key = ?", [decision.id]
        [(count,)] = con.execute(query, values).fetchall()
    return bool(count)


def _take(env: TenantEnvironment, package: str, write: Callable[[OpenedClose], UUID]) -> Taken:
    [chosen] = packages_of(env, package)
    with closes.locked(env, package):
        opened = opened_close(env, chosen)
        if opened is None:
            raise NothingClosed(package)
        decision_id = write(opened)
        result = close_again(env, chosen, opened.close.day)
        after = opened_close(env, chosen)
    [taken] = [one for one in decisions.history(env, package) if one.id == decision_id]
    return Taken(taken, state_of_decision(taken, after), result.outcome)


def _one_row(env: TenantEnvironment, opened: OpenedClose, text: str, place: int) -> dict[str, Any]:
    found = _rows(env, opened, text, "AND status <> 'not_relevant'")
    if len(found) != 1:
        words = [f"{row['row_uid']} ({row['source']})" for row in found[:5]]
        raise NotOneRow(opened.package.name, place, words)
    return found[0]


def _open_group(env: TenantEnvironment, opened: OpenedClose, text: str) -> tuple[list[dict[str, Any]], str]:
    """The rows of one open group, named by its id or by a row in it, and its fingerprint."""
    package = opened.package.name
    named = {(row["group_key"], row["currency"], row["continuation"], row["status"])
             for row in _rows(env, opened, text, "AND group_key IS NOT NULL")}  # fmt: skip
    if len(named) != 1:
        why = f"this names {len(named)} groups"
        raise DoesNotFit(package, why, "Name one by its id; `actuals explain` shows it.")
    [(key, currency, continuation, status)] = named
    if status not in ("unmatched", "explained"):
        raise DoesNotFit(package, f"the group is {status}", "Only what is open is explained or written off.")
    where, values = "group_key = ? AND currency = ? AND continuation = ?", [key, currency, continuation]
    with over(rows=opened.rows) as con:
        rows = con.sql(f"SELECT {_ROW} FROM rows WHERE {where}", params=values).to_arrow_table().to_pylist()  # noqa: S608
        [(fingerprint,)] = con.execute(f"SELECT {fingerprint_sql()} FROM rows WHERE {where}", values).fetchall()  # noqa: S608
    if len(rows) > MAX_ROWS:
        raise DoesNotFit(package, f"the group has {len(rows)} rows", f"A decision is about {MAX_ROWS} at most.")
    return rows, str(fingerprint)


def _rows(env: TenantEnvironment, opened: OpenedClose, text: str, tail: str) -> list[dict[str, Any]]:
    with over(rows=opened.rows) as con:
        where, values = condition(wanted_by(env, text), opened.package.name, columns_of(con, "rows"))
        query = f"SELECT {_ROW} FROM rows WHERE {where} {tail}"  # noqa: S608
        found: list[dict[str, Any]] = con.sql(query, params=values).to_arrow_table().to_pylist()
    return found


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def in_words(decision: Decision) -> str:
    """What it decided, in a few words for people; amounts with their currency."""
    detail = decision.detail
    about = {
        "explain": f"as {detail.get('category')!r}" + (f" until {decision.expires_on}" if decision.expires_on else ""),
        "adjust": f"{_money(detail)} posted on {detail.get('posted_on')}",
    }.get(decision.kind, "")
    return f"{decision.kind} {about}".strip()


def _money(detail: Mapping[str, Any]) -> str:
    return str(Money(detail["amount"], detail["currency"])) if "amount" in detail else ""
