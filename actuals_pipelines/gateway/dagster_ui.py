"""Dagster's own web application, to put behind the guard. The only file of the gateway that knows Dagster.

`dagster._core` is private: pyproject pins the minor release, and the guard's tests start this app for real.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from dagster import DagsterInstance, __version__
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context

from actuals_pipelines.gateway.guard import App

STATEMENT_TIMEOUT_MS = 15_000
LOCATIONS_TIMEOUT_SECONDS = 120
ASK_EVERY_SECONDS = 20
COMMON = "actuals"


@contextmanager
def dagster_app(workspace: Path, *, read_only: bool = False) -> Iterator[App]:
    """Serve the instance of DAGSTER_HOME with the code locations that `workspace` (workspace.yaml) lists."""
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(statement_timeout=STATEMENT_TIMEOUT_MS, pool_recycle=3600, max_overflow=20)
        with WorkspaceProcessContext(
            instance,
            version=__version__,
            read_only=read_only,
            workspace_load_target=WorkspaceFileTarget([str(workspace)]),
        ) as context:
            _wait_for_locations(context)
            yield cast(App, create_app_from_workspace_process_context(context))


def _wait_for_locations(context: WorkspaceProcessContext) -> None:
    """Wait until the common location answers: one that was not up yet is not asked again by itself.

    The others are asked on beside: a tenant's own location whose code or file is broken must not close the UI.
    """
    deadline = time.monotonic() + LOCATIONS_TIMEOUT_SECONDS
    while context.has_code_location_error(COMMON) and time.monotonic() < deadline:
        time.sleep(0.5)
        context.refresh_code_location(COMMON)
    threading.Thread(target=_ask_on, args=(context,), daemon=True, name="locations").start()


def _ask_on(context: WorkspaceProcessContext) -> None:
    """Look after every location for as long as this process lives: first often, because they are just starting."""
    pause = 0.5
    while True:
        for name in list(context.code_location_names):
            if context.has_code_location_error(name):
                context.refresh_code_location(name)
        time.sleep(pause)
        pause = min(pause * 1.5, ASK_EVERY_SECONDS)
