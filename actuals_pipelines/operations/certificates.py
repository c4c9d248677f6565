"""The home's local certificate authority and the leaf that its services show.

The authority may sign for this machine's own names alone (name constraints), so trusting it gives nobody power over
other names. Its key is wrapped by the KEK and opened only to sign. The leaf lives 90 days and is renewed when 30 are
left. Its key is an encrypted PEM file (PKCS#8): what opens it is derived from the KEK, and `actuals up` hands it to
the services in ACTUALS_TLS_PASSPHRASE, so neither a copy of the home nor its backup holds a usable key.

    tls/ca.pem          what clients trust        tls/ca.key.wrapped   the authority's key, wrapped
    tls/leaf.pem        leaf, then authority      tls/leaf.key         encrypted PEM
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from actuals_pipelines.encryption.durable import write_durably
from actuals_pipelines.encryption.providers import KeyProvider, platform_key
from actuals_pipelines.encryption.secrecy import derived_key
from actuals_pipelines.errors import ConfigurationError
from actuals_pipelines.settings import Home

CA_DAYS = 3650
LEAF_DAYS = 90
RENEW_BEFORE_DAYS = 30
_DNS_NAMES = ("localhost",)
_ADDRESSES = ("127.0.0.1", "::1")
_NETWORKS = ("127.0.0.0/8", "::1/128")
_CLOCKS_DIFFER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where a service finds its certificate, and what opens the key."""

    ca_certificate: Path
    certificate: Path
    key: Path
    passphrase: str  # for ACTUALS_TLS_PASSPHRASE
    expires_at: datetime
    was_renewed: bool

    def __repr__(self) -> str:
        return f"<Certificates {self.certificate}>"


class AuthorityDamaged(ConfigurationError):
    """The local authority's certificate and key do not belong together."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.folder = folder

    def __str__(self) -> str:
        return (
            f"The local certificate authority in {self.folder} has a certificate without its key, or another's. "
            "Remove ca.pem and ca.key.wrapped there to make a new one; clients must then trust the new ca.pem."
        )


def ensure_certificates(home: Home, provider: KeyProvider, now: datetime) -> Certificates:
    """Make the authority if there is none, and a leaf if there is none, or it is old, or does not fit its key.

    Called by `actuals init` and at each `actuals up`, which also calls it daily: services load the new leaf when they
    are restarted.
    """
    home.tls.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority, authority_key = _authority(home, provider, now)
    passphrase = leaf_passphrase(home, provider)
    certificate, key = home.tls / "leaf.pem", home.tls / "leaf.key"
    leaf = _usable_leaf(certificate, key, passphrase, authority, now)
    was_renewed = leaf is None
    if leaf is None:
        leaf_key = ec.generate_private_key(ec.SECP256R1())
        leaf = _leaf(leaf_key.public_key(), authority, authority_key, now)
        encryption = BestAvailableEncryption(passphrase.encode())
        # A crash between the two leaves a pair that does not fit: the next call sees it and makes another.
        pem = leaf_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        write_durably(key, pem, mode=0o600, replace=True)
        chain = leaf.public_bytes(Encoding.PEM) + authority.public_bytes(Encoding.PEM)
        write_durably(certificate, chain, mode=0o644, replace=True)
    return Certificates(
        home.tls / "ca.pem", certificate, key, passphrase, expires_at=leaf.not_valid_after_utc, was_renewed=was_renewed
    )


def leaf_passphrase(home: Home, provider: KeyProvider) -> str:
    """What opens the leaf's key: derived, so that it is stored nowhere."""
    doors = platform_key(provider, home.uuid, "doors")
    return base64.urlsafe_b64encode(derived_key(doors, b"actuals tls leaf key 1")).decode()


def _authority(home: Home, provider: KeyProvider, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate_file, key_file = home.tls / "ca.pem", home.tls / "ca.key.wrapped"
    context = b"actuals local authority 1" + home.uuid.bytes
    if not certificate_file.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        write_durably(key_file, provider.wrap(der, context), mode=0o600, replace=True)
        certificate = _authority_certificate(key, home, now)
        write_durably(certificate_file, certificate.public_bytes(Encoding.PEM), mode=0o644)
        return certificate, key
    if not key_file.exists():
        raise AuthorityDamaged(str(home.tls))
    certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    opened = load_der_private_key(provider.unwrap(key_file.read_bytes(), context), password=None)
    if not isinstance(opened, ec.EllipticCurvePrivateKey) or opened.public_key() != certificate.public_key():
        raise AuthorityDamaged(str(home.tls))
    return certificate, opened


def _authority_certificate(key: ec.EllipticCurvePrivateKey, home: Home, now: datetime) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "actuals_pipelines"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Local authority of home {home.uuid.hex[:8]}"),
        ]
    )
    permitted: list[x509.GeneralName] = [x509.DNSName(each) for each in _DNS_NAMES]
    permitted += [x509.IPAddress(ip_network(each)) for each in _NETWORKS]
    return (
        _builder(name, name, key.public_key(), now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    public_key: ec.EllipticCurvePublicKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.Certificate:
    names: list[x509.GeneralName] = [x509.DNSName(each) for each in _DNS_NAMES]
    names += [x509.IPAddress(ip_address(each)) for each in _ADDRESSES]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _builder(subject, authority.subject, public_key, now, LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(issuer_id, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=public_key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - _CLOCKS_DIFFER,
        not_valid_after=now + timedelta(days=days),
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _usable_leaf(
    certificate: Path, key: Path, passphrase: str, authority: x509.Certificate, now: datetime
) -> x509.Certificate | None:
    """The leaf, if it lives long enough, was issued by this authority and its key opens and fits."""
    try:
        leaf = x509.load_pem_x509_certificate(certificate.read_bytes())
        leaf.verify_directly_issued_by(authority)
        opened = load_pem_private_key(key.read_bytes(), passphrase.encode())
    except (OSError, ValueError, TypeError, InvalidSignature):  # whatever is wrong with the pair: another one is made
        return None
    lives = leaf.not_valid_after_utc - now > timedelta(days=RENEW_BEFORE_DAYS)
    return leaf if lives and opened.public_key() == leaf.public_key() else None
