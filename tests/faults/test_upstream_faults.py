"""The upstream is down, slow, broken or refuses: each has its own answer, and every attempt that was sent a row."""

import time
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import RunningGateway
from tests.fakes.scripted_server import Visit, scripted

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Count to 20"}]
KEYS = {"message", "type", "param", "code"}


def error_of(fault: openai.APIStatusError) -> dict[str, Any]:
    error: dict[str, Any] = fault.response.json()["error"]
    assert error.keys() == KEYS
    assert fault.response.headers["x-request-id"]
    return error


def test_an_upstream_that_is_down_is_a_502_and_no_row(gateway: RunningGateway, upstream: OfflineServer) -> None:
    """Nothing was sent, so nothing can be billed."""
    with pytest.raises(openai.InternalServerError) as failed:
        gateway.client("unlucky").chat.completions.create(model="closed-model", messages=HELLO)
    assert failed.value.status_code == 502
    assert error_of(failed.value)["code"] == "upstream_failed"
    assert "'closed' cannot be reached" in failed.value.message
    time.sleep(0.4)
    assert gateway.rows("team = 'unlucky' AND attempt > 0") == []
    assert gateway.counted("gateway_upstream_attempts_total", upstream="closed", outcome="connect_failed") >= 1
    assert gateway.counted("gateway_requests_total", team="unlucky", status_class="5xx") == 1


def test_an_upstream_that_hangs_is_a_504_when_the_policys_time_is_up(
    gateway: RunningGateway, upstream: OfflineServer
) -> None:
    upstream.lay(hang=True, times=1)
    began = time.monotonic()
    with pytest.raises(openai.InternalServerError) as failed:
        gateway.client("waiting").chat.completions.create(model="impatient-model", messages=HELLO)
    assert 0.35 < time.monotonic() - began < 1.5
    assert failed.value.status_code == 504
    assert error_of(failed.value)["code"] == "upstream_timeout"
    [row] = gateway.rows_of("waiting", 1)
    assert (row["outcome"], row["usage_source"]) == ("timeout", "estimated")
    assert row["input_tokens"] > 0


def test_a_stream_that_breaks_off_ends_with_an_error_event(gateway: RunningGateway, upstream: OfflineServer) -> None:
    """Never with a [DONE] that the upstream did not send; what was delivered is booked as an estimate."""
    upstream.lay(truncate_after=8, times=1)
    seen: list[object] = []
    stream = gateway.client("cut").chat.completions.create(model="gpt-4.1-mini", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError) as broken:
        seen.extend(stream)
    assert len(seen) >= 7
    body: Any = broken.value.body
    assert body.keys() == KEYS
    assert body["code"] == "upstream_failed"
    [row] = gateway.rows_of("cut", 1)
    assert (row["outcome"], row["usage_source"], row["cost_status"]) == ("upstream_error", "estimated", "estimated")
    assert row["output_tokens"] > 0
    assert gateway.counted("gateway_usage_missing_total") >= 1


def test_a_stream_that_stops_talking_ends_with_an_error_event(gateway: RunningGateway, upstream: OfflineServer) -> None:
    upstream.lay(truncate_after=8, hang=True, times=1)
    reply = gateway.post(
        "/v1/chat/completions", {"model": "impatient-model", "messages": HELLO, "stream": True}, team="stalled"
    )
    assert reply.status_code == 200
    last = reply.text.strip().split("\n\n")[-1]
    assert '"code":"upstream_timeout"' in last
    assert "[DONE]" not in reply.text
    [row] = gateway.rows_of("stalled", 1)
    assert (row["outcome"], row["usage_source"]) == ("timeout", "estimated")


def test_a_whole_reply_that_breaks_off_is_a_502(gateway: RunningGateway, upstream: OfflineServer) -> None:
    upstream.lay(truncate_after=0, times=1)
    with pytest.raises(openai.InternalServerError) as failed:
        gateway.client("halved").chat.completions.create(model="gpt-4.1-mini", messages=HELLO)
    assert failed.value.status_code == 502
    error_of(failed.value)
    [row] = gateway.rows_of("halved", 1)
    assert row["usage_source"] == "estimated"


def test_one_500_is_tried_again_and_both_tries_are_rows(gateway: RunningGateway, upstream: OfflineServer) -> None:
    upstream.lay(status=500, times=1)
    reply = gateway.client("retried").chat.completions.create(model="gpt-4.1-mini", messages=HELLO)
    assert reply.choices[0].finish_reason == "stop"
    first, second = gateway.rows_of("retried", 2)
    assert (first["outcome"], first["last"], second["outcome"], second["last"]) == ("upstream_error", 0, "ok", 1)
    assert first["call_id"] == second["call_id"]
    assert first["id"] != second["id"]


