"""From an arm to what is sent for it: the path's own function."""

from gateway.core.call import Call, Principal
from gateway.core.decision import Arm, Decision, Facts, KnowledgeSignal
from gateway.paths.direct import prepare_direct
from gateway.paths.fine_tuned import prepare_fine_tuned
from gateway.paths.rag import Sources, prepare_rag
from gateway.upstream.prepared import Prepared
from gateway.upstream.upstreams import Upstreams


class Paths:
    """The three paths over one library and one set of upstreams."""

    def __init__(self, upstreams: Upstreams, sources: Sources) -> None:
        self._upstreams = upstreams
        self.sources = sources

    async def prepare(self, call: Call, principal: Principal, decision: Decision, arm: Arm, facts: Facts) -> Prepared:
        """The request for `arm`. Raises KnowledgeUnavailable (503) when the sources cannot be searched."""
        asks = self._upstreams.named(arm.upstream).takes_stream_options
        if arm.path == "rag" and call.rag_ready:
            return await prepare_rag(call, principal, decision, arm, facts, self.sources, may_ask_usage=asks)
        if arm.path == "fine_tuned":
            return prepare_fine_tuned(call, arm, may_ask_usage=asks)
        return prepare_direct(call, arm, may_ask_usage=asks)

    async def signal(self, call: Call, principal: Principal, collections: tuple[str, ...]) -> KnowledgeSignal:
        """What these collections hold for the call, as far as its team may read them."""
        return await self.sources.find(call, principal, collections)
