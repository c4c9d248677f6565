"""What people ask of a package's last close: its figures, its open items, why a row has its status, where a row went.

Opens what the store keeps and hands it to `report`; adds up nothing itself and logs nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import pyarrow as pa

from actuals_pipelines.domain.package import MatchingPackage, Side
from actuals_pipelines.domain.personal_data import canonical
from actuals_pipelines.errors import ActualsError, ConfigurationError
from actuals_pipelines.normalise.keys import cleaned_id, with_transaction_id
from actuals_pipelines.operations.figures import figures_from_bytes
from actuals_pipelines.operations.reconcile import state_of
from actuals_pipelines.reconcile.due import due_day
from actuals_pipelines.report.engine import over
from actuals_pipelines.report.explain import CloseFacts, Explanation, explain, not_processed
from actuals_pipelines.report.find import Found, carrying, find
from actuals_pipelines.report.open_items import open_items
from actuals_pipelines.report.overview import PackageOverview, overview
from actuals_pipelines.report.proposals import proposed_lines
from actuals_pipelines.report.wanted import Wanted
from actuals_pipelines.store import closes
from actuals_pipelines.store.live import control_totals, live
from actuals_pipelines.tables import TRANSACTIONS
from actuals_pipelines.tenants.environment import TenantEnvironment


class PackageUnknown(ConfigurationError):
    """The tenant has no package of that name."""

    def __init__(self, tenant: str, package: str, known: tuple[str, ...]) -> None:
        super().__init__(tenant, package, known)
        self.tenant, self.package, self.known = tenant, package, known

    def __str__(self) -> str:
        return f"Tenant {self.tenant!r} has no package {self.package!r}. There are: {', '.join(self.known) or 'none'}."


class NothingFound(ActualsError):
    """No row carries what was looked for. The text that was typed is not repeated: it may be a person's."""

    def __init__(self, tenant: str, sources: int, packages: int) -> None:
        super().__init__(tenant, sources, packages)
        self.tenant, self.sources, self.packages = tenant, sources, packages

    def __str__(self) -> str:
        return (
            f"No row of {self.tenant!r} has this transaction id, row id, row_uid or group id. Looked through the live "
            f"rows of {self.sources} sources and the last closes of {self.packages} packages. If it was delivered, "
            f"`actuals day {self.tenant} SOURCE DATE` shows whether its unit is held or its record was rejected."
        )


@dataclass(frozen=True, slots=True)
class OpenedClose:
    """A package's standing close with its rows."""

    package: MatchingPackage
    close: closes.Close
    rows: pa.Table  # `reconcile.close.State.rows`
    is_last: bool  # no later close stands
    proposals: pa.Table | None = None  # `reconcile.schema.PROPOSALS`; None: nothing was proposed

    @property
    def coverage(self) -> dict[str, date] | None:
        """Source -> the last day it had delivered for; a source that never had is not in it. None: all had."""
        pinned: Mapping[str, str] | None = self.close.pins.get("coverage")
        if pinned is None:
            return None
        days = {source: date.fromisoformat(day) for source, day in pinned.items()}
        return {source: day for source, day in days.items() if day != date.min}

    @property
    def holidays(self) -> frozenset[date]:
        """The days the close counted as holidays."""
        return frozenset(date.fromisoformat(day) for day in self.close.pins.get("holidays", ()))


def packages_of(env: TenantEnvironment, name: str | None) -> tuple[MatchingPackage, ...]:
    """The package of that name, or all of the tenant's. Raises PackageUnknown."""
    packages = env.tenant.packages
    chosen = tuple(package for package in packages if name in (None, package.name))
    if name is not None and not chosen:
        raise PackageUnknown(env.tenant.name, name, tuple(package.name for package in packages))
    return chosen


def opened_close(env: TenantEnvironment, package: MatchingPackage, as_of: date | None = None) -> OpenedClose | None:
    """The package's last standing close, or the last up to `as_of`; None if it has none."""
    last = closes.last_close(env, package.name)
    wanted = last if as_of is None else closes.last_close(env, package.name, before=as_of + timedelta(days=1))
    if last is None or wanted is None:
        return None
    rows, proposed = state_of(env, package.name, wanted).rows, closes.proposals(env, wanted)
    return OpenedClose(package, wanted, rows, wanted.id == last.id, proposed)


