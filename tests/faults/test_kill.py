"""kill -9 under load: what the provider billed stands in the books after the restart, once."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.fakes.running_gateway import OfflineProcess, RunningGateway, offline_process, running_gateway, until

CALLERS = 64
LEAST_IN_FLIGHT = 50


class Load:
    """Callers that call again and again until their gateway is gone. ended: ids of answers that came whole."""

    def __init__(self, gateway: RunningGateway) -> None:
        self.gateway = gateway
        self.in_flight = 0
        self.ended: list[str] = []
        self._is_over = False

    async def until_killed(self) -> int:
        """Runs, kills the gateway at some moment of full load, and gives how many calls were in flight then."""
        async with self.gateway.async_client("loaded", timeout=10) as client:
            callers = [asyncio.create_task(self._call(client, number)) for number in range(CALLERS)]
            async with asyncio.timeout(20):
                while len(self.ended) < CALLERS:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(random.random() * 0.3)
                while self.in_flight < LEAST_IN_FLIGHT:
                    await asyncio.sleep(0.001)
            in_flight = self.in_flight
            self._is_over = True
            self.gateway.kill()
            await asyncio.gather(*callers)
        return in_flight

    async def _call(self, client: openai.AsyncOpenAI, number: int) -> None:
        while not self._is_over:
            self.in_flight += 1
            try:
                self.ended.append(await (self._stream if number % 2 else self._plain)(client))
            except openai.APIError:
                continue  # the gateway was killed: that is what happens here
            finally:
                self.in_flight -= 1

    async def _plain(self, client: openai.AsyncOpenAI) -> str:
        reply = await client.chat.completions.create(
            model="gpt-4.1-mini", messages=[{"role": "user", "content": "Count to 6"}]
        )
        return reply.id

    async def _stream(self, client: openai.AsyncOpenAI) -> str:
        found, is_whole = "", False
        stream = await client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "Count to 12"}], stream=True
        )
        async for chunk in stream:
            found = chunk.id
            is_whole = is_whole or bool(chunk.choices and chunk.choices[0].finish_reason)
        if not is_whole:
            raise openai.APIConnectionError(request=stream.response.request)
        return found


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[OfflineProcess]:
    with offline_process(tmp_path / "upstream") as process:
        process.lay(delay_ms=60, chunk_delay_ms=8)
        yield process


@pytest.fixture
def gateway(tmp_path: Path, upstream: OfflineProcess) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path / "gateway", upstream.base_url) as running:
        running.key("loaded")
        yield running


def settled_bill(upstream: OfflineProcess) -> dict[str, dict[str, object]]:
    """The bill by attempt, once the upstream has noticed that everybody left."""
    seen = -1

    def has_settled() -> bool:
        nonlocal seen
        before, seen = seen, len(upstream.bill())
        return before == seen

    until(has_settled, 10)
    rows = upstream.bill()
    by_attempt = {str(row["attempt"]): row for row in rows}
    assert len(by_attempt) == len(rows), "the upstream was asked twice under one attempt's id"
    return by_attempt


def trial(gateway: RunningGateway, upstream: OfflineProcess, ended: list[str]) -> None:
    """One kill and one restart. ended: whole answers of this and all trials before."""
    load = Load(gateway)
    assert asyncio.run(load.until_killed()) >= LEAST_IN_FLIGHT
    bill = settled_bill(upstream)
    took = gateway.start()
    # Beside a start with empty books, on the same machine: recovery adds next to nothing.
    assert took < 2 * gateway.first_start_seconds + 3
    until(lambda: bill.keys() <= {row["id"] for row in gateway.rows()}, 5, what="a row for each billed attempt")
    rows = gateway.rows()
    by_id = {row["id"]: row for row in rows}
    assert len(by_id) == len(rows)
    ended += load.ended
    assert load.ended
    by_answer = {row["id"]: attempt for attempt, row in bill.items()}
    for answer in ended:
        # Its end was journalled before its last byte went out: not even an estimate is needed.
        row, billed = by_id[by_answer[answer]], bill[by_answer[answer]]
        assert (row["outcome"], row["usage_source"]) == ("ok", "provider")
        assert row["input_tokens"] == billed["prompt_tokens"]
        assert row["output_tokens"] == billed["completion_tokens"]
    for attempt in bill.keys() - {by_answer[answer] for answer in ended}:
        row = by_id[attempt]
        assert row["input_tokens"] > 0
        assert row["cost_nano_usd"] > 0
        assert row["usage_source"] == "provider" or row["cost_status"] == "estimated"
    assert "traceback" not in gateway.log().lower()


def test_no_billed_call_is_lost_or_booked_twice_when_killed_under_load(
    gateway: RunningGateway, upstream: OfflineProcess
) -> None:
    """Plain calls and streams, killed three times over the same books."""
    ended: list[str] = []
    for _ in range(3):
        trial(gateway, upstream, ended)
    reply = gateway.post("/v1/chat/completions", {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]})
    assert reply.status_code == 200


@pytest.mark.soak
def test_ten_kills_lose_nothing(gateway: RunningGateway, upstream: OfflineProcess) -> None:
    ended: list[str] = []
    for _ in range(10):
        trial(gateway, upstream, ended)


def test_a_killed_gateways_leftovers_are_gone_after_the_restart(
    gateway: RunningGateway, upstream: OfflineProcess
) -> None:
    """Only the living process's journal remains, and what was recovered is not recovered again."""
    asyncio.run(Load(gateway).until_killed())
    gateway.start()
    until(lambda: len(list((gateway.data / "journal").glob("*.lock"))) == 1, 5, what="one journal")
    rows = len(gateway.rows())
    gateway.kill()
    gateway.start()
    assert len(gateway.rows()) == rows
