"""One emulator over small demo data serves the whole room's tests; each test finds it well again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from actuals_pipelines.operations.demo_data import Wanted, write_demo_data
from actuals_pipelines_tests.sources.oauth_api.emulator import (
    REDIRECT,
    SECRET,
    Caller,
    Emulator,
    start_emulator,
    write_certificates,
)


@pytest.fixture(scope="session")
def psp_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demo data of one client, and the file that names it."""
    folder = tmp_path_factory.mktemp("psp")
    write_demo_data(Wanted(orders=1000, seed=4), folder / "demo")
    client = {"client_id": "demo", "client_secret": SECRET, "folder": "demo/psp_api", "redirect_uris": [REDIRECT]}
    (folder / "clients.json").write_text(json.dumps([client]))
    return folder


@pytest.fixture(scope="session")
def psp_tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA and the emulator's certificate."""
    folder = tmp_path_factory.mktemp("psp_tls")
    write_certificates(folder)
    return folder


@pytest.fixture(scope="session")
def running_emulator(psp_data: Path, psp_tls: Path) -> Iterator[Emulator]:
    """The process."""
    emulator = start_emulator(psp_data, psp_tls)
    yield emulator
    emulator.process.terminate()
    emulator.process.wait(20)


@pytest.fixture
def emulator(running_emulator: Emulator) -> Emulator:
    """The emulator, well."""
    running_emulator.fails()
    return running_emulator


@pytest.fixture
def caller(emulator: Emulator) -> Caller:
    """A source that has never pulled before."""
    return Caller(emulator)
