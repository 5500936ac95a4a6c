"""SIGTERM: nobody who is being served is cut off, nobody new is let in, and the books are complete."""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import openai
import pytest

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import RunningGateway, running_gateway, until


@pytest.fixture
def gateway(tmp_path: Path, running_upstream: OfflineServer) -> Iterator[RunningGateway]:
    environment = {"GATEWAY_DRAIN_SECONDS": "3"}
    with running_gateway(tmp_path / "g", running_upstream.base_url, environment=environment) as running:
        running.key("drained")
        yield running


def terminate_now(gateway: RunningGateway) -> None:
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGTERM)


def test_a_stream_in_flight_finishes_and_the_process_ends_with_0(
    gateway: RunningGateway, upstream: OfflineServer
) -> None:
    upstream.lay(chunk_delay_ms=40)
    words = []
    stream = gateway.client("drained").chat.completions.create(
        model="gpt-4.1-mini", messages=[{"role": "user", "content": "Count to 20"}], stream=True
    )
    for number, chunk in enumerate(stream):
        if number == 2:
            terminate_now(gateway)
        words.append(chunk.choices[0].delta.content or "")
    assert "".join(words).endswith("18 19 20")
    assert gateway.wait() == 0
    [row] = gateway.rows("team = 'drained'")
    assert (row["outcome"], row["usage_source"]) == ("ok", "provider")
    assert list((gateway.data / "journal").glob("*.new")) == []


def test_it_is_not_ready_from_the_signal_on(gateway: RunningGateway, upstream: OfflineServer) -> None:
    """503, or nobody listens any more; and never ready again."""
    upstream.lay(delay_ms=800)
    answers: list[int | str] = []

    async def story() -> None:
        async with gateway.async_client("drained") as client:
            call = asyncio.create_task(
                client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi"}])
            )
            await asyncio.sleep(0.2)
            async with httpx2.AsyncClient(base_url=gateway.url, timeout=2) as probe:
                assert (await probe.get("/readyz")).status_code == 200
                terminate_now(gateway)
                while not call.done():
                    try:
                        answers.append((await probe.get("/readyz")).status_code)
                    except httpx2.TransportError:
                        answers.append("gone")
                    await asyncio.sleep(0.01)
            assert (await call).choices[0].finish_reason == "stop"

    asyncio.run(story())
    assert gateway.wait() == 0
    first = next(place for place, answer in enumerate(answers) if answer != 200)
    assert first <= 2
    assert 200 not in answers[first:]
    assert "gone" in answers


def test_a_stream_past_the_drains_end_is_cut_and_booked(gateway: RunningGateway, upstream: OfflineServer) -> None:
    upstream.lay(chunk_delay_ms=200)
    seen = 0
    began = time.monotonic()
    try:
        for chunk in gateway.client("drained").chat.completions.create(
            model="gpt-4.1-mini", messages=[{"role": "user", "content": "Count to 200"}], stream=True
        ):
            seen += bool(chunk.choices)
            if seen == 1:
                terminate_now(gateway)
                began = time.monotonic()
    except (openai.APIError, httpx2.TransportError):
        pass  # how an end that is no end looks to a caller
    assert gateway.wait() == 0
    assert 2 < time.monotonic() - began < 8
    assert 5 < seen < 60
    [row] = gateway.rows("team = 'drained'")
    assert (row["outcome"], row["usage_source"]) == ("interrupted", "estimated")
    assert row["output_tokens"] > 0


def test_a_clean_end_leaves_every_row_in_the_database(gateway: RunningGateway, upstream: OfflineServer) -> None:
    """Without the restart that would recover it."""
    for _ in range(40):
        gateway.post("/v1/chat/completions", {"model": "gpt-4o", "messages": []}, team="drained")
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    for _ in range(40):
        assert gateway.post("/v1/chat/completions", asked, team="drained").status_code == 200
    assert gateway.terminate() == 0
    billed = sorted(row["attempt"] for row in upstream.bill()["rows"])
    assert sorted(row["id"] for row in gateway.rows("outcome = 'ok'")) == billed
    # A message too few is the upstream's 400, and was asked all the same.
    assert len(gateway.rows("attempt > 0")) == 80
    gateway.start()
    until(lambda: gateway.counted("gateway_journal_pending_events") == 0)
    assert len(gateway.rows("attempt > 0")) == 80
