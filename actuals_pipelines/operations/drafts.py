"""A draft of a package over the rows of its last close: solved wholly, nothing kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from actuals_pipelines.domain.package import MatchingPackage
from actuals_pipelines.domain.tenant import Tenant
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.decision_lines import decision_lines
from actuals_pipelines.operations.reconcile import changed_until, coverage_at
from actuals_pipelines.reconcile.close import Pins
from actuals_pipelines.reconcile.close import close as solve_close
from actuals_pipelines.reconcile.compare import compare
from actuals_pipelines.reconcile.due import holidays_of
from actuals_pipelines.store import closes
from actuals_pipelines.tenants.environment import TenantEnvironment


class DraftReadsOtherwise(ActualsError):
    """A draft has other sources, mappings or id schemes, so the rows that are there say nothing about it."""

    def __init__(self, tenant: str, what: str) -> None:
        super().__init__(tenant, what)
        self.tenant, self.what = tenant, what

    def __str__(self) -> str:
        return (
            f"The draft has other {self.what} than tenant {self.tenant!r}, and rows were normalised with those. Test "
            "the packages first, with everything else as it is; `actuals tenant show --yaml` prints that."
        )


@dataclass(frozen=True, slots=True)
class Tried:
    """What a draft would make of a package's last close."""

    package: str
    day: date | None  # of the close; None: there is none, so there is nothing to compare
    groups: pa.Table | None  # schema `reconcile.compare.COMPARISON`


def try_draft(env: TenantEnvironment, draft: Tenant) -> list[Tried]:
    """Solve every package that the draft changes over the rows of its last close, and compare.

    Args:
        draft: the tenant's file, with changed packages.

    Raises:
        DraftReadsOtherwise; what the engine raises for a package it does not take.
    """
    now = env.tenant
    for what, mine, theirs in (("id schemes", now.ids, draft.ids), ("sources", now.sources, draft.sources)):
        if mine != theirs:
            raise DraftReadsOtherwise(now.name, what)
    known = {package.name: package for package in now.packages}
    return [_tried(env, one) for one in draft.packages if known.get(one.name) != one]


def _tried(env: TenantEnvironment, draft: MatchingPackage) -> Tried:
    """Both versions over the same rows: all that is live up to the last close's day, and the same decisions."""
    last = closes.last_close(env, draft.name)
    known = next((one for one in env.tenant.packages if one.name == draft.name), None)
    if last is None or known is None:
        return Tried(draft.name, None, None)
    before, after = (_solved(env, package, last) for package in (known, draft))
    return Tried(draft.name, last.day, compare(before, after))


def _solved(env: TenantEnvironment, package: MatchingPackage, last: closes.Close) -> pa.Table:
    rows = changed_until(env, package, until=last.day, taken=frozenset()).adds
    decided = decision_lines(env, package.name, int(last.pins["others"]["decisions"]))
    coverage, holidays = coverage_at(env, package, last.day), holidays_of(package.calendar, last.day)
    pins = Pins(day=last.day, as_of=last.day, coverage=coverage, holidays=holidays)
    return solve_close(None, rows, [], package, pins, decisions=decided).state.rows
