"""What a code location serves: assets, jobs, pools and checks of its tenants, and the traps it must not fall into."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import dagster as dg
import pytest
import yaml

from actuals_pipelines.database.server import ServerAddress
from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.encryption.providers import create_provider, platform_key
from actuals_pipelines.operations.dagster_home import dagster_yaml
from actuals_pipelines.operations.loaded import LoadedTenant
from actuals_pipelines.orchestration.assets import CHECKS
from actuals_pipelines.orchestration.build import build_definitions
from actuals_pipelines.orchestration.io_manager import RefusingIOManager
from actuals_pipelines.settings import HOME_FILE, Home
from actuals_pipelines.tenants.parse import parse_tenant
from actuals_pipelines.tenants.projections import DatabaseLogin, LocationView, write_location_view
from actuals_pipelines_tests.tenants.examples import ACME, changed

ROOT = Path(__file__).resolve().parents[2]
STEPS = ("raw", "validated", "stored")


def a_view(name: str = "acme", text: str = ACME, environment: str = "prod") -> LocationView:
    """A tenant as a code location knows it; its database is asked nothing while definitions are built."""
    ref = TenantRef(uuid4(), environment)
    return LocationView(ref, name, text, 1, DatabaseLogin("127.0.0.1", 1, ref.database, "app", "unused"))


def loaded(text: str = ACME, environment: str = "prod") -> LoadedTenant:
    """The same, parsed."""
    tenant = parse_tenant(text, "tenant.yaml")
    return LoadedTenant(Home(Path("/nonexistent"), uuid4()), a_view(tenant.name, text, environment), tenant)


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    """A location with one tenant."""
    return build_definitions([loaded()])


@pytest.fixture(scope="module")
def nodes(definitions: dg.Definitions) -> dict[str, Any]:
    """Asset key -> its node in Dagster's graph."""
    graph = definitions.resolve_asset_graph()
    return {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}


def test_a_location_is_loadable_with_a_tenant_and_without_any(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)
    dg.Definitions.validate_loadable(build_definitions([]))


def test_each_tenant_has_its_own_family_of_assets(nodes: dict[str, Any]) -> None:
    steps = {f"acme/{source}/{step}" for source in ("shop", "psp", "bank") for step in STEPS}

    assert set(nodes) == steps | {"acme/orders_vs_psp/reconciliation", "acme/psp_vs_bank/reconciliation"}


def test_every_asset_of_a_tenant_is_in_its_group_and_its_pool(nodes: dict[str, Any]) -> None:
    """The pool holds runs from the UI too; a limit by tags would not."""
    assert {(node.group_name, *node.pools) for node in nodes.values()} == {("acme", "tenant_acme")}


def test_days_go_up_to_and_with_today_and_a_range_is_one_run(nodes: dict[str, Any]) -> None:
    """Without end_offset a range run on today records nothing; without single_run it is a run a day."""
    [days] = {node.partitions_def for node in nodes.values()}

    assert (days.end_offset, days.timezone, f"{days.start:%Y-%m-%d}") == (1, "Europe/Amsterdam", "2026-01-01")
    assert {node.backfill_policy for node in nodes.values()} == {dg.BackfillPolicy.single_run()}


def test_a_tenants_test_environment_is_a_family_of_its_own() -> None:
    both = build_definitions([loaded(), loaded(environment="test")])

    prefixes = {key.path[0] for key in both.resolve_asset_graph().get_all_asset_keys()}
    pools = {pool for node in both.resolve_asset_graph().asset_nodes for pool in node.pools}
    assert (prefixes, pools) == ({"acme", "acme_test"}, {"tenant_acme", "tenant_acme_test"})


