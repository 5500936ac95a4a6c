"""One of two targets fails, in every way there is: callers are served, and every attempt that was sent is a row."""

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from email.utils import formatdate

import httpx2
import pytest

from tests.fakes.running_gateway import A_SECOND, RunningGateway, until
from tests.fakes.scripted_server import Script, Visit
from tests.fakes.two_targets import (
    ANSWER,
    DONE,
    OK,
    SSE,
    answers,
    chunked,
    drips,
    event,
    hangs,
    hangs_after_its_head,
    says_500,
    targets,
    two_targets,
    whole,
)

JSON = OK + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)
ERROR = b'data: {"error":{"message":"Overloaded","type":"server_error","param":null,"code":null}}\n\n'
_numbers = itertools.count()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with two_targets(tmp_path_factory.mktemp("two-targets")) as running:
        yield running


def faulty_model() -> str:
    """A target of its own, so that no other test's breaker stands in the way."""
    return f"faulty-{next(_numbers)}"


def asked(model: str, *, stream: bool = False, task: str = "") -> bytes:
    body: dict[str, object] = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Hi"}]}
    return json.dumps(body | ({"metadata": {"task": task}} if task else {})).encode()


async def post(gateway: RunningGateway, key: str, body: bytes) -> httpx2.Response:
    return await gateway.asynchronous("POST", "/v1/chat/completions", body, key=key)


async def leave(gateway: RunningGateway, key: str, body: bytes) -> None:
    """Waits a moment for a whole reply and hangs up. Raises ReadTimeout."""
    async with httpx2.AsyncClient(timeout=0.3) as client:
        headers = {"authorization": f"Bearer {key}"}
        await client.post(f"{gateway.base_url}/chat/completions", content=body, headers=headers)


async def breaks_off(visit: Visit) -> None:
    await visit.write(JSON + ANSWER[:40])
    visit.close()


async def ends_before_its_first_event(visit: Visit) -> None:
    await visit.write(SSE + chunked(b": hm\n\n"))
    visit.close()


async def keeps_alive(visit: Visit) -> None:
    await visit.write(SSE)
    while True:
        await visit.write(chunked(b": still here\n\n"))
        await asyncio.sleep(0.1)


async def begins_with_an_error(visit: Visit) -> None:
    await visit.write(SSE + chunked(ERROR))
    await visit.gone()


TIMED_OUT, BROKE, REFUSED = ("timeout", 504), ("upstream_error", 502), ("upstream_error", 500)
WHOLE: dict[str, tuple[Script, tuple[str, int], int]] = {
    "answers 500": (says_500, REFUSED, 2),
    "hangs": (hangs, TIMED_OUT, 1),
    "drips its head": (drips(b"", JSON), TIMED_OUT, 1),
    "drips its body": (drips(JSON, ANSWER), TIMED_OUT, 1),
    "breaks off": (breaks_off, BROKE, 1),
}
STREAMED: dict[str, tuple[Script, tuple[str, int], int]] = {
    "answers 500": (says_500, REFUSED, 2),
    "hangs": (hangs, TIMED_OUT, 1),
    "hangs after its head": (hangs_after_its_head, TIMED_OUT, 1),
    "drips its first event": (drips(SSE, chunked(event("Hi"))), TIMED_OUT, 1),
    "keeps alive and no more": (keeps_alive, TIMED_OUT, 1),
    "ends before its first event": (ends_before_its_first_event, BROKE, 1),
    "begins with an error": (begins_with_an_error, BROKE, 1),
}


@pytest.mark.parametrize(("faulty", "told", "tries"), WHOLE.values(), ids=WHOLE.keys())
async def test_a_whole_reply_comes_from_the_other(
    gateway: RunningGateway, faulty: Script, told: tuple[str, int], tries: int
) -> None:
    team = f"whole-{next(_numbers)}"
    key = gateway.key(team)
    async with targets(gateway, faulty) as (first, second):
        reply = await post(gateway, key, asked(faulty_model()))
        assert (reply.status_code, reply.content) == (200, ANSWER)
        assert reply.headers["x-gateway-model"] == "well"
        assert (len(first.visits), len(second.visits)) == (tries, 1)
        await first.until(lambda: told == REFUSED or first.open == 0, seconds=A_SECOND)
    rows = gateway.rows_of(team, tries + 1)
    assert [(row["upstream"], row["outcome"], row["last"]) for row in rows] == [
        *[("faulty", told[0], 0)] * tries,
        ("well", "ok", 1),
    ]
    assert rows[0]["status"] == told[1]
    assert (rows[0]["usage_source"] == "estimated") == (told != REFUSED), "what was worked on may be billed"


