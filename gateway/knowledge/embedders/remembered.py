"""An embedder that remembers the questions it was asked lately."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

from gateway.knowledge.embedders import Embedded, Embedder, EmbedderFailed
from gateway.knowledge.ranking import Vector

MOST_QUESTIONS = 2_048
# A caller waits for this before the first token; after a failure words alone serve for a while, at once.
QUESTION_SECONDS = 2.0
REST_SECONDS = 10.0


class _Asked:
    """A question being embedded. waiting: how many want to know."""

    def __init__(self, task: asyncio.Task[Vector]) -> None:
        self.task = task
        self.waiting = 0


class Remembered:
    """Any embedder, and in front of it the vectors of the `most` questions that were asked last.

    Kept under a hash of the text: what callers wrote does not stay in memory. Belongs to one event loop.
    """

    def __init__(self, embedder: Embedder, most: int = MOST_QUESTIONS, *, rest_seconds: float = REST_SECONDS) -> None:
        self.embedder = embedder
        self._most = most
        self._kept: OrderedDict[bytes, Vector] = OrderedDict()
        self._asked: dict[bytes, _Asked] = {}
        self._rest_seconds = rest_seconds
        self._rests_until = 0.0

    @property
    def name(self) -> str:
        """The embedder's own."""
        return self.embedder.name

    @property
    def is_local(self) -> bool:
        """The embedder's own."""
        return self.embedder.is_local

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """As the embedder does it: documents are read once, and would only push questions out."""
        return await self.embedder.embed(texts)

    async def question(self, text: str, booked: Callable[[int | None], None]) -> Vector:
        """The text's vector: (dim,) float32 of unit length, not to be written to.

        All who ask for one text at one time wait for one computation; it goes on while one of them waits, and a
        failure is for those and is not kept. booked: told the tokens that it took, once, and not when the vector
        was there already or another's asking began it. Raises DimensionMismatch, and EmbedderFailed: also after 2 s,
        and at once for 10 s after a failure.
        """
        # A caller's JSON may hold half a surrogate pair, which strict UTF-8 refuses.
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        if asyncio.get_running_loop().time() < self._rests_until:
            raise EmbedderFailed(f"Embedder {self.name!r} has failed and is being left alone.")
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = _Asked(asyncio.create_task(self._compute(key, text, booked)))
        asked.waiting += 1
        try:
            async with asyncio.timeout(QUESTION_SECONDS):
                return await asyncio.shield(asked.task)
        except TimeoutError:
            self._rest()
            raise EmbedderFailed(f"Embedder {self.name!r} took over {QUESTION_SECONDS:g} s for a question.") from None
        except EmbedderFailed:
            self._rest()
            raise
        finally:
            asked.waiting -= 1
            if not asked.waiting:
                asked.task.cancel()
                # Gone at once: who asks next must not wait for a task that is being cancelled.
                if self._asked.get(key) is asked:
                    del self._asked[key]

    def _rest(self) -> None:
        self._rests_until = asyncio.get_running_loop().time() + self._rest_seconds

    async def _compute(self, key: bytes, text: str, booked: Callable[[int | None], None]) -> Vector:
        embedded = await self.embedder.embed([text])
        row: Vector = embedded.rows[0]
        row.flags.writeable = False
        booked(embedded.tokens)
        self._kept[key] = row
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return row
