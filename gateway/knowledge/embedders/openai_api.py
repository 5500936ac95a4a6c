"""Any OpenAI-compatible `/v1/embeddings`."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec
import numpy as np

from gateway.core.errors import GatewayError
from gateway.knowledge.embedders import DimensionMismatch, Embedded, EmbedderFailed
from gateway.knowledge.matrix import Matrix
from gateway.knowledge.settings import EmbedderSettings

PostJson = Callable[[str, dict[str, str], bytes], Awaitable[bytes]]

MOST_TEXTS = 96
MOST_CHARACTERS = 8_000


class _Row(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0


class _Reply(msgspec.Struct):
    data: list[_Row]
    usage: _Usage | None = None


_read_reply = msgspec.json.Decoder(_Reply).decode


class OpenAiEmbedder:
    """Asks in batches of 96 texts, each cut at 8,000 characters.

    post_json: sends a body to an address with headers and gives the reply's body; it owns the deadline and
    raises a GatewayError on anything but a 2xx.
    """

    is_local = False

    def __init__(self, settings: EmbedderSettings, post_json: PostJson) -> None:
        self._settings = settings
        self._post_json = post_json
        self._dimension: int | None = None

    @property
    def name(self) -> str:
        """The configured name and the model: a change of either embeds anew."""
        return f"{self._settings.name}:{self._settings.model}"

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """One row for each text, and the tokens of the replies' `usage`, None when one has none."""
        rows: list[Matrix] = []
        tokens: int | None = 0
        for start in range(0, len(texts), MOST_TEXTS):
            batch = [text[:MOST_CHARACTERS] or " " for text in texts[start : start + MOST_TEXTS]]
            reply = await self._ask(batch)
            rows.append(self._unit_rows(reply, len(batch)))
            tokens = None if tokens is None or reply.usage is None else tokens + reply.usage.prompt_tokens
        if not rows:
            return Embedded(np.empty((0, self._dimension or 0), np.float32), 0)
        return Embedded(np.concatenate(rows), tokens)

    async def _ask(self, batch: list[str]) -> _Reply:
        headers = {"content-type": "application/json"}
        if self._settings.api_key:
            headers["authorization"] = f"Bearer {self._settings.api_key}"
        # `float`, though base64 is smaller: half of the compatible servers know no other.
        body = msgspec.json.encode({"model": self._settings.model, "input": batch, "encoding_format": "float"})
        address = f"{self._settings.base_url.rstrip('/')}/embeddings"
        try:
            return _read_reply(await self._post_json(address, headers, body))
        except msgspec.DecodeError as fault:
            raise EmbedderFailed(
                f"Embedder {self._settings.name!r} answered with something that is no list of embeddings."
            ) from fault
        except EmbedderFailed:
            raise
        except GatewayError as fault:
            raise EmbedderFailed(
                f"Embedder {self._settings.name!r} failed: {fault.message}",
                retry_after_seconds=fault.retry_after_seconds,
            ) from fault

    def _unit_rows(self, reply: _Reply, count: int) -> Matrix:
        ordered = sorted(reply.data, key=lambda row: row.index)
        lengths = {len(row.embedding) for row in ordered}
        if len(ordered) != count or len(lengths) != 1 or 0 in lengths:
            raise EmbedderFailed(
                f"Embedder {self._settings.name!r} gave {len(ordered)} vectors of lengths {sorted(lengths)} "
                f"for {count} texts; one length and one vector for each text were due."
            )
        dimension = lengths.pop()
        if self._dimension is None:
            self._dimension = dimension
        if dimension != self._dimension:
            raise DimensionMismatch(
                f"Embedder {self.name!r} gave {dimension} numbers a text and {self._dimension} before. "
                "Give the other model another name."
            )
        rows = np.array([row.embedding for row in ordered], np.float32)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.isfinite(norms).all() or not (norms > 0).all():
            raise EmbedderFailed(f"Embedder {self._settings.name!r} gave a vector without direction.")
        return np.asarray(rows / norms, np.float32)
