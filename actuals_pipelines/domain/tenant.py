"""A tenant: one customer's separate environment, as its YAML says it, and the opaque id that everything below uses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import NoReturn
from uuid import UUID

from actuals_pipelines.domain.package import MatchingPackage
from actuals_pipelines.domain.source import IdScheme, Source


@dataclass(frozen=True, slots=True)
class TenantRef:
    """Which tenant and environment, for keys, databases and paths: opaque, because names may change."""

    uuid: UUID
    environment: str = "prod"  # or "test": own database, prefix, root key and asset prefix

    @property
    def database(self) -> str:
        """The tenant's PostgreSQL database; its roles are this plus `_owner`, `_app`, `_ro`, `_door`."""
        suffix = "" if self.environment == "prod" else f"_{self.environment}"
        return f"t_{self.uuid.hex}{suffix}"

    @property
    def prefix(self) -> str:
        """The tenant's folder under the home's data root."""
        return f"{self.uuid.hex}-{self.environment}"


@dataclass(frozen=True, slots=True)
class SftpKey:
    """A public key of an sFTP account: whose it is, and until when it holds."""

    line: str  # OpenSSH form
    owner: str = ""  # a person or a system
    expires_on: date | None = None  # the last day, in UTC


@dataclass(frozen=True, slots=True)
class SftpAccount:
    """Who may drop files: a user name, and how it proves who it is."""

    user: str
    public_keys: tuple[SftpKey, ...]
    sources: tuple[str, ...] = ()  # the sFTP sources it may drop for; none named means all of the tenant's
    addresses: tuple[str, ...] = ()  # networks it may come from; none named means any
    password_hash: str | None = None  # argon2id; only together with addresses


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant's configuration. No secret is in it: credentials are named, and set with `actuals secret set`."""

    name: str
    sources: tuple[Source, ...]
    packages: tuple[MatchingPackage, ...]
    ids: tuple[IdScheme, ...] = ()
    title: str | None = None
    time_zone: str = "UTC"
    start: date = date(2026, 1, 1)
    isolation: str = "shared"  # shared | process | instance
    sftp: tuple[SftpAccount, ...] = ()

    def source(self, name: str) -> Source:
        """The source of that name; KeyError if there is none."""
        return next((s for s in self.sources if s.name == name), None) or _missing(name)

    def package(self, name: str) -> MatchingPackage:
        """The package of that name; KeyError if there is none."""
        return next((p for p in self.packages if p.name == name), None) or _missing(name)


def _missing(name: str) -> NoReturn:
    raise KeyError(name)
