"""Questions as vectors, by the embedder whose vectors a collection has."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from gateway.core.question import cut_question
from gateway.knowledge.embedders import DimensionMismatch, EmbedderFailed
from gateway.knowledge.embedders.remembered import Remembered
from gateway.knowledge.ingest import Booked, EmbeddingUse
from gateway.knowledge.settings import CollectionSettings
from gateway.knowledge.stores import Probe, Store

# What serves changes once in the life of an embedder; another process notices within this.
SERVING_SECONDS = 0.5

_log = logging.getLogger(__name__)


class Probing:
    """Makes the probes of a search. embedders: by the names that collections use; replaced as a whole."""

    def __init__(self, store: Store, embedders: Mapping[str, Remembered]) -> None:
        self._store = store
        self.embedders = dict(embedders)
        self._serving: dict[str, str] = {}
        self._known_until = float("-inf")

    def forget(self) -> None:
        """Has the next search look anew which embedders serve."""
        self._known_until = float("-inf")

    async def probes(
        self, text: str, collections: Iterable[CollectionSettings], booked: Booked, *, local_only: bool
    ) -> dict[str, Probe]:
        """The text as a vector for each collection with an embedder; each embedder is asked once.

        Where one fails, words alone are searched. Raises KnowledgeUnavailable.
        """
        embedded = [settings for settings in collections if settings.embedder]
        if not embedded or not text.strip():
            return {}
        serving = await self._known()
        made: dict[str, Probe | None] = {}
        probes: dict[str, Probe] = {}
        for settings in embedded:
            embedder = self._answering(settings, serving)
            if embedder is None or (local_only and not embedder.is_local):
                continue
            if embedder.name not in made:
                made[embedder.name] = await self._probe(text, settings.name, embedder, booked)
            probe = made[embedder.name]
            if probe is not None:
                probes[settings.name] = probe
        return probes

    def _answering(self, settings: CollectionSettings, serving: Mapping[str, str]) -> Remembered | None:
        """Whose vectors answer: the old embedder's until the new one has seen every chunk, as long as it is there."""
        wanted = self.embedders.get(settings.embedder or "")
        name = serving.get(settings.name)
        if name is None or (wanted is not None and wanted.name == name):
            return wanted
        return next((one for one in self.embedders.values() if one.name == name), None)

    async def _known(self) -> dict[str, str]:
        now = asyncio.get_running_loop().time()
        if now >= self._known_until:
            self._serving = await self._store.serving()
            self._known_until = now + SERVING_SECONDS
        return self._serving

    async def _probe(
        self, text: str, collection: str, embedder: Remembered, booked: Callable[[EmbeddingUse], None]
    ) -> Probe | None:
        def took(tokens: int | None) -> None:
            booked(EmbeddingUse(collection, embedder.name, "query", 1, tokens))

        try:
            return Probe(embedder.name, await embedder.question(cut_question(text), took))
        except (EmbedderFailed, DimensionMismatch) as fault:
            _log.warning("question_not_embedded embedder=%s fault=%s", embedder.name, fault)
            return None
