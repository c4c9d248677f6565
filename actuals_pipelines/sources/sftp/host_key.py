"""The drop's host key: made at the first start, the same ever after, and never on the disk in clear."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import asyncssh
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from actuals_pipelines.encryption.durable import write_durably
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.settings import Home
from actuals_pipelines.sources.door import door_subkey

_MAGIC = b"ACTH\x01"
_NONCE_BYTES = 12


class HostKeyRefused(ActualsError):
    """The sealed host key does not open. A new one would make every customer's client warn of an attack."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return (
            f"The sFTP host key {self.path} does not open with this home's door key: it is another home's, or altered. "
            "Restore it; or delete it, and tell every sender the new fingerprint before they connect."
        )


def host_key(home: Home, door_key: bytes) -> asyncssh.SSHKey:
    """The home's Ed25519 host key, made and sealed under the door key if there is none. Raises HostKeyRefused."""
    path = home.doors / "sftp_host_key.sealed"
    if not path.exists():
        home.doors.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make(path, home, door_key)
    key = _open(path, home, door_key)
    line = key.export_public_key()
    public = _public_path(home)
    if not public.exists() or public.read_bytes() != line:
        write_durably(public, line, mode=0o600, replace=True)
    return key


def fingerprint(home: Home) -> str | None:
    """The host key's fingerprint as OpenSSH prints it; None before the drop's first start. Opens no key."""
    try:
        line = _public_path(home).read_text()
    except FileNotFoundError:
        return None
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _public_path(home: Home) -> Path:
    return home.doors / "sftp_host_key.pub"


def _make(path: Path, home: Home, door_key: bytes) -> None:
    text = asyncssh.generate_private_key("ssh-ed25519").export_private_key("openssh")
    nonce = os.urandom(_NONCE_BYTES)
    sealed = _cipher(door_key).encrypt(nonce, text, home.uuid.bytes)
    try:
        write_durably(path, _MAGIC + nonce + sealed, mode=0o600)
    except FileExistsError:
        return  # another process was quicker: its key stands


def _open(path: Path, home: Home, door_key: bytes) -> asyncssh.SSHKey:
    content = path.read_bytes()
    start = len(_MAGIC) + _NONCE_BYTES
    try:
        if not content.startswith(_MAGIC):
            raise InvalidTag
        text = _cipher(door_key).decrypt(content[len(_MAGIC) : start], content[start:], home.uuid.bytes)
    except (InvalidTag, ValueError):
        raise HostKeyRefused(str(path)) from None
    return asyncssh.import_private_key(text)


def _cipher(door_key: bytes) -> AESGCM:
    return AESGCM(door_subkey(door_key, "sftp host key"))
