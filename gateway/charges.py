"""Who pays for what looking things up takes of embedders and rerankers."""

from collections.abc import Callable

from gateway.core.call import Call, Principal
from gateway.knowledge.ingest import EmbeddingUse
from gateway.ledger.entry import OPERATOR, Ledger
from gateway.ledger.retrieval import book_retrieval
from gateway.paths.lookups import use_of
from gateway.policy.load import Rulebook
from gateway.tuning.tasks import Tasks


class Charges:
    """Books it under the rules that are in force. organisations: of teams, by name.

    maker_of: the team that made a collection over the API; it pays for the documents that it put there.
    """

    def __init__(self, ledger: Ledger, rulebook: Callable[[], Rulebook]) -> None:
        self._ledger = ledger
        self._rulebook = rulebook
        self.organisations: dict[str, str] = {}
        self.maker_of: Callable[[str], str | None] = lambda _collection: None

    def embedded(self, principal: Principal, use: EmbeddingUse, call: Call | None = None) -> None:
        """Books what a call took, or what was done on somebody's account without one."""
        knowledge = self._rulebook().knowledge
        upstream, model, is_free = knowledge.billed(use.embedder, is_reranker=use.purpose == "rerank")
        book_retrieval(
            self._ledger,
            principal,
            upstream,
            model,
            use.tokens,
            use.collection,
            call=call,
            is_free=is_free,
            purpose=use.purpose,
        )

    def ingested(self, use: EmbeddingUse) -> None:
        """Books what a collection's documents took: its owner or maker pays, else the operator."""
        entry = self._rulebook().knowledge.collections.get(use.collection)
        owner = entry.owner if entry is not None else self.maker_of(use.collection)
        if owner is None:
            self.embedded(OPERATOR, use)
            return
        self.embedded(Principal(owner, "", "", organisation=self.organisations.get(owner, "")), use)

    def example(self, tasks: Tasks, tokens: int | None) -> None:
        """Books what comparing calls with training examples took before there was a call."""
        self.embedded(OPERATOR, use_of(tasks, "ingest", tokens))
