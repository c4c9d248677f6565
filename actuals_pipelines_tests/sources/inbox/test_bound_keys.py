"""Keys that are worth nothing alone: bound to a signature, a client certificate or a network."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from actuals_client import InboxClient, Signing
from actuals_client.signing import COVERED
from actuals_client.signing import TAG as CLIENTS_TAG
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms

from actuals_pipelines.database.tables import inbox_key_use, inbox_nonce
from actuals_pipelines.sources.inbox.keys import NewKey
from actuals_pipelines.sources.inbox.signatures import TAG
from actuals_pipelines.tenants.projections import SigningView
from actuals_pipelines_tests.sources.inbox.conftest import AnInbox, start_inbox
from actuals_pipelines_tests.sources.inbox.test_app import NDJSON, PATH, an_order, lines

SECRET = b"a secret of thirty-two characters"
WithKey = Callable[..., NewKey]


@pytest.fixture
def hmac_key(with_key: WithKey) -> NewKey:
    """A key whose requests must be signed with SECRET."""
    return with_key(secret=SECRET)


def a_client(inbox: AnInbox, key: NewKey, signing: Signing) -> InboxClient:
    return InboxClient(inbox.url, key.text, ca_file=inbox.tls.ca, signing=signing, keep_trying_seconds=2)


def test_the_published_client_signs_as_the_inbox_asks(inbox: AnInbox, hmac_key: NewKey, with_key: WithKey) -> None:
    private_key = ed25519.Ed25519PrivateKey.generate()
    other_key = with_key(signing=SigningView("ed25519", private_key.public_key().public_bytes_raw()))
    pem = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    by_hmac = Signing(hmac_key.key_id, "hmac-sha256", SECRET)
    by_ed25519 = Signing(other_key.key_id, "ed25519", pem)

    assert TAG == CLIENTS_TAG
    for key, signing in ((hmac_key, by_hmac), (other_key, by_ed25519)):
        with a_client(inbox, key, signing) as client:
            order = an_order()
            assert client.post(order).duplicate is False
            assert client.post(order).duplicate is True
            receipts = client.post_batch([an_order() for _ in range(100)])  # gzip: the digest is of what was sent
            found = {receipt.id for receipt in client.receipts(source_id="shop", limit="50")}
            assert {receipt.id for receipt in receipts} <= found


def signed(inbox: AnInbox, key: NewKey, content: bytes, **changes: Any) -> httpx.Request:
    """A signed batch; `changes` are those of the signature."""
    headers = {"token": key.text, **NDJSON}
    request = httpx.Request("POST", f"{inbox.url}{PATH}/batch", content=content, headers=headers)
    settings = {
        "key_id": key.key_id,
        "nonce": f"nonce {time.monotonic_ns()}",
        "tag": TAG,
        "covered_component_ids": COVERED,
        "body": content,
        "created": datetime.now(UTC),
        "secret": SECRET,
        **changes,
    }
    secret = settings.pop("secret")
    resolver = MappingKeyResolver(public_keys={}, private_keys={settings["key_id"]: secret})
    signer = HTTPMessageSigner(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=resolver)
    signer.sign(request, **settings)
    return request


def test_a_request_is_taken_once_and_what_was_not_signed_so_is_refused(inbox: AnInbox, hmac_key: NewKey) -> None:
    body = lines(an_order())
    good = signed(inbox, hmac_key, body)
    unsigned = httpx.Request("POST", good.url, content=body, headers={"token": hmac_key.text, **NDJSON})
    other_body = signed(inbox, hmac_key, body)
    tampered = httpx.Request("POST", good.url, content=lines(an_order()), headers=_without_length(other_body))
    fresh = signed(inbox, hmac_key, body)
    elsewhere = httpx.Request("POST", f"{good.url}?per_item=true", content=body, headers=_without_length(fresh))
    now = datetime.now(UTC)
    refused = {
        "no signature": unsigned,
        "another body": tampered,
        "another target": elsewhere,
        "another secret": signed(inbox, hmac_key, body, secret=b"guessed"),
        "another key's id": signed(inbox, hmac_key, body, key_id="k"),
        "too old": signed(inbox, hmac_key, body, created=now - timedelta(minutes=6)),
        "from tomorrow": signed(inbox, hmac_key, body, created=now + timedelta(days=1)),
        "no nonce": signed(inbox, hmac_key, body, nonce=None),
        "another tag": signed(inbox, hmac_key, body, tag="elsewhere"),
        "method not covered": signed(inbox, hmac_key, body, covered_component_ids=("@target-uri",)),
        "body not covered": signed(inbox, hmac_key, body, body=None),
    }

    with inbox.client(None) as client:
        assert client.send(good).status_code == 201
        refused["again"] = good
        statuses = {name: client.send(request).status_code for name, request in refused.items()}
        codes = {client.send(unsigned).json()["code"]}
        unsigned_page = client.get(PATH, headers={"token": hmac_key.text})
    assert statuses == dict.fromkeys(refused, 401)
    assert codes == {"signature"}
    assert unsigned_page.status_code == 401
    with inbox.home.tenants["other"].app.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(inbox_nonce)).scalar_one() >= 1


def _without_length(request: httpx.Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name != "content-length"}


def a_certificate(folder: Path, name: str) -> tuple[Path, bytes]:
    """A client's self-signed certificate with its key in one file; and its DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / f"{name}.pem").write_bytes(pem)
    return folder / f"{name}.pem", certificate.public_bytes(serialization.Encoding.DER)


def test_a_key_bound_to_a_certificate_needs_that_one(inbox: AnInbox, with_key: WithKey, tmp_path: Path) -> None:
    right, der = a_certificate(tmp_path, "right")
    also_known, other_der = a_certificate(tmp_path, "also known")
    unknown, _ = a_certificate(tmp_path, "unknown")
    key = with_key(certificate=der)
    with_key(certificate=other_der)

    def post(certificate: Path | None) -> int:
        context = inbox.tls.trust()
        if certificate:
            context.load_cert_chain(certificate)
        with httpx.Client(verify=context, headers={"token": key.text}) as client:
            return client.post(inbox.url + PATH, json=an_order()).status_code

    assert [post(right), post(also_known), post(None)] == [201, 401, 401]
    with pytest.raises((httpx.HTTPError, ssl.SSLError)):
        post(unknown)
    with inbox.client("acme") as client:  # whose key is bound to none
        assert client.post(PATH, json=an_order()).status_code == 201


def test_a_key_bound_to_networks_is_refused_from_elsewhere(inbox: AnInbox, with_key: WithKey) -> None:
    here, elsewhere = with_key(networks=("127.0.0.0/8", "::1/128")), with_key(networks=("192.0.2.0/24",))
    with inbox.client(None, **{"x-forwarded-for": "192.0.2.7", "forwarded": "for=192.0.2.7"}) as client:
        assert client.post(PATH, json=an_order(), headers={"token": here.text}).status_code == 201
        assert client.post(PATH, json=an_order(), headers={"token": elsewhere.text}).status_code == 401


def test_the_last_use_of_a_key_is_written_down(inbox: AnInbox) -> None:
    """Once a minute, and when the inbox stops."""
    another = AnInbox(inbox.home, start_inbox(inbox.home, inbox.tls), inbox.tls, inbox.keys)
    before = datetime.now(UTC)
    with another.client("acme") as client:
        client.get(PATH)
    assert another.door.stop() == 0
    with inbox.home.tenants["acme"].app.connect() as connection:
        used = {row.key_id: row.used_at for row in connection.execute(sa.select(inbox_key_use))}
    assert used[inbox.keys["acme"].key_id] >= before
