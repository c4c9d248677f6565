"""Ask the home's Dagster for a run, as the UI does: GraphQL over TLS through the guard, with the operator's token."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import httpx

from actuals_pipelines.errors import ActualsError

FINISHED = ("SUCCESS", "FAILURE", "CANCELED")

_LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on InvalidSubsetError { message }
  }
}
"""
_STATUS = """
query Status($run: ID!) {
  runOrError(runId: $run) {
    __typename
    ... on Run { status stepStats { stepKey status } }
  }
}
"""
_ASSETS = """
query Assets {
  assetNodes { assetKey { path } jobNames repository { location { name } } }
}
"""
_LOCATIONS = """
query Locations {
  workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError { __typename } } } }
}
"""
_RELOAD = """
mutation Reload($location: String!) {
  reloadRepositoryLocation(repositoryLocationName: $location) {
    __typename
    ... on WorkspaceLocationEntry { loadStatus locationOrLoadError { __typename } }
  }
}
"""
_RELOAD_WORKSPACE = """
mutation ReloadWorkspace {
  reloadWorkspace { __typename ... on Workspace { locationEntries { name locationOrLoadError { __typename } } } }
}
"""
_BACKFILL = """
mutation Backfill($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""


class DagsterRefused(ActualsError):
    """Dagster did not take a request. The answer's kind is kept, its text is not: it may hold what was sent."""

    def __init__(self, asked: str, answered: str) -> None:
        super().__init__(asked, answered)
        self.asked, self.answered = asked, answered

    def __str__(self) -> str:
        return f"Dagster was asked to {self.asked} and answered {self.answered}. See the home's log: `actuals status`."


@dataclass(frozen=True, slots=True)
class RunProgress:
    """A run's status, and how many of its steps are done."""

    run_id: str
    status: str
    steps_done: int
    steps: int
    failed_steps: tuple[str, ...]

    @property
    def is_finished(self) -> bool:
        """Whether the run will not change any more."""
        return self.status in FINISHED


class DagsterClient:
    """One home's Dagster, behind its guard.

    Args:
        url: "https://127.0.0.1:8443".
        cookie: (name, value) of the guard's cookie.
        ca_file: the home's own certificate authority; nothing else is trusted.
    """

    def __init__(self, url: str, cookie: tuple[str, str], ca_file: str, timeout_seconds: float = 60) -> None:
        self._http = httpx.Client(
            base_url=url,
            cookies={cookie[0]: cookie[1]},
            headers={"origin": url},
            verify=ssl.create_default_context(cafile=ca_file),
            timeout=timeout_seconds,
            trust_env=False,
        )

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Send one GraphQL document; return its data."""
        response = self._http.post("/graphql", json={"query": query, "variables": variables})
        if response.status_code != httpx.codes.OK:
            raise DagsterRefused("answer a question", f"HTTP {response.status_code}")
        document = response.json()
        if document.get("errors"):
            raise DagsterRefused("answer a question", "a GraphQL error")
        data: dict[str, Any] = document["data"]
        return data

    def locations(self) -> dict[str, bool]:
        """Every code location by name, and whether it is loaded without an error."""
        return _loaded_entries(self.ask(_LOCATIONS)["workspaceOrError"])

    def reload(self, location: str) -> None:
        """Let one code location load its code and tenants again. Raises DagsterRefused if it cannot."""
        answer = self.ask(_RELOAD, location=location)["reloadRepositoryLocation"]
        loaded = answer.get("locationOrLoadError") or {}
        if answer["__typename"] != "WorkspaceLocationEntry" or loaded.get("__typename") != "RepositoryLocation":
            raise DagsterRefused(f"reload {location}", loaded.get("__typename", answer["__typename"]))

    def reload_workspace(self) -> dict[str, bool]:
        """Read the workspace file again and reload every location in it; as `locations`."""
        return _loaded_entries(self.ask(_RELOAD_WORKSPACE)["reloadWorkspace"])

    def assets(self) -> dict[tuple[str, ...], tuple[str, ...]]:
        """Every asset this home's web server lists, with the names of its jobs."""
        return {tuple(node["assetKey"]["path"]): tuple(node["jobNames"]) for node in self._nodes()}

    def locations_of_assets(self) -> dict[tuple[str, ...], str]:
        """Every asset with the name of its code location."""
        return {tuple(node["assetKey"]["path"]): node["repository"]["location"]["name"] for node in self._nodes()}

    def _nodes(self) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = self.ask(_ASSETS)["assetNodes"]
        return nodes

    def launch(self, job: str, assets: Sequence[Sequence[str]], first: date, last: date, tags: dict[str, str]) -> str:
        """Start one run of `job` over the days from `first` to `last`, in the assets' location; return its id."""
        selector = {
            "repositoryLocationName": self.locations_of_assets().get(tuple(assets[0]), ""),
            "repositoryName": "__repository__",
            "pipelineName": job,
            "assetSelection": [{"path": list(path)} for path in assets],
        }
        span = {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
        pairs = [{"key": key, "value": value} for key, value in {**span, **tags}.items()]
        params = {"selector": selector, "runConfigData": {}, "mode": "default", "executionMetadata": {"tags": pairs}}
        answer = self.ask(_LAUNCH, params=params)["launchPipelineExecution"]
        if answer["__typename"] != "LaunchRunSuccess":
            raise DagsterRefused(f"start {job}", answer["__typename"])
        run_id: str = answer["run"]["runId"]
        return run_id

    def backfill(self, assets: Sequence[Sequence[str]], days: Sequence[date], title: str) -> str:
        """Start a backfill of these assets and days, exactly as the UI's dialog does; return its id."""
        params = {
            "assetSelection": [{"path": list(path)} for path in assets],
            "partitionNames": [day.isoformat() for day in days],
            "title": title,
            "tags": [],
        }
        answer = self.ask(_BACKFILL, params=params)["launchPartitionBackfill"]
        if answer["__typename"] != "LaunchBackfillSuccess":
            raise DagsterRefused("start a backfill", answer["__typename"])
        backfill_id: str = answer["backfillId"]
        return backfill_id

    def progress(self, run_id: str) -> RunProgress:
        """Where a run stands."""
        answer = self.ask(_STATUS, run=run_id)["runOrError"]
        if answer["__typename"] != "Run":
            raise DagsterRefused(f"show run {run_id}", answer["__typename"])
        stats = answer["stepStats"]
        done = [step for step in stats if step["status"] in ("SUCCESS", "FAILURE", "SKIPPED")]
        failed = tuple(step["stepKey"] for step in stats if step["status"] == "FAILURE")
        return RunProgress(run_id, answer["status"], len(done), len(stats), failed)

    def wait(
        self, run_id: str, timeout_seconds: float, tell: Callable[[RunProgress], None], every_seconds: float = 0.5
    ) -> RunProgress:
        """Wait until the run is finished, telling its progress each time it changes."""
        deadline = time.monotonic() + timeout_seconds
        told: RunProgress | None = None
        while True:
            progress = self.progress(run_id)
            if progress != told:
                tell(progress)
                told = progress
            if progress.is_finished:
                return progress
            if time.monotonic() > deadline:
                raise DagsterRefused(f"finish run {run_id} within {timeout_seconds:.0f} seconds", progress.status)
            time.sleep(every_seconds)


def _loaded_entries(workspace: dict[str, Any]) -> dict[str, bool]:
    entries = workspace.get("locationEntries", [])
    kinds = {entry["name"]: (entry["locationOrLoadError"] or {}).get("__typename") for entry in entries}
    return {name: kind == "RepositoryLocation" for name, kind in kinds.items()}
