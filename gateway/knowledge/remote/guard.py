"""Connections that go only where an operator meant them to: a name must not lead into the private network."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx2

Address = IPv4Address | IPv6Address
LookUp = Callable[[str, int], Awaitable[list[str]]]
MOST_ADDRESSES = 4
# Addresses that carry an IPv4 address inside; Python calls some of them global whatever they carry.
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
_SITE_LOCAL = IPv6Network("fec0::/10")


class AddressRefused(httpx2.ConnectError):
    """A host's name leads to an address that is not public."""


def is_public(address: Address) -> bool:
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

    look_up: a host's addresses, by the machine's own resolver unless given. A host that was written as an address,
    or as `localhost`, is the operator's own word and is let pass. Raises AddressRefused.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, look_up: LookUp | None = None) -> None:
        self._inner = inner
        self._look_up = look_up or _looked_up

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The reply, from the first of the host's addresses that takes a connection; all of them must be public."""
        host = request.url.host
        if _is_literal(host):
            return await self._inner.handle_async_request(request)
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        addresses = await self._public_addresses(host, port)
        request.extensions = {**request.extensions, "sni_hostname": host}
        for address in addresses[:-1]:
            request.url = request.url.copy_with(host=str(address))
            try:
                return await self._inner.handle_async_request(request)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue  # A machine without a way to IPv6 is told IPv6 addresses all the same.
        request.url = request.url.copy_with(host=str(addresses[-1]))
        return await self._inner.handle_async_request(request)

    async def _public_addresses(self, host: str, port: int) -> list[Address]:
        found = await self._look_up(host, port)
        addresses = [ip_address(address.partition("%")[0]) for address in found]
        if not addresses or not all(map(is_public, addresses)):
            raise AddressRefused(f"{host} leads to an address of a private network; `private_network: true` allows it")
        return list(dict.fromkeys(addresses))[:MOST_ADDRESSES]

    async def aclose(self) -> None:
        """Closes its connections."""
        await self._inner.aclose()


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


async def _looked_up(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as fault:
        raise httpx2.ConnectError(f"{host}: the name has no address ({fault.strerror})") from fault
    return [entry[4][0] for entry in found if isinstance(entry[4][0], str)]
