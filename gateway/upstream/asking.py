"""Asking an upstream for something on the operator's own behalf, with its configured key."""

from collections.abc import AsyncGenerator

from gateway.core.errors import UpstreamFailed
from gateway.upstream.faults import TransportError
from gateway.upstream.port import Lease, Outgoing
from gateway.upstream.upstreams import Upstream

IDENTITY = (b"accept-encoding", b"identity")


async def fetch(upstream: Upstream, target: str) -> AsyncGenerator[bytes, None]:
    """The body of `GET <target>` (below the upstream's prefix) as it comes.

    Raises UpstreamFailed (502) for anything but a 2xx, for a reply that breaks off, and for one that does not come.
    """
    outgoing = Outgoing("GET", target.encode("ascii"), (*upstream.headers, IDENTITY), b"")
    try:
        reply = await upstream.transport.send(upstream.origin, outgoing, upstream.deadlines, Lease())
        try:
            if not 200 <= reply.status < 300:
                raise UpstreamFailed(f"Upstream {upstream.name!r} answered {reply.status} to GET {target}.")
            while chunk := await reply.read():
                yield chunk
        finally:
            reply.abort()
    except TransportError as fault:
        raise UpstreamFailed(f"Upstream {upstream.name!r} cannot be asked ({type(fault).__name__}).") from None
