"""The best passages of a search in the order of a reranker, where collections have one."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

import msgspec

from gateway.core.question import cut_question
from gateway.knowledge.chunks import Passage
from gateway.knowledge.ingest import Booked, EmbeddingUse
from gateway.knowledge.rerankers import Reranker, RerankerFailed
from gateway.knowledge.settings import CollectionSettings, RerankerSettings

RERANKED = 50
# A caller waits for this before the first token; after a failure the fused order serves for a while, at once.
RERANK_SECONDS = 1.5
REST_SECONDS = 10.0

_log = logging.getLogger(__name__)
Build = Callable[[RerankerSettings], Reranker]


class Reranking:
    """The rerankers of the collections, each made when it is first used. build: None where there are none."""

    def __init__(self, build: Build | None, *, rest_seconds: float = REST_SECONDS) -> None:
        self._build = build
        self._rest_seconds = rest_seconds
        self._made: dict[RerankerSettings, Reranker] = {}
        self._rests_until: dict[RerankerSettings, float] = {}

    def wanted(self, collections: Iterable[CollectionSettings]) -> bool:
        """Whether one of these collections has a reranker."""
        return self._build is not None and any(one.reranker is not None for one in collections)

    async def reordered(
        self, text: str, passages: Sequence[Passage], collections: Iterable[CollectionSettings], booked: Booked
    ) -> tuple[Passage, ...]:
        """The passages, those of each reranker's collections in its order; where one fails, as they were.

        A collection's passages are shown to its own reranker and to no other. The best keeps the score of the best,
        the others have it in proportion to their relevance: a threshold means what it meant.
        """
        of = {one.name: one.reranker for one in collections if one.reranker is not None}
        groups: dict[RerankerSettings, list[Passage]] = {}
        rest = []
        for passage in passages:
            settings = of.get(passage.collection)
            if settings is None:
                rest.append(passage)
            else:
                groups.setdefault(settings, []).append(passage)
        told = await asyncio.gather(*(self._group(text, one, group, booked) for one, group in groups.items()))
        together = [passage for group in (*told, rest) for passage in group]
        return tuple(sorted(together, key=lambda passage: -passage.score))

    async def _group(
        self, text: str, settings: RerankerSettings, group: list[Passage], booked: Booked
    ) -> list[Passage]:
        now = asyncio.get_running_loop().time
        if self._build is None or now() < self._rests_until.get(settings, 0.0):
            return group
        reranker = self._made.get(settings) or self._made.setdefault(settings, self._build(settings))
        shown, behind = group[:RERANKED], group[RERANKED:]
        try:
            async with asyncio.timeout(RERANK_SECONDS):
                texts = [f"{passage.path}\n{passage.text}" for passage in shown]
                reranked = await reranker.rerank(cut_question(text), texts)
        except (RerankerFailed, TimeoutError) as fault:
            self._rests_until[settings] = now() + self._rest_seconds
            told = str(fault) or f"no answer in {RERANK_SECONDS:g} s"
            _log.warning("passages_not_reranked reranker=%s fault=%s", reranker.name, told)
            return group
        took = EmbeddingUse(
            shown[0].collection, reranker.name, "rerank", len(shown), reranked.tokens, reranked.search_units
        )
        booked(took)
        best = max(reranked.relevance)
        if best <= 0:
            return group
        top = shown[0].score
        rated = [
            msgspec.structs.replace(passage, score=top * relevance / best)
            for passage, relevance in zip(shown, reranked.relevance, strict=True)
        ]
        # What it was not shown stays behind all that it was.
        lowest = min(passage.score for passage in rated)
        rated += [msgspec.structs.replace(passage, score=min(passage.score, lowest)) for passage in behind]
        return sorted(rated, key=lambda passage: -passage.score)
