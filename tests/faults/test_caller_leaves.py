"""The caller hangs up: the upstream is told at once, and what it may bill is booked, once."""

import asyncio
import random
import socket
import time

import httpx2
import pytest

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import A_SECOND, RunningGateway, until

CHUNKS = 30
# The role, four tokens of the mark, the numbers, the reason for the end.
ASKED = f"Count to {CHUNKS - 6}"


def body(model: str = "gpt-4.1-mini", *, stream: bool = True, text: str = ASKED) -> dict[str, object]:
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]}


async def leave_after(gateway: RunningGateway, key: str, chunks: int, request: dict[str, object]) -> int:
    """Reads that many events of a stream and hangs up; gives the bytes that were read."""
    headers = {"authorization": f"Bearer {key}", "x-gateway-metadata": f"left-after={chunks}"}
    seen = b""
    async with (
        httpx2.AsyncClient(timeout=10) as client,
        client.stream("POST", f"{gateway.base_url}/chat/completions", json=request, headers=headers) as reply,
    ):
        assert reply.status_code == 200
        if chunks:
            async for data in reply.aiter_raw():
                seen += data
                if seen.count(b"\n\n") >= chunks:
                    break
    return len(seen)


def is_healthy(gateway: RunningGateway) -> None:
    until(lambda: gateway.counted("gateway_in_flight") == 0, 5, what="nothing in flight")
    reply = gateway.post("/v1/chat/completions", body("gpt-4o", stream=False))
    assert reply.status_code == 200


def test_the_upstream_hears_of_it_at_every_chunk_and_each_is_one_row(
    gateway: RunningGateway, upstream: OfflineServer
) -> None:
    key = gateway.key("leavers")
    upstream.lay(chunk_delay_ms=25)
    # The first estimate of a process loads its vocabulary, which stops everything for half a second.
    asyncio.run(leave_after(gateway, gateway.key("first-to-leave"), 3, body()))
    gateway.rows_of("first-to-leave", 1)
    httpx2.post(f"{upstream.url}/__offline/reset").raise_for_status()
    upstream.lay(chunk_delay_ms=25)
    indexes = range(CHUNKS - 1)

    async def all_at_once() -> list[int]:
        return await asyncio.gather(*(leave_after(gateway, key, index, body()) for index in indexes))

    read = asyncio.run(all_at_once())
    left = time.monotonic()
    bill = until(lambda: found if (found := upstream.bill())["count"] == len(indexes) else None, 3)
    assert time.monotonic() - left < A_SECOND
    assert {row["outcome"] for row in bill["rows"]} == {"caller_left"}
    rows = {row["metadata"]: row for row in gateway.rows_of("leavers", len(indexes))}
    billed = {row["attempt"]: row for row in bill["rows"]}
    for index, length in zip(indexes, read, strict=True):
        row = rows[f'{{"left-after":"{index}"}}']
        assert (row["outcome"], row["status"], row["usage_source"]) == ("caller_left", 499, "estimated")
        assert row["input_tokens"] > 0
        assert row["cost_nano_usd"] > 0
        if length and index > 1:
            assert row["output_tokens"] > 0
        # An estimate, by another tokenizer than the upstream's own.
        assert abs(row["output_tokens"] - billed[row["id"]]["completion_tokens"]) <= 3 + index
    is_healthy(gateway)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_it_hears_of_it_before_the_first_byte_too(
    gateway: RunningGateway, upstream: OfflineServer, *, stream: bool
) -> None:
    team = f"early-{stream}".lower()
    gateway.key(team)
    upstream.lay(delay_ms=4_000, times=1)
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(
            f"{gateway.base_url}/chat/completions",
            json=body(stream=stream),
            headers={"authorization": f"Bearer {gateway.key(team)}"},
            timeout=0.3,
        )
    until(lambda: upstream.bill()["count"] == 1, A_SECOND, what="the upstream's notice")
    assert upstream.bill()["rows"][0]["outcome"] == "caller_left"
    [row] = gateway.rows_of(team, 1)
    assert (row["outcome"], row["output_tokens"], row["cost_status"]) == ("caller_left", 0, "estimated")
    assert row["input_tokens"] > 0
    is_healthy(gateway)


def test_a_caller_that_is_gone_before_it_is_heard_costs_nothing(
    gateway: RunningGateway, upstream: OfflineServer
) -> None:
    """It hangs up in the middle of its own request."""
    gateway.key("mumblers")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.key('mumblers')}\r\n"
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
            connection.sendall(head.encode() + b"Content-Length: 500\r\n\r\n" + b'{"model":"gpt-4.1')
    is_healthy(gateway)
    assert gateway.rows("team = 'mumblers'") == []
    assert upstream.bill()["count"] <= 1


def test_an_upstream_that_is_to_be_drained_is_read_to_its_end(gateway: RunningGateway, upstream: OfflineServer) -> None:
    """on_disconnect: drain trades tokens for an exact bill."""
    key = gateway.key("drainers")
    upstream.lay(chunk_delay_ms=15)
    asyncio.run(leave_after(gateway, key, 4, body("drained-model")))
    bill = upstream.bill(1)["rows"]
    assert [row["outcome"] for row in bill] == ["ok"]
    [row] = gateway.rows_of("drainers", 1)
    assert (row["outcome"], row["usage_source"]) == ("caller_left", "provider")
    assert (row["input_tokens"], row["output_tokens"]) == (bill[0]["prompt_tokens"], bill[0]["completion_tokens"])
    is_healthy(gateway)


def test_a_storm_of_200_hang_ups_leaves_nothing_behind(gateway: RunningGateway, upstream: OfflineServer) -> None:
    """At random moments: while connecting, waiting, streaming. Every billed attempt is a row, and no other row is."""
    key = gateway.key("storm")
    upstream.lay(delay_ms=20, chunk_delay_ms=5)

    async def one(client: httpx2.AsyncClient, number: int) -> None:
        request = body(stream=bool(number % 3))
        headers = {"authorization": f"Bearer {key}"}
        try:
            async with asyncio.timeout(random.random() * 0.3):
                await client.post(f"{gateway.base_url}/chat/completions", json=request, headers=headers)
        except TimeoutError:
            return

    async def storm() -> None:
        limits = httpx2.Limits(max_connections=200)
        async with httpx2.AsyncClient(timeout=10, limits=limits) as client:
            await asyncio.gather(*(one(client, number) for number in range(200)))

    asyncio.run(storm())
    until(lambda: gateway.counted("gateway_in_flight") == 0, 10, what="nothing in flight")
    time.sleep(0.3)
    bill = upstream.bill()["rows"]
    until(lambda: len(gateway.rows("team = 'storm' AND attempt > 0")) >= len(bill), 5, what="the rows")
    billed = {row["attempt"]: row for row in bill}
    rows = {row["id"]: row for row in gateway.rows("team = 'storm' AND attempt > 0")}
    assert billed.keys() <= rows.keys()
    # A request that was cut off while it was sent may not have been read: booked as sent, to be on the safe side.
    assert all(rows[only_here]["outcome"] == "caller_left" for only_here in rows.keys() - billed.keys())
    assert all(row["input_tokens"] > 0 for row in rows.values())
    is_healthy(gateway)
