"""What came is booked: replies whose usage is early, odd, or not there at all."""

import contextlib
import json
from typing import Any

import httpx2
import pytest

from tests.fakes.running_gateway import RunningGateway
from tests.fakes.scripted_server import Visit, scripted

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
WORDS = "one two three four five six seven eight nine ten eleven twelve"
PROMPT = [{"role": "user", "content": "Count"}]


def event(text: str, **more: Any) -> bytes:
    body = {"id": "x", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], **more}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def used(tokens_out: int) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": 9, "completion_tokens": tokens_out, "total_tokens": 9 + tokens_out}}


async def row_of(gateway: RunningGateway, team: str, *said: bytes, head: bytes = EVENTS) -> dict[str, Any]:
    """The row of one call whose upstream says this much and closes its connection."""
    key = gateway.key(team)

    async def script(visit: Visit) -> None:
        await visit.write(head)
        for data in said:
            await visit.write(b"%x\r\n%b\r\n" % (len(data), data) if head is EVENTS else data)
        visit.close()

    request = {"model": "scripted-model", "stream": head is EVENTS, "messages": PROMPT}
    headers = {"authorization": f"Bearer {key}"}
    async with scripted(script, port=gateway.scripted_port), httpx2.AsyncClient(timeout=10) as client:
        with contextlib.suppress(httpx2.HTTPError):
            await client.post(f"{gateway.base_url}/chat/completions", json=request, headers=headers)
    return gateway.rows_of(team, 1)[0]


async def test_a_running_usage_counts_for_no_less_than_what_was_delivered(gateway: RunningGateway) -> None:
    """The provider said 1 token so far, went on for twelve words and broke off."""
    row = await row_of(gateway, "running", event("zero", **used(1)), event(WORDS))
    assert (row["outcome"], row["usage_source"], row["input_tokens"]) == ("upstream_error", "estimated", 9)
    assert row["output_tokens"] >= 12


async def test_the_last_usage_is_the_providers_though_the_stream_lacks_its_end(gateway: RunningGateway) -> None:
    row = await row_of(gateway, "endless", event("zero", **used(1)), event(WORDS), event("", **used(14)))
    assert (row["usage_source"], row["input_tokens"], row["output_tokens"]) == ("provider", 9, 14)


async def test_a_stream_that_broke_off_keeps_the_tier_it_was_served_at_and_has_no_guessed_price(
    gateway: RunningGateway,
) -> None:
    row = await row_of(gateway, "flexible", event("zero", service_tier="flex"), event(WORDS))
    assert (row["service_tier"], row["usage_source"]) == ("flex", "estimated")
    assert (row["cost_nano_usd"], row["cost_status"]) == (None, "unpriced")


@pytest.mark.parametrize(
    ("team", "kind", "body"),
    [
        ("plain-text", b"text/plain", WORDS.encode()),
        ("no-json", b"application/json", WORDS.encode()),
        ("no-usage", b"application/json", json.dumps({"choices": [{"message": {"content": WORDS}}]}).encode()),
    ],
)
async def test_a_whole_reply_without_usage_is_estimated_by_what_it_says(
    gateway: RunningGateway, team: str, kind: bytes, body: bytes
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind, len(body))
    row = await row_of(gateway, team, body, head=head)
    assert (row["outcome"], row["usage_source"]) == ("ok", "estimated")
    assert row["output_tokens"] >= 12
    assert row["input_tokens"] > 0
