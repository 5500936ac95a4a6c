"""The body of a search in a vector store."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gateway.core.errors import InvalidRequest
from gateway.knowledge.fusion import Fusion

MOST_QUERIES = 16


class _HybridWeights(msgspec.Struct):
    """Weights of reciprocal rank fusion."""

    embedding_weight: Annotated[float, Meta(ge=0)] = 1.0
    text_weight: Annotated[float, Meta(ge=0)] = 1.0


class RankingOptions(msgspec.Struct):
    """How results are ranked. hybrid_search: weights of reciprocal rank fusion."""

    ranker: Literal["none", "auto", "default-2024-11-15"] = "auto"
    score_threshold: Annotated[float, Meta(ge=0, le=1)] = 0.0
    hybrid_search: _HybridWeights | None = None


class NewSearch(msgspec.Struct):
    """Of POST /v1/vector_stores/{id}/search."""

    query: str | list[str]
    filters: Any = None
    max_num_results: Annotated[int, Meta(ge=1, le=50)] = 10
    ranking_options: RankingOptions | None = None
    rewrite_query: bool = False


def fusion_of(written: _HybridWeights | None) -> Fusion | None:
    """How words and vectors are to be weighed; None for our own way. Raises InvalidRequest (400) for two zeros."""
    if written is None:
        return None
    if written.embedding_weight + written.text_weight <= 0:
        raise InvalidRequest(
            "embedding_weight and text_weight must not both be 0.", param="ranking_options.hybrid_search"
        )
    return Fusion("rrf", written.embedding_weight, written.text_weight)


def queries_of(body: NewSearch) -> list[str]:
    """What is searched for. Raises InvalidRequest (400) for nothing."""
    queries = [body.query] if isinstance(body.query, str) else body.query
    if not 1 <= len(queries) <= MOST_QUERIES or not any(one.strip() for one in queries):
        raise InvalidRequest(f"query must be a text, or a list of 1 to {MOST_QUERIES}.", param="query")
    return queries