@pytest.mark.parametrize(("faulty", "told", "tries"), STREAMED.values(), ids=STREAMED.keys())
async def test_a_stream_comes_from_the_other(
    gateway: RunningGateway, faulty: Script, told: tuple[str, int], tries: int
) -> None:
    team = f"streamed-{next(_numbers)}"
    key = gateway.key(team)
    async with targets(gateway, faulty) as (first, _):
        reply = await post(gateway, key, asked(faulty_model(), stream=True))
        assert reply.status_code == 200
        assert reply.content == event("Well.") + DONE, "no trace of the first, nor of the usage that we asked for"
        assert len(first.visits) == tries
    rows = gateway.rows_of(team, tries + 1)
    assert (rows[0]["outcome"], rows[0]["status"]) == told
    assert (rows[-1]["upstream"], rows[-1]["usage_source"], rows[-1]["output_tokens"]) == ("well", "provider", 2)


async def test_without_another_target_the_caller_gets_what_there_is(gateway: RunningGateway) -> None:
    """A status while none has been sent: a 504 tells a client more than a 200 that breaks off."""
    key = gateway.key("alone")
    async with targets(gateway, keeps_alive):
        late = await post(gateway, key, asked(faulty_model(), stream=True, task="alone"))
    assert (late.status_code, late.json()["error"]["code"]) == (504, "upstream_timeout")
    async with targets(gateway, drips(JSON, ANSWER)):
        late = await post(gateway, key, asked(faulty_model(), task="alone"))
    assert (late.status_code, late.json()["error"]["code"]) == (504, "upstream_timeout")
    async with targets(gateway, begins_with_an_error) as (first, _):
        body = asked(faulty_model(), stream=True, task="alone")
        with pytest.raises(httpx2.ReadTimeout):
            await _first_words(gateway, key, body)
        await first.until(lambda: first.open == 0, seconds=A_SECOND)
    rows = gateway.rows_of("alone", 3)
    assert [row["outcome"] for row in rows] == ["timeout", "timeout", "caller_left"]


async def _first_words(gateway: RunningGateway, key: str, body: bytes) -> None:
    headers = {"authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(timeout=0.5) as client,
        client.stream("POST", f"{gateway.base_url}/chat/completions", content=body, headers=headers) as reply,
    ):
        parts = reply.aiter_raw()
        assert await anext(parts) == ERROR, "the only target's error is passed on as it came"
        await anext(parts)


@pytest.mark.parametrize("faulty", [hangs, drips(JSON, ANSWER)], ids=["hangs", "drips"])
async def test_a_rules_deadline_is_the_end_of_it(gateway: RunningGateway, faulty: Script) -> None:
    """Nothing is left for the fallback, and the caller is told which limit it was."""
    team = f"hurried-{next(_numbers)}"
    key = gateway.key(team)
    async with targets(gateway, faulty) as (_, second):
        began = time.monotonic()
        reply = await post(gateway, key, asked(faulty_model(), task="hurried"))
        assert 0.6 < time.monotonic() - began < 2.5
        assert reply.status_code == 504
        assert "the call's deadline of 0.7 s" in reply.json()["error"]["message"]
        assert second.visits == []
    [row] = gateway.rows_of(team, 1)
    assert (row["outcome"], row["usage_source"]) == ("timeout", "estimated")


async def test_after_the_first_byte_nothing_is_tried_again(gateway: RunningGateway) -> None:
    """Half an answer and then another would be one that nobody gave."""

    async def stops(visit: Visit) -> None:
        await visit.write(SSE + chunked(event("Half")))
        visit.close()

    key = gateway.key("halved")
    async with targets(gateway, stops) as (first, second):
        reply = await post(gateway, key, asked(faulty_model(), stream=True))
        assert reply.content.startswith(event("Half"))
        assert b'"code":"upstream_failed"' in reply.content
        assert (len(first.visits), len(second.visits)) == (1, 0)
    [row] = gateway.rows_of("halved", 1)
    assert (row["outcome"], row["usage_source"]) == ("upstream_error", "estimated")
    assert row["output_tokens"] > 0


