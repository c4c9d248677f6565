"""The README is run as it stands: what it promises in the first minute is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from actuals_pipelines.cli import COMMANDS
from actuals_pipelines.tenants.parse import parse_tenant

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The README's code blocks of one language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_first_minute_prints_what_the_readme_shows(tmp_path: Path) -> None:
    """Two CSVs and a package: the printed overview and open items are those of the text, line for line."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    done = subprocess.run(
        ["bash", "-e", "-c", blocks("sh")[0]],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    printed = {line.rstrip() for line in done.stdout.splitlines()}
    missing = [line for line in blocks("text")[0].splitlines() if line.rstrip() not in printed]
    assert (done.returncode, missing, done.stderr) == (1, [], "")
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 8  # a header and seven rows


def test_the_tenant_in_the_readme_is_accepted() -> None:
    """Whoever copies it has a tenant that applies."""
    tenant = parse_tenant(blocks("yaml")[0], "README.md")

    assert [package.name for package in tenant.packages] == ["orders_vs_bank"]


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^actuals ([a-z-]+)", README, re.MULTILINE))))
def test_every_command_in_the_readme_exists_and_has_help(command: str) -> None:
    """A README that names what is not there costs a new user the first hour."""
    assert command in COMMANDS
    help_ = [sys.executable, "-m", "actuals_pipelines.cli", command, "--help"]
    done = subprocess.run(help_, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0
    assert "Usage:" in done.stdout


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_link_in_the_readme_leads_somewhere(link: str) -> None:
    """Within the repository."""
    assert (ROOT / link).exists()
