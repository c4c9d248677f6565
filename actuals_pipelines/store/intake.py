"""In = stored + rejected + repeats, in rows and minor units: the figures of one publication, and the refusal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from actuals_pipelines.errors import ActualsError
from actuals_pipelines.store.log import Publication, Totals, manifest, net

if TYPE_CHECKING:
    from actuals_pipelines.tenants.environment import TenantEnvironment


class IntakeDoesNotBalance(ActualsError):
    """What a unit brought is not what was stored, repeated or overtaken. Nothing of it was published."""

    def __init__(self, generation_id: UUID, currencies: tuple[str, ...]) -> None:
        super().__init__(generation_id, currencies)
        self.generation_id, self.currencies = generation_id, currencies

    def __str__(self) -> str:
        return (
            f"Publishing generation {self.generation_id} would lose or invent rows or amounts in "
            f"{', '.join(self.currencies)}, so nothing was published. This is a defect of the store: report it."
        )


@dataclass(frozen=True, slots=True)
class Intake:
    """What one publication made of its unit; every total is currency -> (rows, minor units)."""

    rows: Totals  # what the unit brought, as transactions
    stored: Totals
    repeats: Totals  # the same content is live already, or comes twice in the unit
    overtaken: Totals  # a later line of the unit, or a newer unit, has another version of the row
    residual: Totals  # rows - stored - repeats - overtaken: all zeros
    rejects: int  # records that did not become transactions

    @property
    def holds(self) -> bool:
        """Whether nothing was lost and nothing invented."""
        return not any(any(total) for total in self.residual.values())


def of_publication(env: TenantEnvironment, publication: Publication) -> Intake:
    """The figures of one publication, from its sealed totals."""
    return _intake(manifest(env, publication), publication.counts.get("rejects", 0))


def check(generation_id: UUID, totals: Mapping[str, Totals]) -> None:
    """Refuse a difference that loses or invents something. Raises IntakeDoesNotBalance."""
    residual = _intake(totals, 0).residual
    wrong = tuple(sorted(currency for currency, total in residual.items() if any(total)))
    if wrong:
        raise IntakeDoesNotBalance(generation_id, wrong)


def _intake(totals: Mapping[str, Totals], rejects: int) -> Intake:
    # What other units' rows became live again is added by this publication, but was not brought by its unit.
    stored = net([(1, totals["added"]), (-1, totals["restored"])])
    explained = [(-1, stored), (-1, totals["repeats"]), (-1, totals["overtaken"])]
    residual = net([(1, totals["in"]), *explained])
    return Intake(totals["in"], stored, totals["repeats"], totals["overtaken"], residual, rejects)