def test_two_jobs_and_two_sensors_for_each_time_zone() -> None:
    """Tenants of one zone share them, and a run takes in all that wait."""
    second = changed("name: acme", "name: bolt").replace("acme_drop", "bolt_drop")
    third = second.replace("name: bolt", "name: cove").replace("bolt_drop", "cove_drop")
    texts = (ACME, second, third.replace("Europe/Amsterdam", "Asia/Tokyo"))

    repository = build_definitions([loaded(text) for text in texts]).get_repository_def()

    jobs = {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")}
    assert jobs - {"housekeeping"} == {
        f"{job}_{zone}" for job in ("take_in", "reconcile") for zone in ("europe_amsterdam", "asia_tokyo")
    }
    looks = {sensor.name for sensor in repository.sensor_defs}
    assert looks == {f"{s}_{zone}" for s in ("arrivals", "published") for zone in ("europe_amsterdam", "asia_tokyo")}
    assert all(sensor.default_status is dg.DefaultSensorStatus.RUNNING for sensor in repository.sensor_defs)


def test_each_source_has_one_check_a_day(nodes: dict[str, Any]) -> None:
    """An evaluation costs three statements: one a day carries the names of what did not pass."""
    for source_name in ("shop", "psp", "bank"):
        assert {key.name for key in nodes[f"acme/{source_name}/validated"].check_keys} == set(CHECKS)


def test_no_check_blocks(definitions: dg.Definitions) -> None:
    """A blocking check in a run of thirty days would stop all thirty: the catalogue's gate holds the day."""
    specs = [spec for asset in definitions.assets or () for spec in cast(dg.AssetsDefinition, asset).check_specs]

    assert specs
    assert not any(spec.blocking for spec in specs)


def test_a_step_that_hands_data_over_is_refused() -> None:
    """Dagster's own I/O manager would pickle it to disk in plaintext."""

    @dg.asset
    def leaking() -> list[str]:
        return ["a customer's row"]

    manager = build_definitions([loaded()]).resources or {}
    done = dg.materialize([leaking], resources={"io_manager": manager["io_manager"]}, raise_on_error=False)

    assert not done.success
    with pytest.raises(dg.DagsterInvariantViolationError, match="in plaintext"):
        RefusingIOManager().load_input(cast(dg.InputContext, SimpleNamespace(name="leaking")))


def test_steps_run_in_the_runs_own_process(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()

    jobs = [job for job in repository.get_all_jobs() if not job.name.startswith("__")]
    assert {job.executor_def.name for job in jobs} == {"in_process"}


def test_the_homes_dagster_yaml_keeps_no_output_and_speaks_dagsters_driver() -> None:
    """The repository's file with the home's storage, as `actuals up` writes it."""
    written = yaml.safe_load(dagster_yaml(ServerAddress("127.0.0.1", 5432)))

    assert yaml.safe_load((ROOT / "dagster.yaml").read_text()).items() <= written.items()
    assert written["storage"]["custom"]["config"]["postgres_db"]["scheme"] == "postgresql+psycopg2"
    assert written["compute_logs"]["class"] == "NoOpComputeLogManager"
    assert written["telemetry"] == {"enabled": False}
    assert written["concurrency"]["pools"] == {"granularity": "run", "default_limit": 1}
    assert written["run_retries"]["retry_on_asset_or_op_failure"] is False


def test_a_server_on_the_network_is_verified_by_dagster_too() -> None:
    """The operator's TLS settings reach Dagster's own storage: it would speak to anyone else."""
    tls = (("sslmode", "verify-full"), ("sslrootcert", "/etc/ca.pem"))

    written = yaml.safe_load(dagster_yaml(ServerAddress("db.example", 5432, None, tls)))

    assert written["storage"]["custom"]["config"]["postgres_db"]["params"] == dict(tls)


@pytest.mark.parametrize(
    "command",
    [
        ["dagster", "definitions", "validate", "-w", "workspace.yaml"],
        ["dg", "check", "defs"],
    ],
    ids=["dagster definitions validate", "dg check defs"],
)
def test_the_code_can_be_validated_without_a_home(command: list[str], tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ACTUALS_", "DAGSTER_"))}
    environment["DG_CLI_CONFIG"] = str(tmp_path / "none.toml")
    program = Path(sys.executable).parent / command[0]

    done = subprocess.run(
        [program, *command[1:]], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_loading_a_location_with_a_tenant_loads_no_great_expectations(tmp_path: Path) -> None:
    """It would take seconds and 260 MB in every process. pandas is loaded by pyarrow's datasets, whatever we do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACTUALS_KEYS", str(tmp_path / "keys"))
        home = Home(tmp_path / "home", uuid4())
        home.locations.mkdir(parents=True)
        (home.root / HOME_FILE).write_text(json.dumps({"home": str(home.uuid), "version": 1}))
        write_location_view(home.locations, platform_key(create_provider(home), home.uuid, "locations"), a_view())
    program = (
        "import json, sys; from actuals_pipelines.definitions import defs; "
        "assets = len(defs.resolve_asset_graph().get_all_asset_keys()); "
        "print(json.dumps([assets, [m for m in ('great_expectations', 'scipy') if m in sys.modules]]))"
    )

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**os.environ, "ACTUALS_HOME": str(home.root), "ACTUALS_KEYS": str(tmp_path / "keys")},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert json.loads(done.stdout) == [11, []]
