"""The wheel is whole: whatever a running home reads of the package is in it, not only in a checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT_SHIPPED = {".pyc"}


def test_a_wheel_holds_every_file_of_the_package_and_writes_dagsters_settings(tmp_path: Path) -> None:
    """Built from a copy, because building leaves its traces; run from elsewhere, with nothing of the checkout."""
    source = tmp_path / "source"
    shutil.copytree(
        ROOT / "actuals_pipelines", source / "actuals_pipelines", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*build, str(source)], check=True, capture_output=True, timeout=120)

    [wheel] = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)

    wanted = {path.relative_to(ROOT) for path in (ROOT / "actuals_pipelines").rglob("*") if path.is_file()}
    shipped = {path.relative_to(installed) for path in installed.rglob("*") if path.is_file()}
    assert {path for path in wanted - shipped if path.suffix not in NOT_SHIPPED} == set()

    program = (
        "from actuals_pipelines.operations import dagster_home as d; "
        "from actuals_pipelines.database.server import ServerAddress; "
        "print(d.__file__, 'run_launcher' in d.dagster_yaml(ServerAddress('127.0.0.1', 5432)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed)},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    where, is_whole = done.stdout.split()
    assert Path(where).is_relative_to(installed)
    assert is_whole == "True"
