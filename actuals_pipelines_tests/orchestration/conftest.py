"""A Dagster instance as a home's: the same dagster.yaml, on this session's PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from actuals_pipelines.operations.dagster_home import dagster_yaml
from actuals_pipelines_tests.conftest import RunningPostgres


@pytest.fixture(scope="session")
def instance(
    postgres: RunningPostgres, platform: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dg.DagsterInstance]:
    """An instance with the home's very dagster.yaml."""
    folder = tmp_path_factory.mktemp("dagster")
    (folder / "dagster.yaml").write_text(dagster_yaml(postgres.address))
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "HOST": postgres.address.host,
            "PORT": str(postgres.address.port),
            "USER": "dagster",
            "PASSWORD": platform["dagster"],
        }.items():
            environment.setenv(f"ACTUALS_DAGSTER_PG_{name}", value)
        environment.setenv("DAGSTER_EVENT_BATCH_SIZE", "200")
        with dg.DagsterInstance.from_config(str(folder)) as made:
            yield made
