"""From YAML to sFTP accounts, and to the folders that they drop into."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import date

from argon2 import Type, extract_parameters
from argon2.exceptions import InvalidHashError
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from actuals_pipelines.domain.source import Source, SourceKind
from actuals_pipelines.domain.tenant import SftpAccount, SftpKey
from actuals_pipelines.tenants.place import Place
from actuals_pipelines.tenants.schema import nearest


def read_sftp_account(place: Place, sources: Sequence[Source]) -> SftpAccount:
    """Read one account; complaints are left with `place`."""
    drops = [source.name for source in sources if source.kind is SourceKind.SFTP]
    for part in place["sources"].items():
        if part.text() not in drops:
            part.complain("a source of kind sftp", repr(part.text()), nearest(part.text(), drops))
    keys = tuple(key for part in place["public_keys"].items() if (key := _key(part)))
    if not place["public_keys"].exists and not place["password_hash"].exists:
        place.complain("a key 'public_keys' in an sFTP account", "none", "Add `public_keys:`.")
    return SftpAccount(
        user=place["user"].text(),
        public_keys=keys,
        sources=place["sources"].texts(),
        addresses=tuple(network for part in _parts(place["from"]) if (network := _network(part))),
        password_hash=_password_hash(place),
    )


def check_folders(sources: Sequence[Place]) -> None:
    """Complain of folders and side files where nobody drops, and of a folder that could mean two sources."""
    names = {place["name"].text(): place["name"].text() for place in sources}
    for place in sources:
        for key in ("folder", "side_file"):
            if place[key].exists and place["kind"].text() != SourceKind.SFTP:
                advice = "Only a source of kind sftp has one."
                place[key].complain_at_key(f"no {key!r} in a source of another kind", "one", advice)
        folder, name = place["folder"].optional(), place["name"].text()
        if folder is None:
            continue
        if names.get(folder, name) != name:
            place["folder"].complain("a folder of its own", f"the one of {names[folder]!r}", "Name it otherwise.")
        names[folder] = name


def _parts(place: Place) -> tuple[Place, ...]:
    """A list's entries, or the one text that stands for a list of one."""
    return place.items() or ((place,) if place.exists else ())


def _key(place: Place) -> SftpKey | None:
    """A line alone, whose comment names its owner; or a mapping of key, owner and expiry."""
    line = place["key"] if place.fields() else place
    if not _is_public_key(line):
        return None
    if line is place:
        return SftpKey(line.text(), " ".join(line.text().split()[2:]))
    expires_on = place["expires"].day(date.max)
    return SftpKey(line.text(), place["owner"].text(), None if expires_on == date.max else expires_on)


def _network(place: Place) -> str | None:
    try:
        return str(ipaddress.ip_network(place.text()))
    except ValueError:
        advice = "Write it as in 192.0.2.7 or 192.0.2.0/24, with no bits beside the network's."
        place.complain("an IP address or network", repr(place.text()), advice)
        return None


def _password_hash(place: Place) -> str | None:
    found = place["password_hash"]
    if not found.exists:
        return None
    if not place["from"].exists:
        found.complain_at_key("no 'password_hash' without 'from'", "one", "Say where the sender comes from.")
    advice = "Make one with `actuals tenant sftp-password`, and give the password to the sender alone."
    try:
        parameters = extract_parameters(found.text())
    except InvalidHashError:
        found.complain("an argon2id hash", "something else", advice)
        return None
    is_strong = parameters.type is Type.ID and parameters.memory_cost >= 19_456 and parameters.time_cost >= 2
    if not is_strong:  # the least that OWASP's password storage cheat sheet takes
        found.complain("an argon2id hash of 19 MiB and 2 passes or more", "a weaker one", advice)
        return None
    return found.text()


def _is_public_key(place: Place) -> bool:
    """Whether it is a public key that we take: Ed25519, ECDSA, or RSA of 3072 bits and more."""
    expected = "an Ed25519, ECDSA or RSA (3072 bits or more) public key in OpenSSH form"
    if "PRIVATE" in place.text():
        advice = "Give the .pub file's line. This private key has been in a file: make a new pair."
        place.complain("a public key", "a private key", advice)
        return False
    try:
        key = load_ssh_public_key(place.text().encode())
    except (ValueError, UnsupportedAlgorithm):
        place.complain(expected, "something else", "Copy the line of the .pub file, as in 'ssh-ed25519 AAAA... who'.")
        return False
    if isinstance(key, Ed25519PublicKey | EllipticCurvePublicKey):
        return True
    if isinstance(key, RSAPublicKey) and key.key_size >= 3072:
        return True
    place.complain(expected, "a weaker one", "Make one with `ssh-keygen -t ed25519`.")
    return False
