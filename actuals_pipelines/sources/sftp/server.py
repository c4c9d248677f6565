"""The SSH side of the drop: who gets in, with which algorithms, how often and for how long. Only sFTP is spoken."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Any

import asyncssh

from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.sources.sftp.accounts import Account, Accounts, Login
from actuals_pipelines.sources.sftp.packets import answered_all
from actuals_pipelines.sources.sftp.password import is_password
from actuals_pipelines.sources.sftp.quota import Quota, Room
from actuals_pipelines.sources.sftp.session import DropSession
from actuals_pipelines.sources.sftp.tray import Tray

log = logging.getLogger(__name__)

# Checked with ssh-audit: no `fail`. Naming one that asyncssh lacks raises at the start.
ALGORITHMS: dict[str, Any] = {
    "kex_algs": [
        "mlkem768x25519-sha256",
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
        "diffie-hellman-group18-sha512",
        "diffie-hellman-group16-sha512",
    ],
    "encryption_algs": ["aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr"],
    "mac_algs": ["hmac-sha2-512-etm@openssh.com", "hmac-sha2-256-etm@openssh.com"],
    "signature_algs": ["ssh-ed25519", "sk-ssh-ed25519@openssh.com", "rsa-sha2-512", "rsa-sha2-256"],
    "compression_algs": None,
}


@dataclass(frozen=True, slots=True)
class DropLimits:
    """Bounds on everything that comes from outside."""

    room: Room = field(default_factory=Room)
    connections: int = 200
    strangers: int = 50  # connections that have not logged in
    per_second: int = 10  # new connections of one address
    sessions: int = 8  # sFTP sessions in one connection
    attempts: int = 6  # keys and passwords that one connection may try
    failed_logins: int = 20  # connections of one address that tried and failed, in `failed_seconds`
    failed_seconds: float = 600.0
    login_seconds: float = 20.0
    idle_seconds: float = 600.0


@dataclass(slots=True)
class Drop:
    """The state of one drop process."""

    accounts: Accounts
    limits: DropLimits = field(default_factory=DropLimits)
    connected: set[_Entrance] = field(default_factory=set)
    recent: dict[str, list[float]] = field(default_factory=dict)  # address -> when it connected, monotonic
    failed: dict[str, list[float]] = field(default_factory=dict)  # address -> when a login failed, monotonic
    trays: dict[tuple[TenantRef, str], Tray] = field(default_factory=dict)  # by tenant and user
    quotas: dict[TenantRef, Quota] = field(default_factory=dict)
    lost: dict[TenantRef, set[str]] = field(default_factory=dict)  # marks of half files of an earlier process

    async def listen(self, host: str, port: int, key: asyncssh.SSHKey) -> asyncssh.SSHAcceptor:
        """Accept connections; port 0 takes any free one."""
        return await asyncssh.create_server(
            lambda: _Entrance(self),
            host,
            port,
            server_host_keys=[key],
            sftp_factory=_session,
            sftp_version=3,
            allow_scp=False,
            process_factory=None,
            session_factory=None,
            password_auth=True,  # offered to those alone whose account has one, from where it may come
            kbdint_auth=False,
            host_based_auth=False,
            gss_host=None,
            agent_forwarding=False,
            x11_forwarding=False,
            allow_pty=False,
            line_editor=False,
            rdns_lookup=False,
            login_timeout=self.limits.login_seconds,
            keepalive_interval=30,
            keepalive_count_max=3,
            rekey_bytes="1G",
            server_version="drop",
            **ALGORITHMS,
        )

    def admits(self, address: str, now: float) -> bool:
        """Whether one more connection may come in: refused before any key exchange, which is what costs."""
        if len(self.recent) > 10_000:
            self.recent.clear()
        failed = [at for at in self.failed.get(address, []) if now - at < self.limits.failed_seconds]
        if len(failed) >= self.limits.failed_logins:
            return False
        times = [at for at in self.recent.get(address, []) if now - at < 1.0]
        strangers = sum(not entrance.is_in for entrance in self.connected)
        self.recent[address] = [*times, now]
        return (
            len(times) < self.limits.per_second
            and strangers < self.limits.strangers
            and len(self.connected) < self.limits.connections
        )

    def failed_login(self, address: str, now: float) -> None:
        """A connection tried to log in, and ended without."""
        if len(self.failed) > 10_000:
            self.failed.clear()
        recent = [at for at in self.failed.get(address, []) if now - at < self.limits.failed_seconds]
        self.failed[address] = [*recent, now]
        log.warning("login failed: failed_of_this_address=%d", len(recent) + 1)

    async def end_idle(self, every_seconds: float = 5.0) -> None:
        """End connections on which nothing happens, until cancelled."""
        while True:
            await asyncio.sleep(every_seconds)
            for entrance in list(self.connected):
                if time.monotonic() - entrance.active_at > self.limits.idle_seconds:
                    entrance.connection.abort()
            dropped = sum(tray.drop_old() for tray in self.trays.values())
            if dropped:
                log.warning("files that were never finished are deleted: files=%d", dropped)

    async def close(self) -> None:
        """End all connections; uploads that are not whole are thrown away."""
        ending = [entrance.connection for entrance in self.connected]
        for connection in ending:
            connection.abort()
        await asyncio.gather(*(connection.wait_closed() for connection in ending), return_exceptions=True)
        await answered_all()
        for tray in self.trays.values():
            tray.close_all()


class _Entrance(asyncssh.SSHServer):
    """One connection: known accounts alone, by key, or by password where that is switched on.

    Forwarding is refused by the base class.
    """

    connection: asyncssh.SSHServerConnection

    def __init__(self, drop: Drop) -> None:
        self.drop = drop
        self.is_in = False
        self.address = self.user = ""
        self.attempts = 0
        self.sessions = 0
        self.active_at = time.monotonic()
        self.login: Login | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connection = conn
        conn.set_extra_info(entrance=self)
        self.address = str((conn.get_extra_info("peername") or ("",))[0])
        is_admitted = self.drop.admits(self.address, self.active_at)
        self.drop.connected.add(self)
        if not is_admitted:
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.drop.connected.discard(self)
        if self.attempts and not self.is_in:
            self.drop.failed_login(self.address, time.monotonic())

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        account = self.drop.accounts.by_key(username, key.public_data, self.address)
        return self._let_in(account, key.public_data)

    def begin_auth(self, username: str) -> bool:
        self.user = username
        return True  # everybody must prove who they are

    def password_auth_supported(self) -> bool:
        return self.drop.accounts.by_password(self.user, self.address) is not None

    async def validate_password(self, username: str, password: str) -> bool:
        account = self.drop.accounts.by_password(username, self.address)
        if account is None or account.password_hash is None or not await is_password(account.password_hash, password):
            account = None
        return self._let_in(account, None)

    def _let_in(self, account: Account | None, public_data: bytes | None) -> bool:
        """Remember who it is; or count the attempt, and end a connection that tried too often."""
        self.login = None
        if account is not None:
            self.login = Login(self.drop.accounts, account.user, self.address, public_data, account.tenant.ref)
            return True
        self.attempts += 1
        if self.attempts >= self.drop.limits.attempts:
            self.connection.disconnect(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "Too many attempts")
        return False

    def auth_completed(self) -> None:
        self.is_in = True
        if self.login is not None:
            log.info("logged in: tenant=%s", self.login.ref.uuid)

    def touch(self) -> None:
        """Something happened."""
        self.active_at = time.monotonic()


def _session(channel: Any) -> DropSession:
    entrance: _Entrance = channel.get_connection().get_extra_info("entrance")
    login = entrance.login
    assert login is not None  # noqa: S101 - there is no session without a login
    entrance.sessions += 1
    if entrance.sessions > entrance.drop.limits.sessions:
        entrance.connection.abort()
    drop = entrance.drop
    tray = drop.trays.setdefault((login.ref, login.user), Tray())
    quota = drop.quotas.setdefault(login.ref, Quota(drop.limits.room))
    lost = drop.lost.setdefault(login.ref, set())
    return DropSession(channel, login, tray=tray, quota=quota, lost=lost, touch=entrance.touch)
