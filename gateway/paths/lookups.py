"""What a decision needs that only looking can tell: what collections hold, and what lines were trained on."""

from typing import Literal

import msgspec

from gateway.core.call import Call, Principal
from gateway.core.facts import Facts, Needs, NeedsKnowledge
from gateway.knowledge.ingest import EmbeddingUse
from gateway.paths.rag import Sources
from gateway.tuning.tasks import Tasks

# What the embedding of a call's turn and system prompt is booked under, where a collection's name would stand.
TASKS = "tasks"


class LookUps:
    """The library and the lines' examples. tasks: replaced as a whole on reload."""

    def __init__(self, sources: Sources, tasks: Tasks) -> None:
        self.sources = sources
        self.tasks = tasks

    def paid_by_nobody(self) -> "LookUps":
        """The same for a call that nobody makes: nothing of it is booked or counted."""
        return LookUps(self.sources.paid_by_nobody(), self.tasks)

    async def answered(
        self, needs: Needs, call: Call, principal: Principal, facts: Facts, *, local_only: bool = False
    ) -> Facts:
        """The facts with what was needed. local_only: no embedder at an upstream is asked.

        Raises KnowledgeUnavailable (503).
        """
        if isinstance(needs, NeedsKnowledge):
            signal = await self.sources.signal(call, principal, needs.collections, local_only=local_only)
            return msgspec.structs.replace(facts, knowledge=(*facts.knowledge, (needs.collections, signal)))
        tasks = self.tasks

        def took(tokens: int | None) -> None:
            self.sources.embedded(principal, use_of(tasks, "query", tokens), call)

        return msgspec.structs.replace(facts, tasks=await tasks.signals(call, took, local_only=local_only))


def use_of(tasks: Tasks, purpose: Literal["ingest", "query"], tokens: int | None) -> EmbeddingUse:
    """What comparing calls with training examples took of an embedder, for the books."""
    return EmbeddingUse(TASKS, tasks.embedder_name, purpose, 1, tokens)
