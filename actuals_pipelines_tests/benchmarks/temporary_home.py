"""A home for one benchmark: in a temporary folder, its key beside it, its PostgreSQL running; gone at the end."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

from actuals_pipelines.operations.init_home import init_home
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.servers import running_postgres

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def temporary_home() -> Iterator[Platform]:
    """The running platform of a new home. This process and its children find the key by ACTUALS_KEYS."""
    with tempfile.TemporaryDirectory(prefix="actuals-benchmark-") as folder:
        os.environ["ACTUALS_KEYS"] = str(Path(folder) / "keys")
        os.environ.pop("ACTUALS_KEK", None)
        made = init_home(Path(folder) / "home", datetime.now(UTC))
        with running_postgres(made.home) as platform:
            yield platform


def in_a_process_of_its_own(do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function of a module in a fresh process, so that memory and imports are its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(do, *args, **kwargs).result()
