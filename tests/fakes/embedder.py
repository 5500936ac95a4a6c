"""An embedder without a model: a text's vector is the sum of its words' fixed random directions."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from gateway.core.errors import UpstreamFailed
from gateway.knowledge.embedders import Embedded, EmbedderFailed
from gateway.knowledge.matrix import Matrix

_SAME = {"vacation": "holiday", "days": "day", "holidays": "holiday", "cash": "money"}


class FakeEmbedder:
    """Deterministic; knows a few synonyms, so that a question can match without sharing a word.

    seen: all texts asked for. broken: makes it fail like an upstream that is away.
    """

    is_local = False

    def __init__(self, name: str = "fake:1", dimension: int = 64) -> None:
        self._name = name
        self._dimension = dimension
        self.seen: list[str] = []
        self.broken = False

    @property
    def name(self) -> str:
        return self._name

    async def embed(self, texts: Sequence[str]) -> Embedded:
        if self.broken:
            raise EmbedderFailed("Embedder 'fake' is away.") from UpstreamFailed("away")
        self.seen.extend(texts)
        rows = np.stack([self._row(text) for text in texts]) if texts else np.empty((0, self._dimension))
        return Embedded(rows.astype(np.float32), sum(len(text.split()) for text in texts))

    def _row(self, text: str) -> Matrix:
        row = np.full(self._dimension, 1e-3)
        for word in re.findall(r"\w+", text.lower()):
            meaning = _SAME.get(word, word)
            seed = int.from_bytes(hashlib.sha256(meaning.encode()).digest()[:8], "big")
            row += np.random.default_rng(seed).standard_normal(self._dimension)
        return np.asarray(row / np.linalg.norm(row), np.float32)
