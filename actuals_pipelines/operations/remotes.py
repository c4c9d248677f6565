"""From a source's connection to its remote folder: which protocol, which keys, and where it may lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from actuals_pipelines.database import units
from actuals_pipelines.domain.source import Source, SourceKind
from actuals_pipelines.errors import ConfigurationError
from actuals_pipelines.settings import RemoteAccess
from actuals_pipelines.sources.remote_files.remote import Remote
from actuals_pipelines.sources.sftp_remote import Account, HostKeyChanged, SftpKeys, SftpRemote, fingerprint, scan
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines.tenants.secrets import get_secret

SSH_PORT = 22


@dataclass(frozen=True, slots=True)
class Opened:
    """A remote folder, and how to get a connection to it; each thread takes one of its own."""

    folder: str
    connect: Callable[[], Remote]


def open_remote(environment: TenantEnvironment, source: Source, source_id: UUID, access: RemoteAccess) -> Opened:
    """The remote folder of a source of kind `sftp_remote` or `files`.

    Raises:
        SecretMissing: the source names a secret that was never set.
        HostKeyUnknown, HostKeyChanged, LoginRefused, AddressRefused, ConnectionLost: for sFTP, which logs in at once.
    """
    if source.kind is SourceKind.SFTP_REMOTE:
        return _sftp(environment, source, source_id, access)
    from actuals_pipelines.sources.remote_files.urls import open_url  # noqa: PLC0415 - loads pyarrow's file systems

    return Opened(*open_url(source.connection, access, lambda name: get_secret(environment, name).decode()))


def sftp_account(environment: TenantEnvironment, source: Source, source_id: UUID, access: RemoteAccess) -> Account:
    """How the source logs in: with the password where its connection names one, else with our own key pair."""
    connection = source.connection
    keys = SftpKeys(environment.engine, environment.keys, source_id)
    named = connection.get("password")
    return Account(
        host=connection["host"],
        port=int(connection.get("port", SSH_PORT)),
        user=connection["user"],
        access=access,
        host_key=keys.host_key(),
        private_key=keys.private_key() if named is None else None,
        password=None if named is None else get_secret(environment, named).decode(),
    )


class NotBySftp(ConfigurationError):
    """A source that does not fetch by sFTP has neither a key pair nor a server's key."""

    def __init__(self, source: str, kind: str) -> None:
        super().__init__(source, kind)
        self.source, self.kind = source, kind

    def __str__(self) -> str:
        return f"Source {self.source!r} is of kind {self.kind!r}: only one of kind sftp_remote has keys to show."


@dataclass(frozen=True, slots=True)
class HostKeys:
    """Fingerprints: of the server's key that a person accepted, and of the one it shows now (None: not asked)."""

    accepted: str | None
    offered: str | None


def public_key(environment: TenantEnvironment, source: Source) -> str:
    """Our public key for a source's server, "ssh-ed25519 AAAA..."; made at the first call. Raises NotBySftp."""
    return _keys(environment, source).public_key()


def host_keys(environment: TenantEnvironment, source: Source, *, access: RemoteAccess, scan: bool) -> HostKeys:
    """The accepted host key, and with `scan` the one the server shows. Raises NotBySftp, what a connection does."""
    keys = _keys(environment, source)
    accepted = keys.host_key()
    offered = _scanned(source, accepted, access) if scan else None
    return HostKeys(accepted and fingerprint(accepted), offered and fingerprint(offered))


def accept_host_key(environment: TenantEnvironment, source: Source, wanted: str, *, access: RemoteAccess) -> HostKeys:
    """Ask the server for its key and trust it if it has the fingerprint `wanted`; else nothing changes. Audited."""
    keys = _keys(environment, source)
    offered = _scanned(source, None, access)
    if fingerprint(offered) == wanted:
        keys.accept_host_key(offered)
    accepted = keys.host_key()
    return HostKeys(accepted and fingerprint(accepted), fingerprint(offered))


def _scanned(source: Source, accepted: str | None, access: RemoteAccess) -> str:
    connection = source.connection
    return scan(
        Account(connection["host"], int(connection.get("port", SSH_PORT)), connection["user"], access, accepted)
    )


def _keys(environment: TenantEnvironment, source: Source) -> SftpKeys:
    if source.kind is not SourceKind.SFTP_REMOTE:
        raise NotBySftp(source.name, source.kind.value)
    with environment.engine.begin() as connection:
        source_id = units.source_id(connection, source.name)
    return SftpKeys(environment.engine, environment.keys, source_id)


def _sftp(environment: TenantEnvironment, source: Source, source_id: UUID, access: RemoteAccess) -> Opened:
    account = sftp_account(environment, source, source_id, access)
    keys = SftpKeys(environment.engine, environment.keys, source_id)

    def connect() -> Remote:
        remote = SftpRemote(account)
        try:
            remote.connect()
        except HostKeyChanged as changed:
            keys.note_refused(changed.offered)  # for the alert: it stays until a person settles it
            raise
        keys.note_refused(None)
        return remote

    return Opened(source.connection.get("folder", "."), connect)
