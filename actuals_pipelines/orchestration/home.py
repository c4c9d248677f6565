"""What assets and sensors know of the home: the loaded tenants, and the operations on them.

A code location loads the tenants whose location views it can open. Views are read again at each load (a reload, a
run's own process), never between: Dagster's assets and our tenants are then of one version.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import cache
from zoneinfo import ZoneInfo

import dagster as dg

from actuals_pipelines.domain.package import MatchingPackage
from actuals_pipelines.domain.source import Source
from actuals_pipelines.operations.loaded import LoadedTenant, load_tenants
from actuals_pipelines.operations.reconcile import close, packages_waiting
from actuals_pipelines.operations.results import DayResult, Waiting
from actuals_pipelines.operations.take_in import catalogue_mark, land, publish, sources_waiting, validate


class HomeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The operations of this location's tenants."""

    def tenants(self) -> list[LoadedTenant]:
        """Every tenant this location serves."""
        return list(_tenants_of_this_process().values())

    def tenant(self, asset_prefix: str) -> LoadedTenant:
        """The tenant whose assets carry this prefix; KeyError if this location does not serve it."""
        return _tenants_of_this_process()[asset_prefix]

    def land(self, prefix: str, source: Source, days: Sequence[date]) -> list[DayResult]:
        """Bring in what the source delivered for these days, byte for byte and sealed."""
        loaded = self.tenant(prefix)
        with loaded.opened(f"raw {source.name}") as environment:
            return land(environment, source, days, now=now(), access=loaded.home.remote)

    def judge(self, prefix: str, source: Source, days: Sequence[date]) -> list[DayResult]:
        """Normalise and judge every landed unit of these days that has no verdict yet."""
        with self.tenant(prefix).opened(f"validated {source.name}") as environment:
            return validate(environment, source, days)

    def publish(self, prefix: str, source: Source, days: Sequence[date]) -> list[DayResult]:
        """Make the units of these days live that passed; a held day stays as it was."""
        with self.tenant(prefix).opened(f"stored {source.name}") as environment:
            return publish(environment, source, days)

    def close(self, prefix: str, package: MatchingPackage, days: Sequence[date]) -> list[DayResult]:
        """Reconcile the package at each of these close days, in order."""
        with self.tenant(prefix).opened(f"reconciliation {package.name}") as environment:
            return close(environment, package, days)

    def waiting(self, loaded: LoadedTenant) -> Waiting:
        """What the tenant's catalogue says waits. There is no cursor."""
        with loaded.opened("looking for what waits") as environment:
            today = now().astimezone(ZoneInfo(loaded.tenant.time_zone)).date()
            sources = sources_waiting(environment, now=now())
            packages = packages_waiting(environment, today=today)
            return Waiting(sources=sources, packages=packages, mark=catalogue_mark(environment))


@cache
def _tenants_of_this_process() -> dict[str, LoadedTenant]:
    """Loaded once: Dagster makes a resource anew at every tick, and each would open connections of its own."""
    return {loaded.asset_prefix: loaded for loaded in load_tenants()}


def now() -> datetime:
    """The clock, read here and handed down."""
    return datetime.now(UTC)
