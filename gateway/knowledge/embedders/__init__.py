"""Texts to vectors: one contract, one file each."""

from collections.abc import Sequence
from typing import Protocol

from gateway.core.errors import UpstreamFailed
from gateway.core.values import Value
from gateway.knowledge.matrix import Matrix


class Embedded(Value, frozen=True):
    """rows: (n, dim) float32 of unit length. tokens: what the embedder says it read, else None."""

    rows: Matrix
    tokens: int | None


class EmbedderFailed(UpstreamFailed):
    """The embedder did not answer, or not with one vector for each text."""


class DimensionMismatch(ValueError):
    """Vectors of another length than before: the index was built by another model under the same name."""


class Embedder(Protocol):
    """name: stands with the vectors in the store; another model must have another name."""

    @property
    def is_local(self) -> bool:
        """Whether it works on this machine: no upstream is asked, nobody sends a bill."""
        ...

    @property
    def name(self) -> str:
        """What the store files the vectors under."""
        ...

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """One row for each text. Raises EmbedderFailed and DimensionMismatch."""
        ...
