"""Calls of the gateway's own work for a team, through the very way of any other call: policy, budget, journal, books.

An evaluation asks models for answers and judgements; a batch kept here asks what its lines say. Nobody sends a key
then: the work began with one, and the principal it named is known. Work whose key is none any more ends.
"""

import msgspec

from gateway.core.answered import Answered
from gateway.core.call import Inbound, Principal
from gateway.core.clock import Clock
from gateway.core.errors import GatewayError
from gateway.core.ids import new_id
from gateway.judging import Listener
from gateway.pipeline import Pipeline
from gateway.upstream.port import Lease
from gateway.wire.errors import error_body

# What reports tell such calls by from those of people: `gateway usage report --by metadata.purpose`.
PURPOSE = "purpose"
JSON = (b"content-type", b"application/json")


class OwnCalls:
    """Asks, one call at a time; who calls this bounds how many go at once."""

    def __init__(self, pipeline: Pipeline, clock: Clock) -> None:
        self._pipeline = pipeline
        self._clock = clock

    def is_good(self, principal: Principal, since: float) -> bool:
        """Whether what a key began at `since` may go on: a call that came with that key now would be taken."""
        return self._pipeline.keys.is_good(principal.key_id, since, self._clock.wall())

    async def ask(self, principal: Principal, path: str, body: bytes, *, purpose: str) -> Answered:
        """What a call of a team's is answered, refusals included, as a caller of that team would see it.

        path: below `/v1/`. purpose: the rows' metadata `purpose`, above what the key and the body say. Cancelled, it
        books what had been sent.
        """
        metadata = dict(principal.metadata) | {PURPOSE: purpose}
        known = msgspec.structs.replace(principal, metadata=tuple(sorted(metadata.items())))
        began = self._clock.monotonic()
        inbound = Inbound("POST", path, path.encode(), b"", (JSON,), body, new_id("req"), began, new_id("call"))
        listener = Listener()
        try:
            await self._pipeline.serve(inbound, listener, Lease(), known)
        except GatewayError as fault:
            return Answered(fault.status, error_body(fault), inbound.request_id)
        return Answered(listener.status, listener.body, inbound.request_id)
