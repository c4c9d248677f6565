"""A PSP emulator as a process of its own behind TLS, and an account at it."""

from __future__ import annotations

import json
import select
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from threading import Lock

import httpx
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from actuals_pipelines.sources.oauth_api.authorization import Account
from actuals_pipelines.sources.oauth_api.connector import Connector, load_connector
from actuals_pipelines.sources.oauth_api.pull import Page, account_of, pull
from actuals_pipelines.sources.oauth_api.tokens import Credentials, Token

SECRET = "canary-client-secret-8f1b2c"
REDIRECT = "https://127.0.0.1:9/back"
DAY = date(2026, 1, 13)


class MemoryTokens:
    """A token store without a database, for tests of everything but the store."""

    def __init__(self) -> None:
        self.token: Token | None = None
        self.seen: list[str] = []
        self._lock = Lock()

    def load(self) -> Token | None:
        return self.token

    def save(self, token: Token) -> None:
        assert self._lock.locked()
        self.token = token
        self.seen += [token.access_token, *([token.refresh_token] if token.refresh_token else [])]

    @contextmanager
    def locked(self) -> Iterator[None]:
        with self._lock:
            yield


@dataclass
class Emulator:
    """A running emulator and the CA that signed its certificate."""

    url: str
    ca: Path
    data: Path
    process: subprocess.Popen[str]

    @property
    def _admin(self) -> httpx.Client:
        trust = ssl.create_default_context(cafile=str(self.ca))
        return httpx.Client(base_url=self.url, verify=trust, timeout=30)

    def fails(self, *faults: dict[str, object]) -> None:
        """From now on these go wrong; none means all is well."""
        with self._admin as client:
            client.put("/admin/faults", json=list(faults)).raise_for_status()

    def revoke(self) -> None:
        """The owner withdraws the consent."""
        with self._admin as client:
            client.post("/admin/revoke").raise_for_status()

    def tokens(self) -> int:
        """How many access tokens were issued so far."""
        with self._admin as client:
            return int(client.get("/admin/counts").json()["tokens"])

    def requests(self, path: str) -> int:
        """How many requests the path had so far."""
        with self._admin as client:
            return int(client.get("/admin/counts").json()["requests"].get(path, 0))

    def consent(self, url: str) -> httpx.QueryParams:
        """Do as the owner's browser does: follow the consent page to the redirect and read its parameters."""
        with self._admin as client:
            answer = client.get(url)
        assert answer.status_code == 302
        return httpx.URL(answer.headers["location"]).params

    def rows(self, endpoint: str, day: date) -> list[bytes]:
        """What the books hold, line by line."""
        return (self.data / "demo" / "psp_api" / f"{endpoint}-{day}.ndjson").read_bytes().splitlines()


@dataclass
class Caller:
    """One source that pulls from the emulator; pauses are noted instead of made."""

    emulator: Emulator
    connector: Connector = field(default_factory=lambda: without_pace("psp"))
    credentials: Credentials = field(default_factory=lambda: Credentials("demo", SECRET))
    tokens: MemoryTokens = field(default_factory=MemoryTokens)
    base_url: str = ""
    page_limit: str = "50"
    ca: Path | None = None
    ahead: timedelta = timedelta()
    pauses: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def pages(self, day: date = DAY) -> Iterator[Page]:
        connection = {"base_url": self.base_url or self.emulator.url, "page_limit": self.page_limit}
        return pull(
            self.connector,
            connection,
            self.credentials,
            self.tokens,
            day,
            ca_file=self.ca or self.emulator.ca,
            now=self.now,
            sleep=self.pauses.append,
        )

    def account(self) -> Account:
        return account_of(
            self.connector,
            {"base_url": self.emulator.url},
            self.credentials,
            self.tokens,
            ca_file=self.emulator.ca,
            now=self.now,
            sleep=self.pauses.append,
        )

    def pull(self, day: date = DAY) -> list[Page]:
        return list(self.pages(day))


def without_pace(name: str) -> Connector:
    """A shipped connector that leaves no time between requests: every noted pause is then a failure's."""
    connector = load_connector(name)
    limits = msgspec.structs.replace(connector.limits, requests_per_second=1e9)
    return msgspec.structs.replace(connector, limits=limits)


def start_emulator(data: Path, tls: Path, *options: str) -> Emulator:
    """Start the process and wait for the line that says where it listens."""
    command = [sys.executable, "-m", "actuals_pipelines.operations.psp_emulator", "--data", str(data), "--faults"]
    files = ["--clients", str(data / "clients.json"), "--certificate", str(tls / "leaf.pem"), "--key", str(tls / "key")]
    process = subprocess.Popen([*command, *files, *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], 60)
    line = process.stdout.readline() if readable else ""
    if not line:
        process.kill()
        raise AssertionError("the emulator did not start")
    return Emulator(json.loads(line)["url"], tls / "ca.pem", data, process)


def write_certificates(folder: Path) -> None:
    """A throwaway CA (`ca.pem`) and a leaf for 127.0.0.1 that it signed (`leaf.pem`, `key`)."""
    ca_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"test CA {folder.name}")])
    leaf_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "psp")])
    ca = (
        _dated(ca_name, ca_name, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .add_extension(_SIGNS, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    leaf = (
        _dated(leaf_name, ca_name, leaf_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "leaf.pem").write_bytes(leaf.public_bytes(pem))
    plain = leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key").write_bytes(plain)


_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _dated(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )
