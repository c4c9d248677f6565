"""The demo's own home: made anew, kept up in a process of its own, with a PSP's API beside it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from actuals_pipelines.encryption.providers import provider_for
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.certificates import ensure_certificates
from actuals_pipelines.operations.health import all_healthy, health
from actuals_pipelines.operations.init_home import init_home
from actuals_pipelines.operations.running import running
from actuals_pipelines.settings import HOME_FILE, Home, base_environment, find_home, key_environment

LOOK_EVERY_SECONDS = 2
UP_TIMEOUT_SECONDS = 120
MARKER = "demo.json"
"""Says that a home is the demo's own, and may be made anew."""


class NotADemoHome(ActualsError):
    """The folder named for the demo holds somebody's home."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.root = root

    def __str__(self) -> str:
        return f"{self.root} is not a home that the demo made, so it is left alone. Name another one with --home."


class DemoFailed(ActualsError):
    """A step of the demo did not come to its end."""

    def __init__(self, step: str, found: str) -> None:
        super().__init__(step, found)
        self.step, self.found = step, found

    def __str__(self) -> str:
        return f"The demo stopped at {self.step!r}: {self.found}."


def new_home(root: Path, now: datetime) -> Home:
    """Make the demo's home, anew where the demo made one before; nobody else's is touched."""
    root = root.absolute()
    if (root / HOME_FILE).exists():
        if not (root / MARKER).exists():
            raise NotADemoHome(str(root))
        old = find_home(str(root))
        found = running(old)
        if found is not None:
            raise DemoFailed("make the home", f"the demo's home is running (process {found.pid}); stop it first")
        shutil.rmtree(root)
        old.kek_file.unlink(missing_ok=True)
    elif root.exists() and any(root.iterdir()):
        raise NotADemoHome(str(root))
    home = init_home(root, now).home
    (root / MARKER).write_text(json.dumps({"made_at": now.isoformat()}) + "\n")
    return home


@contextmanager
def kept_up(home: Home) -> Iterator[None]:
    """`actuals up` in a process of its own, until the demo is done."""
    command = [sys.executable, "-m", "actuals_pipelines.cli", "up", "--home", str(home.root)]
    environment = {**base_environment(), **key_environment()}
    log = (home.run / "up.log").open("wb")
    with log:
        up = subprocess.Popen(
            [*command, "--look-every", str(LOOK_EVERY_SECONDS)], env=environment, stdout=log, stderr=log
        )
    try:
        _wait_until_healthy(home, up)
        yield
    finally:
        up.send_signal(signal.SIGINT)
        try:
            up.wait(60)
        except subprocess.TimeoutExpired:
            up.kill()
            up.wait()


def _wait_until_healthy(home: Home, up: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + UP_TIMEOUT_SECONDS
    while not all_healthy(states := health(home)):
        if up.poll() is not None or time.monotonic() > deadline:
            missing = ", ".join(state.name for state in states if not state.healthy)
            raise DemoFailed("start the home", f"not healthy: {missing}; see {home.run / 'logs'}")
        time.sleep(0.3)


@contextmanager
def psp_emulator(home: Home, world: Path, tenants: Sequence[str], now: datetime) -> Iterator[str]:
    """A PSP's API on this machine, behind OAuth 2 and TLS; another secret for each tenant."""
    certificates = ensure_certificates(home, provider_for(home), now)
    clients = world / "clients.json"
    clients.write_text(
        json.dumps(
            [{"client_id": name, "client_secret": f"secret of {name}", "folder": f"{name}/psp_api"} for name in tenants]
        )
    )
    tls = ["--certificate", str(certificates.certificate), "--key", str(certificates.key), "--passphrase-stdin"]
    command = [sys.executable, "-m", "actuals_pipelines.operations.psp_emulator", "--data", str(world), *tls]
    emulator = subprocess.Popen(
        [*command, "--clients", str(clients)],
        env=base_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert emulator.stdin is not None and emulator.stdout is not None  # noqa: S101 - they are pipes
        emulator.stdin.write(certificates.passphrase + "\n")
        emulator.stdin.close()
        line = emulator.stdout.readline()
        if not line:
            raise DemoFailed("start the PSP's emulator", f"it ended with exit code {emulator.wait(10)}")
        yield json.loads(line)["url"]
    finally:
        emulator.terminate()
        emulator.wait(20)
