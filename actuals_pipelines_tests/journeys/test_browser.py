"""Dagster's UI in a real browser: the link that `actuals up` prints lets it in, and it shows the tenants' assets."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.sync.client import ClientConnection, connect

from actuals_pipelines.encryption.providers import provider_for
from actuals_pipelines.operations.certificates import ensure_certificates
from actuals_pipelines.operations.running import dagster_link, must_run
from actuals_pipelines.settings import Home
from actuals_pipelines_tests.journeys.house import House, wait_for

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: `make test` as root installs it")


@pytest.fixture
def page(house: House, tmp_path: Path) -> Iterator[ClientConnection]:
    """A fresh browser's only page, over the DevTools protocol. It trusts the home's certificate."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    quiet = ["--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0"]
    ours = [f"--ignore-certificate-errors-spki-list={pin_of(house.home)}", f"--user-data-dir={tmp_path}"]
    browser = subprocess.Popen(
        [str(CHROMIUM), *options, *quiet, *ours, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        written = tmp_path / "DevToolsActivePort"
        wait_for(lambda: written.exists() and "\n" in written.read_text(), 30, 0.1)
        pages = httpx.get(f"http://127.0.0.1:{written.read_text().split()[0]}/json", trust_env=False).json()
        address = next(one["webSocketDebuggerUrl"] for one in pages if one["type"] == "page")
        with connect(address, max_size=None, proxy=None) as connection:
            yield connection
    finally:
        browser.kill()
        browser.wait()


def pin_of(home: Home) -> str:
    """SHA-256 of the server's public key, as Chromium pins it."""
    certificates = ensure_certificates(home, provider_for(home), datetime.now(UTC))
    leaf = x509.load_pem_x509_certificate(certificates.certificate.read_bytes())
    key = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


def call(page: ClientConnection, method: str, **params: Any) -> dict[str, Any]:
    """One command of the protocol; events in between are passed over."""
    page.send(json.dumps({"id": 1, "method": method, "params": params}))
    while True:
        answer: dict[str, Any] = json.loads(page.recv(timeout=30))
        if answer.get("id") == 1:
            return answer["result"]  # type: ignore[no-any-return]


def text(page: ClientConnection) -> str:
    """What a person reads on the page now."""
    shown = call(page, "Runtime.evaluate", expression="document.body ? document.body.innerText : ''")
    return str(shown["result"].get("value", ""))


def test_the_link_lets_a_browser_in_and_without_it_nothing_is_shown(house: House, page: ClientConnection) -> None:
    found = must_run(house.home)

    call(page, "Page.navigate", url=f"{found.url('dagster')}/assets")
    wait_for(lambda: "Open the link that `actuals up` printed" in text(page), 30, 0.2)

    call(page, "Page.navigate", url=dagster_link(house.home, found))
    wait_for(lambda: "Overview" in text(page), 30, 0.2)
    call(page, "Page.navigate", url=f"{found.url('dagster')}/assets")
    wait_for(lambda: "What bank delivered, byte for byte" in text(page), 30, 0.2)
    assert "east" in text(page)  # the list shows what fits; it is sorted
