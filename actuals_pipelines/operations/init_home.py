"""Make a home: its identity, its key outside of it, its sealed passwords, its databases and its certificates.

Every step may be repeated, so an interrupted `actuals init` is simply run again.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from actuals_pipelines.database.provision import create_platform
from actuals_pipelines.database.server import production_address
from actuals_pipelines.encryption.durable import write_durably
from actuals_pipelines.encryption.providers import KeyProvider, create_provider, provider_for
from actuals_pipelines.errors import ConfigurationError
from actuals_pipelines.operations.certificates import ensure_certificates
from actuals_pipelines.operations.platform_credentials import (
    CONTROL,
    DAGSTER,
    SERVER,
    SUPERUSER,
    PlatformCredentialsRefused,
    credentials_file,
    read_platform_credentials,
    write_platform_credentials,
)
from actuals_pipelines.operations.servers import running_server
from actuals_pipelines.settings import HOME_FILE, Home, read_home

HOME_VERSION = 1


class HomeFolderTaken(ConfigurationError):
    """The folder for a new home holds other things."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.folder = folder

    def __str__(self) -> str:
        return f"The folder {self.folder} is not empty and is no home. Name another one with --home, or empty it."


@dataclass(frozen=True, slots=True)
class InitialisedHome:
    """What `init_home` made or found."""

    home: Home
    was_made: bool
    ca_certificate: Path


def init_home(root: Path, now: datetime, *, server: str | None = None) -> InitialisedHome:
    """Make the home in `root`, or complete one that was begun.

    Args:
        server: the address of an operator's PostgreSQL (postgresql://...); None makes an embedded one.

    Raises:
        HomeFolderTaken: the folder holds other things.
        KekMissing: the home is there and its key is not.
        EmbeddedPostgresUnavailable, EmbeddedPostgresFailed, ServerAddressRefused: no database server.
    """
    if server is not None:
        production_address(server)  # refused before anything is made
    root = root.absolute()
    home, was_made = _identity(root)
    provider = create_provider(home) if was_made or not credentials_file(home).exists() else _existing(home)
    for folder in (home.data, home.keyrings, home.doors, home.locations, home.run, home.tls):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    passwords = _passwords(home, provider, server)
    _databases(home, provider, passwords)
    certificates = ensure_certificates(home, provider, now)
    return InitialisedHome(home, was_made, certificates.ca_certificate)


def _identity(root: Path) -> tuple[Home, bool]:
    """The home's id is written before its key is made, so that a second try finds the key of the first."""
    path = root / HOME_FILE
    if path.exists():
        return read_home(root), False
    if root.exists() and any(root.iterdir()):
        raise HomeFolderTaken(str(root))
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    home = Home(root, uuid4())
    write_durably(path, json.dumps({"home": str(home.uuid), "version": HOME_VERSION}).encode() + b"\n", mode=0o600)
    return home, True


def _existing(home: Home) -> KeyProvider:
    """Of a home that is there, the key is never made anew: what it sealed would be lost without a word."""
    return provider_for(home)


def _passwords(home: Home, provider: KeyProvider, server: str | None) -> dict[str, str]:
    if credentials_file(home).exists():
        return read_platform_credentials(home, provider)
    if (home.postgres / "data").exists():  # no other password opens it: a new one would only hide the loss
        raise PlatformCredentialsRefused(str(credentials_file(home)), "it does not exist, but the database does")
    passwords = {SERVER: server} if server is not None else {SUPERUSER: secrets.token_urlsafe(32)}
    write_platform_credentials(home, provider, passwords)  # before the server is made with it
    return passwords


def _databases(home: Home, provider: KeyProvider, passwords: dict[str, str]) -> None:
    is_complete = CONTROL in passwords and DAGSTER in passwords
    with running_server(home, passwords) as (_, admin):
        # Passwords of an interrupted call were never written down: they are made anew.
        made = create_platform(admin, rotate=not is_complete)
    if made:
        write_platform_credentials(home, provider, {**passwords, **made})
