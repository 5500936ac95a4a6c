"""POST /v1/vector_stores/{id}/search."""

import asyncio
from collections.abc import Callable

import msgspec

from gateway.core.call import Inbound, Principal
from gateway.core.facts import Hit
from gateway.http.local.reading import body_of
from gateway.http.local.replies import Json, results_page
from gateway.http.local.vector_stores import Stores, expired
from gateway.http.local.written_search import NewSearch, RankingOptions, fusion_of, queries_of
from gateway.knowledge.ingest import EmbeddingUse
from gateway.knowledge.vector_stores.values import VectorStore
from gateway.knowledge.written_filter import filter_of

_search = msgspec.json.Decoder(NewSearch)

Embedded = Callable[[Principal, EmbeddingUse], None]


class Search:
    """Answers searches. embedded: told who had a question embedded, for the books."""

    def __init__(self, stores: Stores, embedded: Embedded) -> None:
        self._stores = stores
        self._embedded = embedded

    async def run(self, store: VectorStore, inbound: Inbound, principal: Principal) -> Json:
        """What a store holds for one query or several: the best chunks of all, each once."""
        body = body_of(inbound, _search)
        queries = queries_of(body)
        wanted = filter_of(body.filters)
        ranking = body.ranking_options or RankingOptions()
        fusion = fusion_of(ranking.hybrid_search)
        if store.is_expired(self._stores.clock.wall()):
            raise expired(store.id)
        await self._stores.used(store)
        signals = await asyncio.gather(
            *(
                self._stores.library.search(
                    query,
                    (store.id,),
                    principal.team,
                    body.max_num_results,
                    lambda use: self._embedded(principal, use),
                    filter=wanted,
                    fusion=fusion,
                    threshold=ranking.score_threshold,
                    rerank=ranking.ranker != "none",
                )
                for query in queries
            )
        )
        best: dict[tuple[str, str], Hit] = {}
        for hit in (hit for signal in signals for hit in signal.hits):
            key = (hit.document, hit.text)
            if key not in best or best[key].score < hit.score:
                best[key] = hit
        ranked = sorted(best.values(), key=lambda hit: -hit.score)
        return results_page(queries, ranked[: body.max_num_results])
