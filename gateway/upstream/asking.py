"""Asking an upstream for something on the operator's own behalf, with its configured key."""

from collections.abc import AsyncGenerator

from gateway.core.errors import UpstreamFailed
from gateway.upstream.faults import TransportError
from gateway.upstream.port import Lease, Outgoing
from gateway.upstream.upstreams import Upstream

IDENTITY = (b"accept-encoding", b"identity")
# Answers to the gateway's own questions; files come through `fetch`.
LONGEST_ANSWER = 64 * 1024 * 1024


class Refused(UpstreamFailed):
    """It answered, and not with what was asked for. answered: the status."""

    def __init__(self, message: str, answered: int) -> None:
        super().__init__(message)
        self.answered = answered


async def fetch(upstream: Upstream, target: str) -> AsyncGenerator[bytes, None]:
    """The body of `GET <target>` (below the upstream's prefix) as it comes.

    Raises Refused (502) for anything but a 2xx, UpstreamFailed (502) for a reply that breaks off or does not come.
    """
    outgoing = Outgoing("GET", target.encode("ascii"), (*upstream.headers, IDENTITY), b"")
    try:
        reply = await upstream.transport.send(upstream.origin, outgoing, upstream.deadlines, Lease())
        try:
            if not 200 <= reply.status < 300:
                told = f"Upstream {upstream.name!r} answered {reply.status} to GET {target}."
                raise Refused(told, reply.status)
            while chunk := await reply.read():
                yield chunk
        finally:
            reply.abort()
    except TransportError as fault:
        raise UpstreamFailed(f"Upstream {upstream.name!r} cannot be asked ({type(fault).__name__}).") from None


async def ask(
    upstream: Upstream, method: str, target: str, body: bytes = b"", content_type: str = "application/json"
) -> tuple[int, bytes]:
    """Status and body of a request below the upstream's prefix, whatever it answers; the body whole.

    Raises UpstreamFailed (502) for a reply that breaks off, is too long, or does not come.
    """
    kind = ((b"content-type", content_type.encode()),) if body else ()
    outgoing = Outgoing(method, target.encode("ascii"), (*upstream.headers, IDENTITY, *kind), body)
    parts: list[bytes] = []
    size = 0
    try:
        reply = await upstream.transport.send(upstream.origin, outgoing, upstream.deadlines, Lease())
        try:
            while chunk := await reply.read():
                size += len(chunk)
                if size > LONGEST_ANSWER:
                    raise UpstreamFailed(f"Upstream {upstream.name!r} answered {method} {target} with too much.")
                parts.append(chunk)
        finally:
            reply.abort()
    except TransportError as fault:
        raise UpstreamFailed(f"Upstream {upstream.name!r} cannot be asked ({type(fault).__name__}).") from None
    return reply.status, b"".join(parts)
