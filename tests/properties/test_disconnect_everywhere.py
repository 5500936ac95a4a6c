"""A caller that hangs up at any event of any kind of stream is one row, with what it was sent in it."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.fakes.offline_server import OfflineServer, offline_server
from tests.fakes.running_gateway import UPSTREAM_KEY, RunningGateway, running_gateway, until

TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
HELLO = [{"role": "user", "content": "Count to 9"}]
ASKED: dict[str, Any] = {"model": "gpt-4.1-mini", "stream": True, "messages": HELLO}
CHAT = "/chat/completions"
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "usage-injected": (CHAT, ASKED),
    "usage-asked-for": (CHAT, ASKED | {"stream_options": {"include_usage": True}}),
    "tools": (CHAT, ASKED | {"tools": [TOOL], "tool_choice": "required"}),
    "two-choices": (CHAT, ASKED | {"n": 2}),
    "completions": ("/completions", {"model": "gpt-4.1-mini", "stream": True, "prompt": "Count to 9"}),
    "responses": ("/responses", {"model": "gpt-4.1-mini", "stream": True, "input": "Count to 9"}),
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[OfflineServer]:
    with offline_server(key=UPSTREAM_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: OfflineServer) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path_factory.mktemp("disconnect"), upstream.base_url) as running:
        # The first estimate of a process loads its vocabulary, which stops everything for half a second.
        upstream.lay(chunk_delay_ms=15, times=1)
        asyncio.run(leave_after(running, "first-to-leave", "usage-injected", 3))
        running.rows_of("first-to-leave", 1)
        yield running


async def leave_after(gateway: RunningGateway, team: str, shape: str, events: int) -> int:
    """Reads that many events and hangs up; gives how many whole ones there were."""
    path, request = SHAPES[shape]
    headers = {"authorization": f"Bearer {gateway.key(team)}", "x-gateway-metadata": f"at={events}"}
    seen = b""
    async with (
        httpx2.AsyncClient(timeout=20) as client,
        client.stream("POST", f"{gateway.base_url}{path}", json=request, headers=headers) as reply,
    ):
        assert reply.status_code == 200
        async for data in reply.aiter_raw():
            seen += data
            if seen.count(b"\n\n") >= events:
                break
    return seen.count(b"\n\n")


@pytest.mark.parametrize("shape", SHAPES)
def test_each_is_exactly_one_row_that_is_not_empty(
    gateway: RunningGateway, upstream: OfflineServer, shape: str
) -> None:
    team = f"left-{shape}"
    gateway.key(team)
    whole = asyncio.run(leave_after(gateway, f"stayed-{shape}", shape, 10_000))
    [told] = gateway.rows_of(f"stayed-{shape}", 1)
    upstream.lay(chunk_delay_ms=15)
    places = range(1, whole)

    async def all_at_once() -> None:
        await asyncio.gather(*(leave_after(gateway, team, shape, place) for place in places))

    asyncio.run(all_at_once())
    until(lambda: gateway.counted("gateway_in_flight") == 0, 10, what="nothing in flight")
    rows = {row["metadata"]: row for row in gateway.rows_of(team, len(places), 10)}
    upstream.reset()
    for place in places:
        row = rows[f'{{"at":"{place}"}}']
        assert row["input_tokens"] > 0, row
        assert row["output_tokens"] > 0, row
        assert row["cost_nano_usd"] > 0, row
        # Never more than twice the whole stream: an estimate is by another tokenizer, not from another world.
        assert row["output_tokens"] <= 2 * told["output_tokens"] + 2, row
    assert "estimated" in {row["usage_source"] for row in rows.values()}
