"""The RAG path: the call's own words looked up, the sources put before the last user turn, the answer cited."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from gateway.core.call import Call, Principal
from gateway.core.decision import Arm, Decision
from gateway.core.errors import KnowledgeUnavailable
from gateway.core.facts import Evidence, Facts, KnowledgeSignal
from gateway.knowledge.context import Context, build_context
from gateway.knowledge.ingest import EmbeddingUse
from gateway.paths.cited_chat import ChatEditor
from gateway.paths.cited_responses import ResponsesEditor
from gateway.paths.sources import CitedSources
from gateway.upstream.prepared import Prepared, ReplyEditor
from gateway.wire.answer import own_answer
from gateway.wire.rewrite import rewritten

HITS = 8
# A best hit below this shares little more with the question than its common words.
LEAST_SCORE = 0.15
EARLIER_TURNS = 2
ABSTAINS = "I do not have information about that in the documents I can use."
# retrieved(collections, result, seconds): told of every search; result is hit, empty or error.
Retrieved = Callable[[tuple[str, ...], str, float], None]


class Search(Protocol):
    """What a library can be asked."""

    def permitted(self, collections: Sequence[str], team: str) -> tuple[str, ...]:
        """Those of the collections that exist and that the team may read."""
        ...

    async def search(
        self,
        text: str,
        collections: Sequence[str],
        team: str,
        limit: int = HITS,
        booked: Callable[[EmbeddingUse], None] | None = None,
        *,
        local_only: bool = False,
    ) -> KnowledgeSignal:
        """The hits of permitted collections. Raises KnowledgeUnavailable."""
        ...

    async def measure(
        self,
        turn: str,
        talk: str,
        collections: Sequence[str],
        team: str,
        booked: Callable[[EmbeddingUse], None] | None = None,
        *,
        local_only: bool = False,
    ) -> tuple[str, tuple[tuple[str, Evidence], ...]]:
        """What permitted collections show of whether they hold the answer. Raises KnowledgeUnavailable."""
        ...


Embedded = Callable[[Principal, EmbeddingUse, Call | None], None]


class Sources:
    """The library as calls use it. context_tokens: how much of a prompt sources may take.

    embedded: told who had a question embedded, for the books.
    """

    def __init__(
        self,
        library: Search,
        context_tokens: int,
        retrieved: Retrieved,
        embedded: Embedded,
    ) -> None:
        self.embedded = embedded
        self.library = library
        self.context_tokens = context_tokens
        self._retrieved = retrieved

    def paid_by(self, payer: Principal) -> "Sources":
        """The same library, with what it has embedded on another's account than the caller's."""
        return Sources(
            self.library,
            self.context_tokens,
            self._retrieved,
            lambda _caller, use, call: self.embedded(payer, use, call),
        )

    def paid_by_nobody(self) -> "Sources":
        """The same library for a call that nobody makes: nothing of it is booked or counted."""
        return Sources(
            self.library, self.context_tokens, lambda _names, _result, _seconds: None, lambda _caller, _use, _call: None
        )

    async def find(
        self, call: Call, principal: Principal, collections: tuple[str, ...], *, local_only: bool = False
    ) -> KnowledgeSignal:
        """What these collections hold for a call. Raises KnowledgeUnavailable (503)."""
        started = time.perf_counter()
        try:
            signal = await self.library.search(
                question(call),
                collections,
                principal.team,
                HITS,
                lambda use: self.embedded(principal, use, call),
                local_only=local_only,
            )
        except KnowledgeUnavailable:
            self._retrieved(collections, "error", time.perf_counter() - started)
            raise
        self._retrieved(collections, "hit" if signal.hits else "empty", time.perf_counter() - started)
        return signal

    async def signal(
        self, call: Call, principal: Principal, collections: tuple[str, ...], *, local_only: bool = False
    ) -> KnowledgeSignal:
        """The same with the evidence that rules weigh. Raises KnowledgeUnavailable (503)."""
        found = await self.find(call, principal, collections, local_only=local_only)
        embedder, evidence = await self.library.measure(
            call.text,
            talk(call),
            collections,
            principal.team,
            lambda use: self.embedded(principal, use, call),
            local_only=local_only,
        )
        return msgspec.structs.replace(found, evidence=evidence, embedder=embedder)


def talk(call: Call) -> str:
    """The last user turn with the two before it."""
    users = [turn.text for turn in call.turns if turn.role == "user" and turn.text]
    return "\n".join([*users[:-1][-EARLIER_TURNS:], call.text])


def question(call: Call) -> str:
    """What is searched for: the last user turn, and the two before it when that one is short."""
    if len(call.text.split()) >= 8:
        return call.text
    return talk(call)


async def prepare_rag(
    call: Call,
    principal: Principal,
    decision: Decision,
    arm: Arm,
    facts: Facts,
    sources: Sources,
    *,
    may_ask_usage: bool,
) -> Prepared:
    """The request for `arm` with its sources, or an answer of our own when there are none and the arm abstains.

    Raises KnowledgeUnavailable (503): a call is never silently answered without its sources.
    """
    signal = facts.signal(arm.collections) or await sources.find(call, principal, arm.collections)
    hits = [hit for hit in signal.hits if hit.score >= LEAST_SCORE]
    context = build_context(hits, sources.context_tokens, wants_json=call.wants_json)
    # Another collection must look like one that does not exist.
    permitted = sources.library.permitted(arm.collections, principal.team)
    told = (
        (b"x-gateway-collections", ",".join(permitted).encode()),
        (b"x-gateway-knowledge-version", signal.version.encode()),
    )
    cited = CitedSources(decision.id, context.sources)
    if not context.sources and arm.on_no_match == "abstain":
        answer = own_answer(call, ABSTAINS, cited.told())
        return Prepared(arm=arm, body=b"", headers=told, answer=answer)
    block = context.text if context.sources else None
    body, injected = rewritten(call, arm, may_ask_usage=may_ask_usage, block=block)
    return Prepared(
        arm=arm,
        body=body,
        usage_injected=injected,
        context_tokens=context.tokens,
        headers=told,
        editor=_editor(call, cited, context),
    )


def _editor(call: Call, cited: CitedSources, context: Context) -> ReplyEditor | None:
    if not context.sources or call.wants_json:
        # Markers have no place in the caller's JSON, and nothing in it may be taken for one.
        return None
    return ResponsesEditor(cited) if call.endpoint == "responses" else ChatEditor(cited)
