"""The local authority: clients verify strictly, it speaks for this machine alone, and no key lies there in clear."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from actuals_pipelines.encryption.providers import KeyProvider, create_provider
from actuals_pipelines.operations.certificates import (
    AuthorityDamaged,
    Certificates,
    ensure_certificates,
)
from actuals_pipelines.settings import Home
from actuals_pipelines_tests.operations.conftest import NOW


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("ACTUALS_KEYS", str(tmp_path / "keys"))
    return Home(tmp_path / "home", uuid4())


@pytest.fixture
def provider(home: Home) -> KeyProvider:
    home.root.mkdir()
    return create_provider(home)


@contextmanager
def serving(certificates: Certificates) -> Iterator[int]:
    """A TLS server that greets one client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key, certificates.passphrase)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)

        def greet() -> None:
            try:
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True) as secured:
                    secured.sendall(b"hello")
            except OSError:
                pass  # the client refused us, which is what its test is about

        thread = threading.Thread(target=greet)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(20)


def greeting(port: int, ca: Path, name: str) -> bytes:
    """What a client hears that verifies as strictly as OpenSSL can."""
    context = ssl.create_default_context(cafile=str(ca))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    plain = socket.create_connection(("127.0.0.1", port), timeout=20)
    with plain, context.wrap_socket(plain, server_hostname=name) as secured:
        return secured.recv(5)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_a_strict_client_that_trusts_the_authority_is_served(home: Home, provider: KeyProvider, name: str) -> None:
    certificates = ensure_certificates(home, provider, datetime.now(UTC))

    with serving(certificates) as port:
        assert greeting(port, certificates.ca_certificate, name) == b"hello"


def test_the_authority_cannot_speak_for_other_names(home: Home, provider: KeyProvider) -> None:
    """Whoever stole its key could sign `example.com`; clients refuse that by the name constraint."""
    now = datetime.now(UTC)
    certificates = ensure_certificates(home, provider, now)
    wrapped = (home.tls / "ca.key.wrapped").read_bytes()
    der = provider.unwrap(wrapped, b"actuals local authority 1" + home.uuid.bytes)
    stolen = serialization.load_der_private_key(der, None)
    assert isinstance(stolen, ec.EllipticCurvePrivateKey)
    authority = x509.load_pem_x509_certificate(certificates.ca_certificate.read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(stolen.public_key())
    forged = (
        x509.CertificateBuilder(
            authority.subject,
            x509.Name([]),
            key.public_key(),
            7,
            now - timedelta(days=1),
            now + timedelta(days=1),
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("example.com")]), critical=True)
        .add_extension(identifier, critical=False)
        .sign(stolen, hashes.SHA256())
    )
    certificates.certificate.write_bytes(forged.public_bytes(serialization.Encoding.PEM))
    pem = serialization.Encoding.PEM
    encryption = serialization.BestAvailableEncryption(certificates.passphrase.encode())
    certificates.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, encryption))

    with serving(certificates) as port, pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        greeting(port, certificates.ca_certificate, "example.com")


def test_no_private_key_lies_there_in_clear(home: Home, provider: KeyProvider) -> None:
    certificates = ensure_certificates(home, provider, NOW)

    assert certificates.key.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    for path in home.tls.iterdir():
        assert b"BEGIN PRIVATE KEY" not in path.read_bytes()
        assert b"BEGIN EC PRIVATE KEY" not in path.read_bytes()
        assert certificates.passphrase.encode() not in path.read_bytes()
    with pytest.raises(ValueError, match="deserialize"):
        serialization.load_der_private_key((home.tls / "ca.key.wrapped").read_bytes(), None)


def test_a_leaf_is_kept_while_it_is_young_and_renewed_before_it_expires(home: Home, provider: KeyProvider) -> None:
    first = ensure_certificates(home, provider, NOW)
    assert first.was_renewed

    assert not ensure_certificates(home, provider, NOW + timedelta(days=59)).was_renewed
    renewed = ensure_certificates(home, provider, NOW + timedelta(days=61))

    assert renewed.was_renewed
    assert renewed.expires_at == NOW + timedelta(days=61 + 90)
    assert renewed.ca_certificate.read_bytes() in renewed.certificate.read_bytes()


def test_a_leaf_that_does_not_fit_its_key_is_replaced(home: Home, provider: KeyProvider) -> None:
    """A crash between writing key and certificate leaves such a pair."""
    first = ensure_certificates(home, provider, NOW)
    old_key = first.key.read_bytes()
    ensure_certificates(home, provider, NOW + timedelta(days=61))
    first.key.write_bytes(old_key)

    assert ensure_certificates(home, provider, NOW + timedelta(days=61)).was_renewed
    assert not ensure_certificates(home, provider, NOW + timedelta(days=61)).was_renewed


def test_an_authority_without_its_key_is_an_error_with_what_to_do(home: Home, provider: KeyProvider) -> None:
    ensure_certificates(home, provider, NOW)
    (home.tls / "ca.key.wrapped").unlink()

    with pytest.raises(AuthorityDamaged, match=r"Remove ca\.pem"):
        ensure_certificates(home, provider, NOW)
