"""`POST .../rerank` as Cohere has it, and as OpenAI-compatible servers (vLLM, Jina, TEI) do."""

import math
from collections.abc import Sequence

import msgspec

from gateway.core.errors import GatewayError
from gateway.knowledge.embedders.openai_api import PostJson
from gateway.knowledge.rerankers import Reranked, RerankerFailed
from gateway.knowledge.settings import RerankerSettings

MOST_CHARACTERS = 4_000


class _Row(msgspec.Struct):
    index: int
    relevance_score: float | None = None
    score: float | None = None


class _Usage(msgspec.Struct):
    total_tokens: int | None = None
    prompt_tokens: int | None = None


class _Billed(msgspec.Struct):
    search_units: float | None = None
    input_tokens: float | None = None


class _Meta(msgspec.Struct):
    billed_units: _Billed | None = None
    tokens: _Billed | None = None


class _Reply(msgspec.Struct):
    results: list[_Row] | None = None
    data: list[_Row] | None = None
    usage: _Usage | None = None
    meta: _Meta | None = None


_decoder: msgspec.json.Decoder[_Reply | list[_Row]] = msgspec.json.Decoder(_Reply | list[_Row])


class ApiReranker:
    """One question a request, each text cut at 4,000 characters.

    Relevance is taken from `results` or `data`, `relevance_score` or `score`, or a bare list; where one lies outside
    [0, 1] all are raw scores, and made probabilities. A text that the reply leaves out has 0.
    """

    def __init__(self, settings: RerankerSettings, post_json: PostJson) -> None:
        self._settings = settings
        self._post_json = post_json

    @property
    def name(self) -> str:
        """See Reranker."""
        return f"{self._settings.name}:{self._settings.model}"

    async def rerank(self, question: str, texts: Sequence[str]) -> Reranked:
        """See Reranker."""
        if not texts:
            return Reranked(())
        reply = await self._ask(question, [text[:MOST_CHARACTERS] or " " for text in texts])
        if isinstance(reply, list):
            return Reranked(self._relevance(reply, len(texts)))
        rows = reply.results if reply.results is not None else reply.data
        tokens, units = _took(reply)
        return Reranked(self._relevance(rows or [], len(texts)), tokens, units)

    async def _ask(self, question: str, texts: list[str]) -> _Reply | list[_Row]:
        settings = self._settings
        headers = {"content-type": "application/json"}
        if settings.api_key:
            headers["authorization"] = f"Bearer {settings.api_key}"
        asked: dict[str, object] = {
            "model": settings.model,
            "query": question or " ",
            "documents": texts,
            "top_n": len(texts),
        }
        if settings.kind == "openai":
            # Some send every document back unless told not to; Cohere does not know the word any more.
            asked["return_documents"] = False
        try:
            reply = await self._post_json(f"{settings.base_url.rstrip('/')}/rerank", headers, _encoded(asked))
            return _decoder.decode(reply)
        except msgspec.DecodeError as fault:
            raise RerankerFailed(
                f"Reranker {settings.name!r} answered with something that is no list of scores."
            ) from fault
        except GatewayError as fault:
            raise RerankerFailed(f"Reranker {settings.name!r} failed: {fault.message}") from fault

    def _relevance(self, rows: list[_Row], count: int) -> tuple[float, ...]:
        found = [0.0] * count
        scores = {row.index: row.relevance_score if row.relevance_score is not None else row.score for row in rows}
        scored = {index: score for index, score in scores.items() if score is not None and 0 <= index < count}
        if not scored or len(scored) != len(scores) or not all(map(math.isfinite, scored.values())):
            raise RerankerFailed(
                f"Reranker {self._settings.name!r} gave {len(scored)} scores for {count} texts; "
                "an `index` of a text and a number were due in each row."
            )
        is_raw = not all(0 <= score <= 1 for score in scored.values())
        for index, score in scored.items():
            found[index] = 1 / (1 + math.exp(-max(-60.0, min(60.0, score)))) if is_raw else score
        return tuple(found)


def _encoded(asked: dict[str, object]) -> bytes:
    try:
        return msgspec.json.encode(asked)
    except UnicodeEncodeError:  # Half a surrogate pair in what a caller wrote.
        texts = [str(text).encode("utf-8", "replace").decode() for text in asked["documents"]]  # type: ignore[attr-defined]  # a list
        query = str(asked["query"]).encode("utf-8", "replace").decode()
        return msgspec.json.encode(asked | {"documents": texts, "query": query})


def _took(reply: _Reply) -> tuple[int | None, float | None]:
    billed = reply.meta.billed_units if reply.meta is not None else None
    counted = reply.meta.tokens if reply.meta is not None else None
    told = (
        reply.usage.total_tokens if reply.usage is not None else None,
        reply.usage.prompt_tokens if reply.usage is not None else None,
        counted.input_tokens if counted is not None else None,
        billed.input_tokens if billed is not None else None,
    )
    tokens = next((int(one) for one in told if one is not None), None)
    return tokens, billed.search_units if billed is not None else None
