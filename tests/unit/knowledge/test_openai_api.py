import json
from typing import Any

import numpy as np
import pytest

from gateway.core.errors import UpstreamTimeout
from gateway.knowledge.embedders import DimensionMismatch, EmbedderFailed
from gateway.knowledge.embedders.openai_api import MOST_TEXTS, OpenAiEmbedder
from gateway.knowledge.settings import EmbedderSettings

SETTINGS = EmbedderSettings("small", "https://api.example/v1/", "embed-1", "secret")


class Upstream:
    """Answers with one vector for each input; `reply` changes what it says."""

    def __init__(self, dimension: int = 3) -> None:
        self.dimension = dimension
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.reply: bytes | Exception | None = None

    async def __call__(self, url: str, headers: dict[str, str], body: bytes) -> bytes:
        asked = json.loads(body)
        self.asked.append((url, headers, asked))
        if isinstance(self.reply, Exception):
            raise self.reply
        if self.reply is not None:
            return self.reply
        rows = [
            {"index": i, "embedding": [float(i + 1)] + [0.5] * (self.dimension - 1)} for i in range(len(asked["input"]))
        ]
        return json.dumps({"object": "list", "data": rows[::-1], "usage": {"prompt_tokens": len(rows)}}).encode()


async def test_rows_are_of_unit_length_and_in_the_order_of_the_texts() -> None:
    upstream = Upstream()
    embedded = await OpenAiEmbedder(SETTINGS, upstream).embed(["a", "b"])
    assert embedded.rows.shape == (2, 3)
    assert embedded.rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(embedded.rows, axis=1), 1)
    assert embedded.rows[1][0] > embedded.rows[0][0]
    url, headers, body = upstream.asked[0]
    assert url == "https://api.example/v1/embeddings"
    assert headers["authorization"] == "Bearer secret"
    assert body["model"] == "embed-1"


async def test_long_lists_go_in_batches_and_their_tokens_add_up() -> None:
    upstream = Upstream()
    embedded = await OpenAiEmbedder(SETTINGS, upstream).embed(["x"] * (2 * MOST_TEXTS + 1))
    assert [len(asked["input"]) for _, _, asked in upstream.asked] == [MOST_TEXTS, MOST_TEXTS, 1]
    assert embedded.tokens == 2 * MOST_TEXTS + 1


async def test_tokens_are_unknown_when_not_told() -> None:
    upstream = Upstream()
    upstream.reply = b'{"data": [{"index": 0, "embedding": [1, 0]}]}'
    assert (await OpenAiEmbedder(SETTINGS, upstream).embed(["a"])).tokens is None


async def test_another_dimension_is_refused() -> None:
    upstream = Upstream()
    embedder = OpenAiEmbedder(SETTINGS, upstream)
    await embedder.embed(["a"])
    upstream.dimension = 4
    with pytest.raises(DimensionMismatch, match="4 numbers a text and 3 before"):
        await embedder.embed(["a"])


@pytest.mark.parametrize(
    "reply",
    [
        b"<html>",
        b'{"data": []}',
        b'{"data": [{"embedding": []}]}',
        b'{"data": [{"embedding": [0, 0]}]}',
        b'{"data": [{"embedding": [1e400, 0]}]}',
        b'{"data": [{"embedding": ["1"]}]}',
        UpstreamTimeout("too late"),
    ],
)
async def test_a_bad_reply_is_the_embedders_failure(reply: bytes | Exception) -> None:
    upstream = Upstream()
    upstream.reply = reply
    with pytest.raises(EmbedderFailed, match="'small'") as failure:
        await OpenAiEmbedder(SETTINGS, upstream).embed(["a"])
    assert "secret" not in str(failure.value)


async def test_the_model_is_a_part_of_the_name() -> None:
    assert OpenAiEmbedder(SETTINGS, Upstream()).name == "small:embed-1"
    assert (await OpenAiEmbedder(SETTINGS, Upstream()).embed([])).rows.shape[0] == 0
