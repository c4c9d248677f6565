"""Which address we connect to: resolved once, judged and used, so that a name which answers otherwise gains nothing."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from actuals_pipelines.settings import RemoteAccess
from actuals_pipelines.sources.remote_files.remote import AddressRefused, ConnectionLost

CONNECT_SECONDS = 15.0
_Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]


def connect(host: str, port: int, access: RemoteAccess, where: str) -> socket.socket:
    """Return a connected socket.

    Raises:
        AddressRefused: the host is not in the home's list, or none of its addresses is public.
        ConnectionLost: no address answers.
    """
    check_host(host, access, where)
    allowed = check_address(host, port, access, where)
    kind = "OSError"
    for family, type_, protocol, _, address in allowed:
        connection = socket.socket(family, type_, protocol)
        connection.settimeout(CONNECT_SECONDS)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            kind = type(error).__name__
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
    raise ConnectionLost(where, kind)


def check_address(host: str, port: int, access: RemoteAccess, where: str) -> Sequence[_Address]:
    """The host's addresses that we may connect to. Raises AddressRefused, ConnectionLost."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectionLost(where, f"the host's name has no address ({type(error).__name__})") from None
    allowed = [each for each in found if access.allow_private or is_public(str(each[4][0]))]
    if not allowed:
        raise AddressRefused(where, "the host's address is private, loopback or link-local")
    return allowed


def check_host(host: str, access: RemoteAccess, where: str) -> None:
    """Raise AddressRefused for a host that is not in the home's list; an empty list has every host."""
    if access.hosts and not any(fnmatchcase(host.lower(), pattern.lower()) for pattern in access.hosts):
        raise AddressRefused(where, 'the host is not in the list "hosts" of the home')


def is_public(text: str) -> bool:
    """Whether an address, or the IPv4 address inside an IPv6 one, is reachable for everybody."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inside = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in ipaddress.ip_network("64:ff9b::/96"):  # NAT64, RFC 6052
            inside.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if any(each is not None and not is_public(str(each)) for each in inside):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast
