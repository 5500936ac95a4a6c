"""Passages put in order by a model that reads them beside the question: one contract, one file each."""

from collections.abc import Sequence
from typing import Protocol

from gateway.core.errors import UpstreamFailed
from gateway.core.values import Value


class Reranked(Value, frozen=True):
    """relevance: of each text, in [0, 1]. tokens, search_units: what the reply says it took, else None."""

    relevance: tuple[float, ...]
    tokens: int | None = None
    search_units: float | None = None


class RerankerFailed(UpstreamFailed):
    """The reranker did not answer, or not with a number for a text."""


class Reranker(Protocol):
    """A model that says how well each text answers a question."""

    @property
    def name(self) -> str:
        """The configured name and the model, for the books."""
        ...

    async def rerank(self, question: str, texts: Sequence[str]) -> Reranked:
        """Raises RerankerFailed."""
        ...
