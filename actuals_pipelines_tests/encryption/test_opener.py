"""The format's test vectors, and the stand-alone opener that was written from FORMAT.md alone."""

from __future__ import annotations

import ast
import hashlib
import hmac
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.encryption import opener
from actuals_pipelines.encryption.container import ContainerAad, ContainerWriter, DataKey, Kind, read_container
from actuals_pipelines.encryption.hpke import PrivateKey

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
PRIVATE_KEY = bytes.fromhex(VECTORS["private_key"])
each_case = pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])


def plain(case: dict[str, Any]) -> bytes:
    return bytes(i % 251 for i in range(case["size"]))


def place(case: dict[str, Any]) -> ContainerAad:
    return ContainerAad(
        Kind[case["kind"].upper()],
        TenantRef(UUID(case["tenant"]), case["environment"]),
        UUID(case["file"]),
        source=UUID(case["source"]),
        generation=UUID(case["generation"]),
    )


def written(case: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    data_key = DataKey(bytes.fromhex(case["data_key"]), bytes.fromhex(case["sealed_key"]))
    writer = ContainerWriter(file, bytes.fromhex(VECTORS["public_key"]), place(case), data_key=data_key)
    writer.write(plain(case))
    assert writer.finish().sha256.hex() == case["container_sha256"]
    return file.getvalue()


@each_case
def test_the_writer_makes_the_vectors_container(case: dict[str, Any]) -> None:
    container = written(case)

    assert place(case).to_bytes().hex() == case["aad"]
    assert len(container) == case["container_size"]
    assert hashlib.sha256(container).hexdigest() == case["container_sha256"]
    assert case.get("container") in (None, container.hex())


@each_case
def test_our_reader_and_the_opener_read_the_vectors_container(case: dict[str, Any]) -> None:
    container, key = written(case), bytes.fromhex(case["sealed_key"])

    aad = opener.aad_of(
        case["kind"], case["environment"], *(UUID(case[name]) for name in ("tenant", "source", "generation", "file"))
    )

    assert read_container(io.BytesIO(container), PrivateKey(PRIVATE_KEY), key, place(case)).read() == plain(case)
    assert b"".join(opener.plaintext(io.BytesIO(container), PRIVATE_KEY, key, aad)) == plain(case)


@each_case
def test_the_sealed_key_opens_by_rfc_9180_worked_by_hand(case: dict[str, Any]) -> None:
    """DHKEM and key schedule written out here, so that the library's suite is the one that FORMAT.md names."""
    sealed = bytes.fromhex(case["sealed_key"])
    header = bytes.fromhex("894143540d0a1a0a0101") + hashlib.sha256(bytes.fromhex(VECTORS["public_key"])).digest()[:16]
    info = b"actuals container 1" + header + bytes.fromhex(case["aad"])

    assert _open_base_x25519_sha256_aes256gcm(sealed, PRIVATE_KEY, info).hex() == case["data_key"]


def test_the_opener_stands_alone() -> None:
    """Only the standard library and `cryptography`: it must run where nothing of ours is installed."""
    tree = ast.parse(Path(opener.__file__).read_text())
    modules = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }

    assert modules - {"cryptography"} <= sys.stdlib_module_names


def _run_opener(
    folder: Path, case: dict[str, Any], container: bytes, **other: str
) -> subprocess.CompletedProcess[bytes]:
    (folder / "container").write_bytes(container)
    (folder / "key").write_bytes(PRIVATE_KEY)
    names = ("kind", "environment", "tenant", "source", "generation", "file")
    ids = {name: case[name] for name in names} | {"sealed-key": case["sealed_key"]} | other
    arguments = [text for name, value in ids.items() for text in (f"--{name}", value)]
    return subprocess.run(
        [sys.executable, "-I", opener.__file__, folder / "container", "--private-key", folder / "key", *arguments],
        capture_output=True,
        check=False,
        timeout=60,
    )


def test_the_opener_runs_as_a_script(tmp_path: Path) -> None:
    case = VECTORS["cases"][2]

    done = _run_opener(tmp_path, case, written(case))

    assert (done.returncode, done.stdout, done.stderr) == (0, plain(case), b"")


def test_the_opener_says_when_a_container_is_not_true(tmp_path: Path) -> None:
    case = VECTORS["cases"][2]
    container = written(case)

    for bad, other in [
        (container[:-1], {}),
        (container + b"\0", {}),
        (container[:-1] + bytes([container[-1] ^ 1]), {}),
        (container, {"tenant": case["file"]}),
        (container, {"sealed-key": "00" * 80}),
        (b"not one", {}),
    ]:
        done = _run_opener(tmp_path, case, bad, **other)
        assert done.returncode == 1
        assert b"Do not use what was printed" in done.stderr


def _open_base_x25519_sha256_aes256gcm(sealed: bytes, private_key: bytes, info: bytes) -> bytes:
    """RFC 9180 sections 4.1 (DHKEM), 5.1 (key schedule, mode base), 5.2: nonce of sequence number 0."""
    kem, suite = b"KEM" + bytes.fromhex("0020"), b"HPKE" + bytes.fromhex("002000010002")
    private = X25519PrivateKey.from_private_bytes(private_key)
    encapsulated, ciphertext = sealed[:32], sealed[32:]

    def extract(suite_id: bytes, salt: bytes, label: bytes, key: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite_id + label + key, "sha256")

    def expand(suite_id: bytes, key: bytes, label: bytes, context: bytes, length: int) -> bytes:
        text = length.to_bytes(2, "big") + b"HPKE-v1" + suite_id + label + context
        return hmac.digest(key, text + b"\x01", "sha256")[:length]  # one block is enough for 32 bytes

    shared = private.exchange(X25519PublicKey.from_public_bytes(encapsulated))
    both = encapsulated + private.public_key().public_bytes_raw()
    secret = expand(kem, extract(kem, b"", b"eae_prk", shared), b"shared_secret", both, 32)
    context = b"\0" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
    schedule = extract(suite, secret, b"secret", b"")
    key, nonce = expand(suite, schedule, b"key", context, 32), expand(suite, schedule, b"base_nonce", context, 12)
    return AESGCM(key).decrypt(nonce, ciphertext, b"")
