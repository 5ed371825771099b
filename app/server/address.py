"""The addresses that the server listens on, and those of the proxies that it trusts."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

_ANY_IPV6 = "::"
_BACKLOG = 2048  # uvicorn's default
_MAPPED_BITS = 96  # the prefix ::ffff:0:0/96 (RFC 4291, 2.5.5.2)


def listening_sockets(host: str, port: int) -> list[socket.socket] | None:
    """Return one socket for IPv6 and IPv4 if the host is `::`, or None: uvicorn opens the socket.

    asyncio restricts a socket for `::` to IPv6.

    Raises:
        OSError: The address cannot be used.
    """
    if host != _ANY_IPV6:
        return None
    family = socket.AF_INET6
    is_dual = socket.has_dualstack_ipv6()
    return [socket.create_server((host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=is_dual)]


def trusted_addresses(proxies: Iterable[str]) -> list[str]:
    """Return addresses and networks in both notations that a peer may have.

    An IPv4 peer of a socket for both families has an address such as ::ffff:10.0.0.7.

    Args:
        proxies: IP addresses, networks, or `*` for all peers.
    """
    addresses = list(proxies)
    if "*" in addresses:
        return ["*"]
    networks = [ipaddress.ip_network(address) for address in addresses]
    mapped = [
        f"::ffff:{network.network_address}/{network.prefixlen + _MAPPED_BITS}"
        for network in networks
        if isinstance(network, ipaddress.IPv4Network)
    ]
    return addresses + mapped