async def test_a_target_that_hangs_is_soon_left_alone(gateway: RunningGateway) -> None:
    key = gateway.key("patient")
    model = faulty_model()
    async with targets(gateway, hangs) as (first, second):
        replies = await asyncio.gather(*(post(gateway, key, asked(model)) for _ in range(8)))
        assert {reply.status_code for reply in replies} == {200}
        seen = len(first.visits)
        for _ in range(5):
            assert (await post(gateway, key, asked(model))).status_code == 200
        assert (len(first.visits), len(second.visits)) == (seen, 13)
    assert gateway.counted("gateway_upstream_attempts_total", upstream="faulty", outcome="breaker_open") >= 5


@pytest.mark.parametrize("seconds", [2, 60])
async def test_a_date_in_retry_after_is_waited_for_or_sends_the_call_on(gateway: RunningGateway, seconds: int) -> None:
    async def busy(visit: Visit) -> None:
        date = formatdate(time.time() + seconds, usegmt=True).encode()
        if visit.number == 1:
            await visit.write(whole(b"{}", b"503 Service Unavailable", b"Retry-After: " + date))
        else:
            await answers(visit)

    key = gateway.key(f"dated-{seconds}")
    async with targets(gateway, busy) as (first, second):
        began = time.monotonic()
        reply = await post(gateway, key, asked(faulty_model()))
        took = time.monotonic() - began
        assert reply.status_code == 200
        assert (len(first.visits), len(second.visits)) == ((2, 0) if seconds == 2 else (1, 1))
    # Its seconds are whole ones.
    assert (took > 0.8) == (seconds == 2)
    gateway.rows_of(f"dated-{seconds}", 2)


async def test_a_target_that_fails_for_everybody_is_not_asked_twice_by_everybody(gateway: RunningGateway) -> None:
    """Each call has a target of its own, so that no breaker helps: the budget for retries is the upstream's."""
    calls = 40
    key = gateway.key("crowd")
    async with targets(gateway, says_500) as (first, second):
        replies = await asyncio.gather(*(post(gateway, key, asked(f"tired-{n}")) for n in range(calls)))
        assert {reply.status_code for reply in replies} == {200}
        assert calls < len(first.visits) <= calls + 10
        assert len(second.visits) == calls
        sent = len(first.visits) + calls
    spent = gateway.counted("gateway_upstream_attempts_total", upstream="tired", outcome="retry_budget_spent")
    assert spent == 2 * calls - (sent - calls)
    gateway.rows_of("crowd", sent)


async def test_a_caller_who_leaves_while_a_body_comes_is_booked_with_what_came(gateway: RunningGateway) -> None:
    key = gateway.key("hasty")
    async with targets(gateway, drips(JSON + ANSWER[:200], ANSWER[200:])) as (first, second):
        with pytest.raises(httpx2.ReadTimeout):
            await leave(gateway, key, asked(faulty_model()))
        await first.until(lambda: first.open == 0, seconds=A_SECOND)
        assert second.visits == []
    [row] = gateway.rows_of("hasty", 1)
    assert (row["outcome"], row["usage_source"]) == ("caller_left", "estimated")
    assert row["output_tokens"] >= 50


async def test_a_whole_reply_that_is_to_be_drained_is_read_to_its_end(gateway: RunningGateway) -> None:
    """Its caller leaves between the head and the end of the body."""
    left = asyncio.Event()

    async def waits(visit: Visit) -> None:
        await visit.write(JSON + ANSWER[:50])
        await left.wait()
        await visit.write(ANSWER[50:])

    key = gateway.key("drainers")
    async with targets(gateway, waits):
        with pytest.raises(httpx2.ReadTimeout):
            await leave(gateway, key, asked("drained"))
        await asyncio.sleep(0.1)
        left.set()
        row = await asyncio.to_thread(lambda: until(lambda: gateway.rows("team = 'drainers'"), what="the row"))
    assert [(each["outcome"], each["usage_source"], each["output_tokens"]) for each in row] == [
        ("caller_left", "provider", 2)
    ]
