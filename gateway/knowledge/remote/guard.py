"""Connections that go only where an operator meant them to: a name must not lead into the private network."""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx2

# Addresses that carry an IPv4 address inside; Python calls some of them global whatever they carry.
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
_SITE_LOCAL = IPv6Network("fec0::/10")


class AddressRefused(httpx2.ConnectError):
    """A host's name leads to an address that is not public."""


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is of the public Internet; what is wrapped in an IPv6 address is looked at too."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast
    if address in _SITE_LOCAL:
        return False
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if inner is None and (address in _NAT64 or address in _COMPATIBLE):
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    if inner is not None:
        return is_public(inner)
    return address.is_global and not address.is_multicast


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Connects to the very address that was looked at, so that a second answer of the name server changes nothing.

    A host that was written as an address, or as `localhost`, is the operator's own word and is let pass. Raises
    AddressRefused.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The reply, from an address that may be asked."""
        host = request.url.host
        if not _is_literal(host):
            address = await _public_address(host, request.url.port or (443 if request.url.scheme == "https" else 80))
            request.extensions = {**request.extensions, "sni_hostname": host}
            request.url = request.url.copy_with(host=str(address))
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Closes its connections."""
        await self._inner.aclose()


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


async def _public_address(host: str, port: int) -> IPv4Address | IPv6Address:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as fault:
        raise httpx2.ConnectError(f"{host}: the name has no address ({fault.strerror})") from fault
    addresses = [ip_address(entry[4][0].partition("%")[0]) for entry in found if isinstance(entry[4][0], str)]
    if not addresses or not all(map(is_public, addresses)):
        raise AddressRefused(f"{host} leads to an address of a private network; `private_network: true` allows it")
    return addresses[0]
