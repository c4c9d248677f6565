"""A running inbox behind TLS with a throwaway CA, and callers that check its certificate strictly."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from actuals_pipelines.sources.inbox.keys import NewKey, new_key, seal_signing_secret
from actuals_pipelines.tenants.projections import ApiKeyView, SigningView
from actuals_pipelines_tests.sources.conftest import ADoor, AHome, eventually


@dataclass(frozen=True)
class TlsFiles:
    """A CA and a leaf for 127.0.0.1."""

    ca: Path
    certificate: Path
    key: Path  # encrypted, as a home keeps it
    passphrase: str

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))


@dataclass
class AnInbox:
    """A running inbox and the keys it knows."""

    home: AHome
    door: ADoor
    tls: TlsFiles
    keys: dict[str, NewKey]

    @property
    def url(self) -> str:
        return self.door.ready["url"]

    def client(self, key: str | None = "acme", **headers: str) -> httpx.Client:
        """A caller with strict verification; `key` names one of `keys`."""
        token = {"token": self.keys[key].text} if key else {}
        return httpx.Client(base_url=self.url, verify=self.tls.trust(), timeout=30, headers={**token, **headers})


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """A throwaway CA and a leaf that it signed."""
    folder = tmp_path_factory.mktemp("tls")
    ca_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
    ca = (
        _certificate(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    leaf = (
        _certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "inbox")]), ca_name, leaf_key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    files = TlsFiles(folder / "ca.pem", folder / "leaf.pem", folder / "leaf.key", token_urlsafe(24))
    files.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    files.certificate.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        leaf_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(files.passphrase.encode()),
        )
    )
    return files


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


@pytest.fixture(scope="module")
def inbox(a_home: AHome, tls_files: TlsFiles) -> Iterator[AnInbox]:
    """A running inbox with keys of both tenants."""
    keys = {name: new_key("prod", a_home.door_key) for name in ("acme", "shop only", "expired", "revoked", "other")}
    keys["acme test"] = new_key("test", a_home.door_key)
    now = datetime.now(UTC)
    acme, other = a_home.tenants["acme"], a_home.tenants["other"]
    acme_keys = (
        _shown(keys["acme"], "prod"),
        _shown(keys["acme test"], "test"),
        replace(_shown(keys["shop only"], "prod"), sources=("shop",)),
        replace(_shown(keys["expired"], "prod"), expires_at=now - timedelta(seconds=1)),
        replace(_shown(keys["revoked"], "prod"), revoked_at=now),
    )
    a_home.write_view(replace(acme.view, api_keys=acme_keys))
    a_home.write_view(replace(other.view, api_keys=(_shown(keys["other"], "prod"),)))
    door = start_inbox(a_home, tls_files)
    running = AnInbox(a_home, door, tls_files, keys)
    yield running
    if running.door.process.poll() is None:
        assert running.door.stop() == 0


@pytest.fixture
def with_key(inbox: AnInbox) -> Callable[..., NewKey]:
    """Make a key of the tenant `other` that is bound to something, and wait until the inbox knows it."""
    made: list[ApiKeyView] = []

    def make(*, secret: bytes | None = None, **bound_to: Any) -> NewKey:
        key, other = new_key("prod", inbox.home.door_key), inbox.home.tenants["other"]
        if secret is not None:
            sealed = seal_signing_secret(inbox.home.door_key, key.key_id, secret)
            bound_to["signing"] = SigningView("hmac-sha256", sealed)
        made.append(replace(_shown(key, "prod"), **bound_to))
        inbox.home.write_view(replace(other.view, api_keys=(_shown(inbox.keys["other"], "prod"), *made)))
        taken = f"views taken: tenants=2 keys={6 + len(made)}"
        eventually(lambda: taken in inbox.door.log.read_text().splitlines()[-1])
        return key

    return make


def start_inbox(a_home: AHome, tls_files: TlsFiles, *more: str) -> ADoor:
    """Start an inbox process."""
    files = ("--certificate", str(tls_files.certificate), "--key", str(tls_files.key))
    return a_home.start_door("inbox", *files, *more, ACTUALS_TLS_PASSPHRASE=tls_files.passphrase)


def _shown(key: NewKey, mode: str) -> ApiKeyView:
    return ApiKeyView(key_id=key.key_id, hash=key.hash, mode=mode, owner="shop")
