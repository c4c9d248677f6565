"""The platform's own passwords: one file of the home, sealed under its "credentials" key.

It holds the superuser of the embedded PostgreSQL (or the address of the operator's server, which has a password in
it) and the roles `dagster` and `control`. Tenants' passwords are not here: `tenants.credentials`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from actuals_pipelines.encryption.durable import write_durably
from actuals_pipelines.encryption.providers import KeyProvider, platform_key
from actuals_pipelines.errors import ConfigurationError
from actuals_pipelines.settings import Home

SUPERUSER, DAGSTER, CONTROL, SERVER = "superuser", "dagster", "control", "server"
_MAGIC = b"ACPC\x01"
_NONCE_BYTES = 12


class PlatformCredentialsRefused(ConfigurationError):
    """The home's credentials are missing or do not open."""

    def __init__(self, path: str, found: str) -> None:
        super().__init__(path, found)
        self.path, self.found = path, found

    def __str__(self) -> str:
        return (
            f"The home's credentials {self.path} cannot be used: {self.found}. If the home is new, run `actuals init` "
            "again; else restore the file, and check that home and KEK belong together."
        )


def credentials_file(home: Home) -> Path:
    """Where the sealed passwords lie."""
    return home.root / "credentials.sealed"


def read_platform_credentials(home: Home, provider: KeyProvider) -> dict[str, str]:
    """The passwords by name. Raises PlatformCredentialsRefused."""
    path = credentials_file(home)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise PlatformCredentialsRefused(str(path), "it does not exist") from None
    nonce, sealed = content[len(_MAGIC) :][:_NONCE_BYTES], content[len(_MAGIC) + _NONCE_BYTES :]
    try:
        opened = AESGCM(_key(home, provider)).decrypt(nonce, sealed, _MAGIC + home.uuid.bytes)
    except (InvalidTag, ValueError):
        raise PlatformCredentialsRefused(str(path), "this home's KEK does not open it") from None
    return {str(name): str(password) for name, password in json.loads(opened).items()}


def write_platform_credentials(home: Home, provider: KeyProvider, passwords: Mapping[str, str]) -> None:
    """Seal the passwords; takes the place of the file before, whole."""
    nonce = os.urandom(_NONCE_BYTES)
    content = json.dumps(dict(passwords)).encode()
    sealed = AESGCM(_key(home, provider)).encrypt(nonce, content, _MAGIC + home.uuid.bytes)
    write_durably(credentials_file(home), _MAGIC + nonce + sealed, mode=0o600, replace=True)


def _key(home: Home, provider: KeyProvider) -> bytes:
    return platform_key(provider, home.uuid, "credentials")
