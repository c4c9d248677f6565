"""A connection to an sFTP server: address judged, algorithms named, host key compared, and only then a login."""

from __future__ import annotations

import base64
import io
import logging
from dataclasses import dataclass, field

import paramiko
from paramiko.ssh_exception import AuthenticationException, SSHException

from actuals_pipelines.settings import RemoteAccess
from actuals_pipelines.sources.failures import Terminal
from actuals_pipelines.sources.remote_files.address import connect
from actuals_pipelines.sources.remote_files.remote import ConnectionLost

# paramiko logs paths, users and tracebacks; ours says what is worth knowing.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)

HANDSHAKE_SECONDS, LOGIN_SECONDS, IDLE_SECONDS, ALIVE_SECONDS = 15.0, 30.0, 60.0, 20

# What may be agreed upon. paramiko would also take CBC, 3DES, SHA-1, MD5 and small groups of the server's choice.
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes256-ctr", "aes192-ctr", "aes128-ctr")
_MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")
_KEX = (
    *("mlkem768x25519-sha256", "curve25519-sha256@libssh.org"),
    *("ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521"),
    *("diffie-hellman-group16-sha512", "diffie-hellman-group14-sha256"),
)
_HOST_KEYS = (
    *("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *("rsa-sha2-512", "rsa-sha2-256"),
)


@dataclass(frozen=True, slots=True)
class Account:
    """How one source gets into one server. No secret of it is ever printed."""

    host: str
    port: int
    user: str
    access: RemoteAccess
    host_key: str | None  # the accepted one: "ssh-ed25519 AAAA..."
    private_key: str | None = field(repr=False, default=None)  # OpenSSH's format
    password: str | None = field(repr=False, default=None)

    @property
    def where(self) -> str:
        """For errors."""
        return f"sftp {self.host}:{self.port}"


class HostKeyUnknown(Terminal):
    """No key of this server was accepted yet."""

    what = "The server's host key was not accepted yet"
    advice = (
        "Nothing was sent. Compare the fingerprint with the one that the server's owner gives you, then accept it with "
        "`actuals source host-key TENANT SOURCE --accept FINGERPRINT`."
    )


class HostKeyChanged(Terminal):
    """The server shows another key than the accepted one: it was replaced, or somebody stands between."""

    what = "The server's host key is not the accepted one"
    advice = (
        "No login was sent and nothing is fetched until this is settled. Ask the server's owner, by another way, "
        "whether the key was replaced; if so, `actuals source host-key TENANT SOURCE --accept FINGERPRINT`."
    )

    def __init__(self, where: str, accepted: str, offered: str) -> None:
        super().__init__(where, f"accepted is {accepted}, offered was {offered}")
        self.args = (where, accepted, offered)  # so that it pickles
        self.accepted, self.offered = accepted, offered


class LoginRefused(Terminal):
    """The server does not take our key or password."""

    what = "The server refused the login"
    advice = (
        "Give its owner the public key (`actuals source public-key TENANT SOURCE`), or set the password again with "
        "`actuals secret set`."
    )


class AlgorithmsRefused(Terminal):
    """The server offers nothing that we would use."""

    what = "The server offers only algorithms that are not safe any more, or speaks no SSH"
    advice = "Ask its owner for AES in GCM or CTR mode, SHA-2, and an Ed25519, ECDSA or RSA (SHA-2) host key."


@dataclass(slots=True)
class Session:
    """One login with one sFTP channel."""

    transport: paramiko.Transport
    client: paramiko.SFTPClient

    def close(self) -> None:
        """End the connection; harmless when it is gone."""
        self.transport.close()


def open_session(account: Account) -> Session:
    """Log in.

    Raises:
        HostKeyUnknown, HostKeyChanged, LoginRefused, AlgorithmsRefused, AddressRefused: somebody must act.
        ConnectionLost: it may go better later.
    """
    transport = _handshake(account)
    try:
        _check_host_key(transport, account)
        _login(transport, account)
        transport.set_keepalive(ALIVE_SECONDS)
        client = paramiko.SFTPClient.from_transport(transport)
        if client is None:
            raise ConnectionLost(account.where, "no sFTP channel")
        channel = client.get_channel()
        if channel is not None:
            channel.settimeout(IDLE_SECONDS)
    except (SSHException, EOFError, OSError) as error:
        transport.close()
        raise ConnectionLost(account.where, type(error).__name__) from None
    except BaseException:
        transport.close()
        raise
    return Session(transport, client)


def scan(account: Account) -> str:
    """The host key that the server shows now, "ssh-ed25519 AAAA...", without logging in."""
    transport = _handshake(account)
    try:
        return _line(transport.get_remote_server_key())
    finally:
        transport.close()


def fingerprint(host_key: str) -> str:
    """As OpenSSH shows it: SHA256:... Raises ValueError for what is no key."""
    return _key(host_key).fingerprint


def _handshake(account: Account) -> paramiko.Transport:
    connection = connect(account.host, account.port, account.access, account.where)
    try:
        transport = paramiko.Transport(connection)
    except BaseException:
        connection.close()
        raise
    transport.banner_timeout = transport.handshake_timeout = HANDSHAKE_SECONDS
    transport.auth_timeout = LOGIN_SECONDS
    options = transport.get_security_options()
    options.ciphers, options.digests, options.compression = _CIPHERS, _MACS, ("none",)
    options.kex = tuple(name for name in _KEX if name in options.kex)  # which there are depends on OpenSSL's build
    options.key_types = _host_key_types(account.host_key)
    try:
        transport.start_client(timeout=HANDSHAKE_SECONDS)
    except paramiko.ssh_exception.IncompatiblePeer as error:
        transport.close()
        raise AlgorithmsRefused(account.where, type(error).__name__) from None
    except (SSHException, EOFError, OSError) as error:
        transport.close()
        raise ConnectionLost(account.where, type(error).__name__) from None
    return transport


def _host_key_types(accepted: str | None) -> tuple[str, ...]:
    """The accepted key's own type first: a server with several keys then shows that one."""
    own = accepted.split()[0] if accepted else ""
    start = "rsa-sha2" if own == "ssh-rsa" else own or "ssh-"
    return tuple(sorted(_HOST_KEYS, key=lambda name: not name.startswith(start)))


def _check_host_key(transport: paramiko.Transport, account: Account) -> None:
    offered = _line(transport.get_remote_server_key())
    if account.host_key is None:
        raise HostKeyUnknown(account.where, f"it offers {fingerprint(offered)}")
    if offered != account.host_key:
        raise HostKeyChanged(account.where, fingerprint(account.host_key), fingerprint(offered))


def _login(transport: paramiko.Transport, account: Account) -> None:
    """Key, password, or one after the other where the server asks for both."""
    try:
        if account.private_key is not None:
            key = paramiko.Ed25519Key.from_private_key(io.StringIO(account.private_key))
            transport.auth_publickey(account.user, key)
        if account.password is not None and not transport.is_authenticated():
            transport.auth_password(account.user, account.password)
    except AuthenticationException as error:
        raise LoginRefused(account.where, type(error).__name__) from None
    if not transport.is_authenticated():
        raise LoginRefused(account.where, "it asks for more than we have")


def _line(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.get_base64()}"


def _key(line: str) -> paramiko.PKey:
    name, _, text = line.partition(" ")
    return paramiko.PKey.from_type_string(name, base64.b64decode(text))
