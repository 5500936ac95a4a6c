import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from gateway.knowledge.rerankers import RerankerFailed
from gateway.knowledge.rerankers.rerank_api import ApiReranker
from gateway.knowledge.settings import RerankerSettings
from gateway.upstream.post import JsonPoster
from tests.fakes.scripted_server import Script, Visit, scripted


def answers(body: object, status: str = "200 OK") -> Script:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def script(visit: Visit) -> None:
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        await visit.write(head.encode() + data)

    return script


@pytest.fixture
async def poster() -> AsyncIterator[JsonPoster]:
    made = JsonPoster()
    yield made
    await made.close()


def reranker(poster: JsonPoster, port: int, kind: str = "cohere") -> ApiReranker:
    base_url = f"http://127.0.0.1:{port}/v2/"
    return ApiReranker(RerankerSettings("sharp", base_url, "rerank-3", "key", kind), poster.post)  # type: ignore[arg-type]  # one of the two


SHAPES = {
    "cohere": (
        {
            "id": "x",
            "results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}],
            "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
        },
        (0.2, 0.9),
        None,
        1.0,
    ),
    "jina, vllm": (
        {
            "model": "m",
            "usage": {"total_tokens": 56},
            "results": [{"index": 0, "document": {"text": "a"}, "relevance_score": 0.5}],
        },
        (0.5, 0.0),
        56,
        None,
    ),
    "data": (
        {
            "object": "list",
            "data": [{"index": 1, "score": 0.25}, {"index": 0, "score": 1}],
            "usage": {"total_tokens": 7},
        },
        (1.0, 0.25),
        7,
        None,
    ),
    "a bare list": ([{"index": 1, "score": 0.75}, {"index": 0, "score": 0.5}], (0.5, 0.75), None, None),
    "raw scores": (
        {"results": [{"index": 0, "relevance_score": 0.0}, {"index": 1, "relevance_score": 800}]},
        (0.5, 1.0),
        None,
        None,
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_each_shape_is_read(poster: JsonPoster, shape: str) -> None:
    body, relevance, tokens, units = SHAPES[shape]
    async with scripted(answers(body)) as server:
        found = await reranker(poster, server.origin.port).rerank("which?", ["a", "b"])
    assert found.relevance == pytest.approx(relevance)
    assert (found.tokens, found.search_units) == (tokens, units)


@pytest.mark.parametrize("kind", ["cohere", "openai"])
async def test_what_is_asked(poster: JsonPoster, kind: str) -> None:
    async with scripted(answers({"results": [{"index": 0, "relevance_score": 1}]})) as server:
        await reranker(poster, server.origin.port, kind).rerank("\ud800which?", ["a" * 5_000, ""])
        (visit,) = server.visits
    assert visit.head.startswith(b"POST /v2/rerank HTTP/1.1\r\n")
    assert b"authorization: bearer key" in visit.head.lower()
    asked = json.loads(visit.body)
    assert asked.pop("return_documents", None) == (False if kind == "openai" else None)
    assert asked == {"model": "rerank-3", "query": "?which?", "documents": ["a" * 4_000, " "], "top_n": 2}


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        {},
        {"results": []},
        {"results": [{"index": 9, "relevance_score": 1}]},
        {"results": [{"index": 0}]},
        {"results": [{"index": 0, "relevance_score": "high"}]},
        b'{"results": [{"index": 0, "relevance_score": 1e999}]}',
    ],
)
async def test_an_answer_without_a_number_for_a_text_is_a_failure(poster: JsonPoster, body: object) -> None:
    async with scripted(answers(body)) as server:
        with pytest.raises(RerankerFailed, match="'sharp'"):
            await reranker(poster, server.origin.port).rerank("which?", ["a", "b"])


async def test_a_refusal_is_a_failure(poster: JsonPoster) -> None:
    async with scripted(answers({"message": "no"}, "429 Too Many Requests")) as server:
        with pytest.raises(RerankerFailed, match="answered 429"):
            await reranker(poster, server.origin.port).rerank("which?", ["a"])


async def test_nothing_asks_nothing(poster: JsonPoster) -> None:
    async with scripted(answers({})) as server:
        assert (await reranker(poster, server.origin.port).rerank("which?", [])).relevance == ()
        await asyncio.sleep(0)
        assert not server.visits