def test_a_first_arm_that_fails_hands_over_to_the_second(gateway: RunningGateway, upstream: OfflineServer) -> None:
    upstream.lay(status=500, times=2, model="shaky-model")
    raw = gateway.client("handed").chat.completions.with_raw_response.create(
        model="shaky-model", messages=HELLO, metadata={"task": "fallback"}
    )
    assert raw.headers["x-gateway-model"] == "gpt-4o-mini"
    assert raw.parse().model == "gpt-4o-mini"
    rows = gateway.rows_of("handed", 3)
    assert [row["model"] for row in rows] == ["shaky-model", "shaky-model", "gpt-4o-mini"]
    assert gateway.counted("gateway_requests_total", team="handed") == 1


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_a_first_arm_that_cannot_be_reached_hands_over_too(
    gateway: RunningGateway, upstream: OfflineServer, *, stream: bool
) -> None:
    body = {"model": "closed-model", "messages": HELLO, "metadata": {"task": "fallback"}, "stream": stream}
    reply = gateway.post("/v1/chat/completions", body, team=f"reached-{stream}")
    assert reply.status_code == 200
    assert reply.headers["x-gateway-model"] == "gpt-4o-mini"
    [row] = gateway.rows_of(f"reached-{stream}", 1)
    assert row["model"] == "gpt-4o-mini"


def test_a_rate_limit_of_the_upstreams_is_given_as_it_is(gateway: RunningGateway, upstream: OfflineServer) -> None:
    """With its retry-after, and without our own x-should-retry: that one is for budgets."""
    upstream.lay(status=429, times=2, model="limited-model")
    with pytest.raises(openai.RateLimitError) as limited:
        gateway.client("limited").chat.completions.create(model="limited-model", messages=HELLO)
    assert limited.value.code == "rate_limit_exceeded"
    assert limited.value.response.headers["retry-after"] == "1"
    assert "x-should-retry" not in limited.value.response.headers


def test_a_reply_without_usage_is_estimated_and_flagged(gateway: RunningGateway, upstream: OfflineServer) -> None:
    upstream.lay(no_usage=True, times=2)
    client = gateway.client("unmetered")
    client.chat.completions.create(model="gpt-4.1-mini", messages=HELLO)
    list(client.chat.completions.create(model="gpt-4.1-mini", messages=HELLO, stream=True))
    for row in gateway.rows_of("unmetered", 2):
        assert (row["outcome"], row["usage_source"], row["cost_status"]) == ("ok", "estimated", "estimated")
        assert row["input_tokens"] > 0
        assert row["output_tokens"] > 10


def test_a_target_that_keeps_failing_is_left_alone_for_a_while(
    gateway: RunningGateway, upstream: OfflineServer
) -> None:
    upstream.lay(status=503, model="broken-model")
    for _ in range(4):
        gateway.post("/v1/chat/completions", {"model": "broken-model", "messages": HELLO})
    before = gateway.counted("gateway_upstream_attempts_total", upstream="main", outcome="5xx")
    reply = gateway.post("/v1/chat/completions", {"model": "broken-model", "messages": HELLO})
    assert reply.status_code == 502
    assert "being left alone" in reply.json()["error"]["message"]
    assert gateway.counted("gateway_upstream_attempts_total", upstream="main", outcome="5xx") == before
    assert gateway.counted("gateway_breaker_state", upstream="main") == 2
    other = gateway.post("/v1/chat/completions", {"model": "gpt-4.1-mini", "messages": HELLO})
    assert other.status_code == 200


GARBAGE: dict[str, bytes] = {
    "no HTTP": b"hello\r\n\r\n",
    "closed at once": b"",
    "a head that is cut": b"HTTP/1.1 200 OK\r\nContent-Ty",
    "a length that lies": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a bad chunk": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("said", GARBAGE.values(), ids=GARBAGE.keys())
async def test_an_upstream_that_speaks_no_http_is_a_502(gateway: RunningGateway, said: bytes) -> None:
    async def script(visit: Visit) -> None:
        if said:
            await visit.write(said)
        visit.close()

    body = b'{"model":"scripted-model","messages":[{"role":"user","content":"Hi"}]}'
    async with scripted(script, port=gateway.scripted_port):
        reply = await gateway.asynchronous("POST", "/v1/chat/completions", body, key=gateway.key())
    assert reply.status_code == 502, reply.text
    assert reply.json()["error"].keys() == KEYS


async def test_a_200_that_is_no_json_goes_through_and_is_booked(gateway: RunningGateway) -> None:
    """It is not ours to judge what an upstream says; it is ours that it was asked."""

    async def script(visit: Visit) -> None:
        await visit.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n<html>no>")

    key = gateway.key("garbled")
    async with scripted(script, port=gateway.scripted_port):
        body = b'{"model":"scripted-two","messages":[{"role":"user","content":"Hi"}]}'
        reply = await gateway.asynchronous("POST", "/v1/chat/completions", body, key=key)
    assert (reply.status_code, reply.content) == (200, b"<html>no>")
    [row] = gateway.rows_of("garbled", 1)
    assert (row["outcome"], row["usage_source"]) == ("ok", "estimated")
