"""Asking the store for collections that a team may read: probes, fusion, reranking, near-duplicates left out."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

import msgspec

from gateway.core.facts import Evidence, KnowledgeSignal
from gateway.knowledge.chunks import Passage
from gateway.knowledge.distinct import distinct
from gateway.knowledge.embedders import DimensionMismatch
from gateway.knowledge.embedders.remembered import Remembered
from gateway.knowledge.filters import Filter
from gateway.knowledge.fusion import CONVEX, Fusion
from gateway.knowledge.ingest import Booked
from gateway.knowledge.measure import Measured, evidence
from gateway.knowledge.probes import Probing
from gateway.knowledge.reranking import RERANKED, Build, Reranking
from gateway.knowledge.settings import CollectionSettings
from gateway.knowledge.stores import Ask, Found, Store

MOST_QUESTION_CHARACTERS = 20_000
# How many candidates are looked at, at most, for a search's distinct hits; a repetitive file of 4 MB is fewer chunks.
MOST_CANDIDATES = 5_000
_WIDENED = 4
# Some 10 ms of comparing; more of it waits for a thread, so that other calls do not wait for it.
_COMPARED_ON_THE_LOOP = 100

_log = logging.getLogger(__name__)


class Searching:
    """How a library's searches are made. build: makes a reranker, None where none is asked."""

    def __init__(self, store: Store, embedders: Mapping[str, Remembered], build: Build | None) -> None:
        self._store = store
        self.probing = Probing(store, embedders)
        self._reranking = Reranking(build)

    async def search(
        self,
        text: str,
        team: str,
        permitted: Sequence[CollectionSettings],
        limit: int,
        booked: Booked,
        *,
        local_only: bool,
        wanted: Filter | None,
        fusion: Fusion | None,
        threshold: float,
        rerank: bool,
    ) -> KnowledgeSignal:
        """See Library.search. permitted: collections that the team may read, and no others."""
        asked = text[-MOST_QUESTION_CHARACTERS:]
        names = tuple(settings.name for settings in permitted)
        if not names or not asked.strip():
            return KnowledgeSignal(0.0, (), str(await self._store.version()))
        probes = await self.probing.probes(asked, permitted, booked, local_only=local_only)
        rerank = rerank and not local_only and self._reranking.wanted(permitted)
        count = max(2 * limit + 4, RERANKED) if rerank else 2 * limit + 4
        ask = Ask(asked, team, names, count, probes, wanted, fusion or CONVEX)
        version, passages = await self._distinct(ask, limit, RERANKED if rerank else limit, threshold)
        if rerank and passages:
            passages = await self._reranking.reordered(asked, passages, permitted, booked)
        hits = tuple(hit for hit in passages[:limit] if hit.score >= threshold)
        return KnowledgeSignal(hits[0].score if hits else 0.0, hits, str(version))

    async def measure(
        self,
        turn: str,
        talk: str,
        team: str,
        permitted: Sequence[CollectionSettings],
        booked: Booked,
        *,
        local_only: bool,
    ) -> tuple[str, tuple[tuple[str, Evidence], ...]]:
        """See Library.measure."""
        names = tuple(settings.name for settings in permitted)
        found = []
        for text in dict.fromkeys((turn, talk)):
            asked = text[-MOST_QUESTION_CHARACTERS:]
            probes = await self.probing.probes(asked, permitted, booked, local_only=local_only)
            found.append(await self._store.measure(Ask(asked, team, names, 0, probes)))
        first, last = found[0], found[-1]
        has_meaning = bool(names) and all(
            measure.get(name, Measured()).meaning is not None for measure in found for name in names
        )
        told = tuple((name, evidence(first.get(name, Measured()), last.get(name, Measured()))) for name in names)
        embedders = sorted({settings.embedder or "" for settings in permitted})
        return (",".join(embedders) if has_meaning else ""), told

    async def _distinct(self, ask: Ask, fewest: int, most: int, threshold: float) -> tuple[int, tuple[Passage, ...]]:
        """The store's version, and up to `most` passages without near-duplicates.

        Forty copies of one text fill the first candidates: more are taken until there are `fewest` distinct ones,
        or what follows cannot be a hit.
        """
        while True:
            found = await self._found(ask)
            passages, most = found.passages, max(fewest, most)
            if len(passages) <= _COMPARED_ON_THE_LOOP:
                kept = distinct(passages, most)
            else:
                kept = await asyncio.to_thread(distinct, passages, most)
            is_all = len(passages) < ask.limit or passages[-1].score < threshold
            if len(kept) >= fewest or is_all or ask.limit >= MOST_CANDIDATES:
                return found.version, kept
            ask = msgspec.structs.replace(ask, limit=min(MOST_CANDIDATES, _WIDENED * ask.limit))

    async def _found(self, ask: Ask) -> Found:
        try:
            return await self._store.search(ask)
        except DimensionMismatch as fault:
            _log.warning("question_not_compared fault=%s", fault)
            return await self._store.search(msgspec.structs.replace(ask, probes={}))
