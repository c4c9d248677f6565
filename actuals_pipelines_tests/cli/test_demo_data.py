"""`actuals demo-data` writes a folder per tenant and says what is in it."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from actuals_pipelines.cli import actuals


def test_json_says_where_the_truth_lies_and_how_many_defects_it_has(tmp_path: Path) -> None:
    run = CliRunner().invoke(
        actuals, ["demo-data", "--orders", "200", "--out", str(tmp_path), "--tenant", "north", "--json"]
    )

    said = json.loads(run.output)
    assert said["rows"]["shop"] > 200
    assert said["defects"]["duplicate"] == 3
    assert Path(said["truth"]) == tmp_path / "north" / "truth.parquet"
    assert Path(said["truth"]).is_file()


def test_too_few_orders_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    run = CliRunner().invoke(actuals, ["demo-data", "--orders", "5", "--out", str(tmp_path)])

    assert run.exit_code != 0
    assert list(tmp_path.iterdir()) == []
