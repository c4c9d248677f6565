"""The emulator as a process: it says where it listens and stops when told."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
from cryptography.hazmat.primitives import serialization

from actuals_pipelines_tests.sources.oauth_api.emulator import write_certificates


def test_it_opens_a_sealed_key_says_its_port_and_stops_on_sigterm(tmp_path: Path) -> None:
    write_certificates(tmp_path)
    key = serialization.load_pem_private_key((tmp_path / "key").read_bytes(), None)
    sealing = serialization.BestAvailableEncryption(b"a passphrase")
    sealed = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealing)
    (tmp_path / "key").write_bytes(sealed)
    (tmp_path / "clients.json").write_text("[]")
    options = {"data": tmp_path, "clients": tmp_path / "clients.json", "certificate": tmp_path / "leaf.pem"}
    command = [f"--{name}={path}" for name, path in {**options, "key": tmp_path / "key"}.items()]
    process = subprocess.Popen(
        [sys.executable, "-m", "actuals_pipelines.operations.psp_emulator", *command, "--passphrase-stdin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    process.stdin.write("a passphrase\n")
    process.stdin.flush()
    said = json.loads(process.stdout.readline())
    trust = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    answer = httpx.get(f"{said['url']}/admin/counts", verify=trust, timeout=30)
    process.terminate()

    assert answer.status_code == 404  # the admin paths exist only with --faults
    assert said["url"] == f"https://127.0.0.1:{said['port']}"
    assert process.wait(20) == -15 or process.returncode == 0
