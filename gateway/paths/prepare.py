"""From an arm to what is sent for it: the path's own function."""

from collections.abc import Callable, Mapping

import msgspec

from gateway.core.call import Call, Principal
from gateway.core.decision import Arm, Decision
from gateway.core.facts import Facts
from gateway.paths.direct import prepare_direct
from gateway.paths.fine_tuned import prepare_fine_tuned
from gateway.paths.lookups import LookUps
from gateway.paths.rag_answer import prepare_rag
from gateway.paths.sunsets import Sunsets
from gateway.tuning.trials import Tally
from gateway.upstream.prepared import Prepared
from gateway.upstream.upstreams import Upstream, Upstreams

# What a reply says whose call could take no sources: it is in the middle of a tool call, or asks nothing in words.
NOT_USED = ((b"x-gateway-knowledge", b"not-used"),)


def _nobody(_line: str) -> None:
    """Copies and judgements are no calls that anybody waits for."""


class Paths:
    """The three paths over one set of upstreams, and what they and decisions look things up in."""

    def __init__(self, upstreams: Upstreams, lookups: LookUps) -> None:
        self._upstreams = upstreams
        self.lookups = lookups
        self.sunsets = Sunsets()
        # Who counts the calls of canaries; of copies and judgements nobody does.
        self.tally: Tally | None = None
        # Told of each line in whose place somebody else is asked.
        self.succeeded: Callable[[str], None] = _nobody
        self.sources = lookups.sources

    def paid_by(self, payer: Principal) -> "Paths":
        """The same paths for calls whose look-ups are on another's account than the caller's."""
        return Paths(self._upstreams, LookUps(self.sources.paid_by(payer), self.lookups.tasks))

    async def prepare(
        self,
        call: Call,
        principal: Principal,
        decision: Decision,
        arm: Arm,
        facts: Facts,
        upstreams: Mapping[str, Upstream] | None = None,
    ) -> Prepared:
        """The request for `arm`. upstreams: those of the policy that decided; the current ones, unless given.

        Raises KnowledgeUnavailable (503) when the sources cannot be searched.
        """
        asks = (self._upstreams.current if upstreams is None else upstreams)[arm.upstream].takes_stream_options
        if arm.path == "rag" and call.rag_ready:
            prepared = await prepare_rag(call, principal, decision, arm, facts, self.sources, may_ask_usage=asks)
        elif arm.path == "fine_tuned":
            prepared = prepare_fine_tuned(call, arm, may_ask_usage=asks)
        else:
            prepared = prepare_direct(call, arm, may_ask_usage=asks)
            if arm.path == "rag":
                prepared = msgspec.structs.replace(prepared, headers=NOT_USED)
        ended = arm.successor_of or (decision.successor_of if arm.model == decision.arms[0].model else None)
        if ended is not None:
            self.succeeded(ended)
        if decision.trial is not None and self.tally is not None:
            prepared = self.tally.followed(call, decision.trial, arm, prepared)
        told = self.sunsets.held.get((arm.upstream, arm.model, facts.today))
        if told is None:
            told = self.sunsets.told(arm, facts.today)
        return msgspec.structs.replace(prepared, headers=prepared.headers + told) if told else prepared
