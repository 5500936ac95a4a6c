"""Where chunks are kept and found: one contract, one file each."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

from gateway.core.facts import Attributes
from gateway.core.values import Value
from gateway.knowledge.chunks import Chunk, Passage
from gateway.knowledge.document import Document
from gateway.knowledge.filters import Filter
from gateway.knowledge.fusion import CONVEX, Fusion
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


class Entry(Value, frozen=True):
    """A document as it is written: with the chunks it was cut into."""

    document: Document
    chunks: tuple[Chunk, ...]


class Pass(Value, frozen=True):
    """A pass over a source. number: what documents it names are stamped with. cursor: where it goes on from.

    is_census: it began without a cursor, so what it has not named at its end is gone.
    """

    number: int
    cursor: str | None
    is_census: bool


class Ask(Value, frozen=True):
    """One search. team: who asks, a document's readers are compared with it. collections: those it may read.

    probes: the question's vector by collection; a collection without one is searched by words. A document that
    the team may not read or that the filter does not let through is neither found, nor weighed, nor counted.
    """

    text: str
    team: str
    collections: tuple[str, ...]
    limit: int
    probes: Mapping[str, Probe]
    filter: Filter | None = None
    fusion: Fusion = CONVEX


class Found(Value, frozen=True):
    """What a search gave. version: the store's, read in the same moment or before it."""

    version: int
    passages: tuple[Passage, ...]


class Listing(Value, frozen=True):
    """Which documents of a collection are wanted: those that the team may read, by id.

    document: this one alone. after: those beyond this id.
    """

    collection: str
    team: str
    limit: int
    descends: bool = False
    after: str | None = None
    document: str | None = None


class Kept(Value, frozen=True):
    """A document as a list shows it. size: bytes of its text, as it was cut."""

    document: str
    title: str
    filename: str
    version: str
    attributes: Attributes
    size: int


class Store(Protocol):
    """Documents by (collection, source, document id). Belongs to one event loop; many processes may share the data.

    A document is replaced in one transaction: a reader sees the old one or the new one, never a mix. A
    removed document is in no answer that begins after `remove` returned. Every change raises `version`.
    All raise KnowledgeUnavailable, within a bounded time, when the store is away.
    """

    def syncing(self, collection: str) -> AbstractAsyncContextManager[bool]:
        """Keeps other processes from passing over this collection meanwhile; False when one is at it."""
        ...

    async def begin(self, collection: str, source: str, *, anew: bool = False) -> Pass:
        """The pass that is due: the one that was cut off, from its last mark, or a new one.

        anew: from the beginning, whatever was marked.
        """
        ...

    async def put(self, collection: str, source: str, entries: Sequence[Entry], number: int = 0) -> tuple[Put, ...]:
        """Writes documents' words; chunks whose hash did not change keep their vectors.

        number: of the pass that names them. All entries go in together or not at all.
        """
        ...

    async def keep(self, collection: str, source: str, pattern: str, number: int) -> None:
        """Has the pass name documents that it cannot see: one id, or with a trailing `*` all that begin so."""
        ...

    async def remove(self, collection: str, source: str, document: str) -> bool:
        """Removes a document with its chunks and vectors; False when there was none."""
        ...

    async def mark(self, collection: str, source: str, cursor: str, number: int) -> None:
        """Keeps where this pass could go on from, were it cut off after this; nothing when another has begun since."""
        ...

    async def sweep(self, collection: str, source: str, number: int) -> int:
        """Removes some of the documents that no pass since this census has named; how many. 0: there are no more."""
        ...

    async def current(self, document: str) -> dict[str, str]:
        """The version of a document by the collections that hold it; of one that two sources have, either."""
        ...

    async def finish(self, collection: str, source: str, cursor: str | None, at: float) -> None:
        """Ends a pass. at: Unix seconds."""
        ...

    async def keep_sources(self, collection: str, sources: Iterable[str]) -> int:
        """Removes the documents of all other sources of a collection; how many that were."""
        ...

    async def listed(self, asked: Listing) -> tuple[Kept, ...]:
        """Documents in the order of their ids; of one that two sources have, either."""
        ...

    async def texts(self, collection: str, team: str, document: str) -> tuple[str, ...]:
        """The texts of a document's chunks in reading order; none for one that the team may not read."""
        ...

    async def documents(self, collection: str, source: str) -> frozenset[str]:
        """The ids of a source's documents."""
        ...

    async def count(self, collection: str, source: str) -> int:
        """How many documents a source has."""
        ...

    async def cursor(self, collection: str, source: str) -> str | None:
        """Where the last pass over a source ended; None after one that changed something and was cut off."""
        ...

    async def pending(self, collection: str, embedder: str, limit: int) -> tuple[PendingChunk, ...]:
        """Chunks without a vector of this embedder, in order of their ids."""
        ...

    async def put_vectors(self, collection: str, embedder: str, ids: tuple[int, ...], rows: Matrix) -> None:
        """Adds vectors, (n, dim) float32 of unit length. Chunks that are gone meanwhile are passed over.

        A collection's first vectors make their embedder the one that serves. Raises DimensionMismatch when this
        embedder gave vectors of another length before.
        """
        ...

    async def serving(self) -> dict[str, str]:
        """The embedder whose vectors answer, by collection; a collection without vectors is left out."""
        ...

    async def serve(self, collection: str, embedder: str) -> None:
        """From now on this embedder's vectors answer; those of all others go."""
        ...

    async def search(self, ask: Ask) -> Found:
        """The best passages of these collections and no others; see `ranking` for order and score.

        Raises DimensionMismatch for a probe of another length than the chunks' vectors.
        """
        ...

    async def measure(self, ask: Ask) -> dict[str, Measured]:
        """What each collection shows of whether it holds an answer; one that never held a chunk is left out."""
        ...

    async def counts(self) -> dict[str, tuple[int, int]]:
        """Documents and chunks of each collection that ever held one."""
        ...

    async def version(self) -> int:
        """Raised by every change, to any collection."""
        ...

    async def note(self) -> str:
        """What an operator should know of the store as it stands; "" when there is nothing."""
        ...

    async def close(self) -> None:
        """Lets all files and connections go; the store cannot be used afterwards."""
        ...
