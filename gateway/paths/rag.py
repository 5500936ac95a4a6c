"""The library as calls use it: what is searched for, for whom, and who pays."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from gateway.core.call import Call, FileSearch, Principal
from gateway.core.errors import KnowledgeUnavailable
from gateway.core.facts import Evidence, KnowledgeSignal
from gateway.knowledge.filters import Filter
from gateway.knowledge.fusion import Fusion
from gateway.knowledge.ingest import EmbeddingUse
from gateway.knowledge.written_filter import filter_of

HITS = 8
# A best hit below this shares little more with the question than its common words.
LEAST_SCORE = 0.15
EARLIER_TURNS = 2
NO_TERMS = FileSearch(())
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
        filter: Filter | None = None,  # noqa: A002 - as the library has it
        fusion: Fusion | None = None,
        threshold: float = 0.0,
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
        # Collections of whose unanswered questions no words are kept.
        self.unrecorded: frozenset[str] = frozenset()
        self._retrieved = retrieved

    def paid_by(self, payer: Principal) -> "Sources":
        """The same library, with what it has embedded on another's account than the caller's."""
        made = Sources(
            self.library,
            self.context_tokens,
            self._retrieved,
            lambda _caller, use, call: self.embedded(payer, use, call),
        )
        made.unrecorded = self.unrecorded
        return made

    def paid_by_nobody(self) -> "Sources":
        """The same library for a call that nobody makes: nothing of it is booked or counted."""
        return Sources(
            self.library, self.context_tokens, lambda _names, _result, _seconds: None, lambda _caller, _use, _call: None
        )

    async def find(
        self,
        call: Call,
        principal: Principal,
        collections: tuple[str, ...],
        limit: int = HITS,
        *,
        local_only: bool = False,
    ) -> KnowledgeSignal:
        """What these collections hold for a call, by its `file_search` if it has one. Raises KnowledgeUnavailable."""
        started = time.perf_counter()
        wanted = call.file_search or NO_TERMS
        weights = wanted.weights
        try:
            signal = await self.library.search(
                question(call),
                collections,
                principal.team,
                limit if call.file_search is None else max(limit, wanted.limit),
                lambda use: self.embedded(principal, use, call),
                local_only=local_only,
                filter=filter_of(msgspec.json.decode(wanted.filters)) if wanted.filters else None,
                fusion=None if weights is None else Fusion("rrf", *weights),
                threshold=wanted.threshold,
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
    """What is searched for: the last user turn with the two before it, which often say what it is about."""
    return talk(call)