def overview_of(env: TenantEnvironment, opened: OpenedClose) -> PackageOverview:
    """The first page of one close: the figures that were proved with it."""
    kept = figures_from_bytes(closes.figures(env, opened.close))
    return overview(
        opened.rows,
        kept["figures"],
        package=opened.package.name,
        day=opened.close.day,
        question=opened.package.question,
        is_provisional=opened.close.is_provisional,
        not_in_close=_not_in_close(env, opened) if opened.is_last else None,
    )


def open_items_of(
    opened: OpenedClose, as_of: date | None = None, order: Literal["oldest", "largest"] = "oldest"
) -> pa.Table:
    """The close's open items, their age counted to `as_of` or to the close day."""
    return open_items(opened.rows, opened.package.name, as_of or opened.close.day, order=order)


def proposals_of(opened: OpenedClose) -> pa.Table:
    """What the close's keyless passes propose, for people: schema `report.proposals.PROPOSED`."""
    return proposed_lines(opened.rows, opened.proposals, opened.package.name)


def explanations(env: TenantEnvironment, text: str, package: str | None = None) -> tuple[Explanation, ...]:
    """Why what carries this id has its status: per package that has it, each group once.

    Raises:
        PackageUnknown, NothingFound
    """
    chosen = packages_of(env, package)
    wanted = wanted_by(env, text)
    explained: list[Explanation] = []
    unseen: dict[str, pa.Table] = {}
    for one in chosen:
        opened = opened_close(env, one)
        found = explain(opened.rows, wanted, _facts(opened), opened.proposals) if opened else ()
        explained.extend(found)
        if not found:
            rows = _live_rows(env, wanted, sorted({member.source for _, member in one.members()}), unseen)
            if rows.num_rows:
                explained.append(not_processed(rows, one.name))
    if not explained:
        raise NothingFound(env.tenant.name, len(env.tenant.sources), len(chosen))
    return tuple(explained)


def found_by(env: TenantEnvironment, text: str) -> Found:
    """One transaction through all sources and packages. Raises NothingFound."""
    wanted = wanted_by(env, text)
    opened = [one for package in env.tenant.packages if (one := opened_close(env, package)) is not None]
    start = _live_rows(env, wanted, [source.name for source in env.tenant.sources], {})
    found = find({one.package.name: one.rows for one in opened}, wanted, start)
    if not found.rows.num_rows:
        raise NothingFound(env.tenant.name, len(env.tenant.sources), len(opened))
    return found


def wanted_by(env: TenantEnvironment, text: str) -> Wanted:
    """What was typed, in every form in which it may be kept: as it is, as a token, as a key of each id scheme."""
    text = text.strip()
    schemes = with_transaction_id(env.tenant.ids)
    with over() as con:
        query = ", ".join(cleaned_id(scheme, "typed") for scheme in schemes)
        [cleaned] = con.execute(f"SELECT {query} FROM (SELECT ?::VARCHAR AS typed)", [text]).fetchall()  # noqa: S608
    secrets = env.keys.pseudonyms
    keys = {
        f"key_{scheme.name}": key
        for scheme, one in zip(schemes, cleaned, strict=True)
        if (key := secrets.match_key(one, scheme.name, scheme.version)) is not None
    }
    return Wanted(text, secrets.token(canonical(text)) if text else None, keys)


def _facts(opened: OpenedClose) -> CloseFacts:
    def last_day(side: Side, first: date) -> date | None:
        due = opened.package.due.get(side)
        return due_day(first, due, opened.holidays) if due else None

    return CloseFacts(opened.package, opened.close.day, last_day, opened.coverage)


def _live_rows(env: TenantEnvironment, wanted: Wanted, sources: list[str], known: dict[str, pa.Table]) -> pa.Table:
    """Live rows of these sources that carry what is wanted; `known` keeps what was read, source by source."""
    for source in sources:
        if source not in known:
            known[source] = carrying(live(env, source), wanted)
    return pa.concat_tables([TRANSACTIONS.empty_table(), *(known[source] for source in sources)])


def _not_in_close(env: TenantEnvironment, opened: OpenedClose) -> dict[tuple[str, str], int]:
    """Rows that are live now, less those that the close holds; some may turn out not relevant when taken in."""
    counted = opened.rows.group_by(["source", "currency"]).aggregate([([], "count_all")])
    held = {(row["source"], row["currency"]): row["count_all"] for row in counted.to_pylist()}
    waiting = {}
    for source in sorted({member.source for _, member in opened.package.members()}):
        for currency, (rows, _) in control_totals(env, source).items():
            more = rows - held.get((source, currency), 0)
            if more > 0:
                waiting[source, currency] = more
    return waiting
