"""Start a tenant's take-in and reconciliation for a range of days on the home's Dagster, and wait for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial

from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.dagster_client import DagsterClient, RunProgress
from actuals_pipelines.operations.loaded import LoadedTenant
from actuals_pipelines.operations.running import dagster_of, must_run
from actuals_pipelines.settings import Home
from actuals_pipelines.tenants import audit

STEPS = ("raw", "validated", "stored")
RUN_TIMEOUT_SECONDS = 4 * 3600


class AssetsNotListed(ActualsError):
    """Dagster does not list a tenant's assets (yet)."""

    def __init__(self, tenant: str) -> None:
        super().__init__(tenant)
        self.tenant = tenant

    def __str__(self) -> str:
        return (
            f"Dagster lists no assets of {self.tenant!r}. Its code location may still be loading: see "
            "`actuals status`. After a change, `actuals tenant apply` reloads it and waits."
        )


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """One run that ended."""

    kind: str  # take_in | reconcile
    run_id: str
    status: str
    failed_steps: tuple[str, ...]


def client_of(home: Home) -> DagsterClient:
    """The home's Dagster, with the operator's token. Raises HomeIsNotRunning."""
    return dagster_of(home, must_run(home))


def run_days(
    home: Home,
    loaded: LoadedTenant,
    first: date,
    last: date,
    tell: Callable[[str, RunProgress], None],
    *,
    sources: tuple[str, ...] = (),
) -> list[FinishedRun]:
    """Take in every source (or those named) for the days from `first` to `last`, then reconcile every package.

    A take-in that fails because a day is held does not stop the reconciliation: the other days are live.

    Raises:
        HomeIsNotRunning, AssetsNotListed, DagsterRefused.
    """
    client = client_of(home)
    names = sources or tuple(source.name for source in loaded.tenant.sources)
    prefix = loaded.asset_prefix
    work = [("take_in", [(prefix, name, step) for name in names for step in STEPS])]
    closes = [(prefix, package.name, "reconciliation") for package in loaded.tenant.packages]
    if closes:
        work.append(("reconcile", closes))
    jobs = client.assets()
    finished = []
    for kind, assets in work:
        job = next((name for name in jobs.get(assets[0], ()) if name.startswith(kind)), None)
        if job is None:
            raise AssetsNotListed(prefix)
        with loaded.opened("run") as environment, environment.engine.begin() as connection:
            # Written first: a run that a person asked for has its entry, whatever becomes of it.
            audit.record(connection, f"run.{kind}", f"{first} to {last}")
        run_id = client.launch(job, assets, first, last, {"actuals/tenants": prefix, "actuals/asked_by": "cli"})
        end = client.wait(run_id, RUN_TIMEOUT_SECONDS, partial(tell, kind))
        finished.append(FinishedRun(kind, run_id, end.status, end.failed_steps))
    return finished
