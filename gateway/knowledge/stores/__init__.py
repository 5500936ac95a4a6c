"""Where chunks are kept and found: one contract, one file each."""

from collections.abc import Iterable, Mapping
from typing import Literal, Protocol

from gateway.core.values import Value
from gateway.knowledge.chunks import Chunk, Passage
from gateway.knowledge.document import Document
from gateway.knowledge.matrix import Matrix
from gateway.knowledge.measure import Measured
from gateway.knowledge.ranking import Vector

Put = Literal["added", "updated", "unchanged"]


class Probe(Value, frozen=True):
    """A question as a vector: (dim,) float32 of unit length, made by this embedder."""

    embedder: str
    vector: Vector


class PendingChunk(Value, frozen=True):
    """A chunk that an embedder has not seen yet; content is its path and text."""

    id: int
    content: str


class Store(Protocol):
    """Documents by (collection, source, document id); reading from any thread, writes one after the other.

    A document is replaced in one transaction: a reader sees the old one or the new one, never a mix. A
    removed document is in no answer that begins after `remove` returned. Every change raises `version`.
    """

    def put(self, collection: str, source: str, document: Document, chunks: tuple[Chunk, ...]) -> Put:
        """Writes a document's words; chunks whose hash did not change keep their vectors."""
        ...

    def remove(self, collection: str, source: str, document: str) -> bool:
        """Removes a document with its chunks and vectors; False when there was none."""
        ...

    def keep_sources(self, collection: str, sources: Iterable[str]) -> int:
        """Removes the documents of all other sources of a collection; how many that were."""
        ...

    def documents(self, collection: str, source: str) -> frozenset[str]:
        """The ids of a source's documents."""
        ...

    def current(self, document: str) -> dict[str, str]:
        """The version of a document by the collections that hold it; of one that two sources have, either."""
        ...

    def cursor(self, collection: str, source: str) -> str | None:
        """Where the last pass over a source ended; None after one that changed something and was cut off."""
        ...

    def finish(self, collection: str, source: str, cursor: str | None, at: float) -> None:
        """Ends a pass. at: Unix seconds."""
        ...

    def pending(self, collection: str, embedder: str, limit: int) -> tuple[PendingChunk, ...]:
        """Chunks without a vector of this embedder, in order of their ids."""
        ...

    def put_vectors(self, collection: str, embedder: str, ids: tuple[int, ...], rows: Matrix) -> None:
        """Adds vectors, (n, dim) float32 of unit length. Chunks that are gone meanwhile are passed over.

        Raises DimensionMismatch when this embedder gave vectors of another length before.
        """
        ...

    def search(
        self, question: str, collections: Iterable[str], probes: Mapping[str, Probe], limit: int
    ) -> tuple[Passage, ...]:
        """The best passages of these collections and no others; see `ranking` for order and score.

        probes: the question's vector by collection; a collection without one is searched by words.
        Raises KnowledgeUnavailable when the store cannot be read.
        """
        ...

    def measure(self, question: str, collections: Iterable[str], probes: Mapping[str, Probe]) -> dict[str, Measured]:
        """What each of these collections shows of whether it holds an answer; one that never held a chunk is left out.

        Raises KnowledgeUnavailable when the store cannot be read.
        """
        ...

    def counts(self) -> dict[str, tuple[int, int]]:
        """Documents and chunks of each collection that ever held one."""
        ...

    def version(self) -> int:
        """Raised by every change, to any collection. Raises KnowledgeUnavailable."""
        ...

    def close(self) -> None:
        """Lets all files go; the store cannot be used afterwards."""
        ...
