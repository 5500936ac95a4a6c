"""What bounds a call: the first token, the deadline, the budget for retries, and who may probe."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.core.decision import Arm, CallLimits
from gateway.core.errors import CallerLeft, UpstreamFailed, UpstreamTimeout
from gateway.core.event import Closing
from gateway.upstream.breaker import FAILURES, State
from gateway.upstream.faults import (
    Aborted,
    BetweenTimedOut,
    ConnectFailed,
    FirstByteTimedOut,
    ReplyBroken,
    TotalTimedOut,
    TransportError,
)
from gateway.upstream.port import Deadlines
from gateway.upstream.retry_budget import FLOOR
from gateway.upstream.send import DRAIN_SECONDS
from tests.fakes.scripted_transport import EVENTS, JSON, NoteBook, Says
from tests.fakes.sending import FIRST, SECOND, THIRD, Stage, body_of, status_of

QUICK = {"first_token": 0.1}
HANGS = 30.0
ERROR = b'data: {"error":{"message":"Overloaded","type":"server_error","code":null}}\n\n'
EVENT = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
Part = bytes | float | TransportError
DRIP: list[Part] = [b"{", 0.03] * 100
ALIVE: list[Part] = [b": alive\n\n", 0.03] * 100


class Breaks(Says):
    """A 200 that breaks in its beginning: JSON, or a stream."""

    def __init__(self, *parts: Part, stream: bool = False) -> None:
        super().__init__(200, *parts, headers=EVENTS if stream else JSON)


@pytest.mark.parametrize(
    ("reply", "status", "outcome"),
    [
        (lambda: Breaks(HANGS), 504, "timeout"),
        (lambda: Breaks(*DRIP), 504, "timeout"),
        (lambda: Breaks(HANGS, stream=True), 504, "timeout"),
        (lambda: Breaks(*ALIVE, stream=True), 504, "timeout"),
        (lambda: Breaks(b"data: {", BetweenTimedOut("slow"), stream=True), 504, "timeout"),
        (lambda: Breaks(b'{"half', ReplyBroken("closed")), 502, "broken"),
        (lambda: Breaks(ReplyBroken("closed"), stream=True), 502, "broken"),
        (lambda: Says(400, HANGS), 504, None),
    ],
)
async def test_a_beginning_that_does_not_come_is_the_next_arms_turn(
    reply: Any, status: int, outcome: str | None
) -> None:
    stage = Stage(reply(), Says(200, b"{}", headers=JSON), timeouts=QUICK)
    sent = await stage.send(FIRST, SECOND)
    assert sent.prepared.arm is SECOND
    assert await body_of(sent) == b"{}"
    assert stage.book.told == ["start first", f"fail {status}", "start second"]
    usage = stage.book.failures[0].usage
    assert usage is not None
    assert (usage.input_tokens, usage.source) == (10, "estimated"), "it was sent, and may be billed"
    assert stage.outcomes == [outcome or "4xx", "2xx"]


async def test_what_came_of_a_body_is_booked_as_delivered() -> None:
    stage = Stage(Breaks(b"x" * 400, ReplyBroken("closed")), Says(200))
    await stage.send(FIRST, SECOND)
    usage = stage.book.failures[0].usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (10, 100)


async def test_a_whole_body_that_broke_at_its_end_is_booked_by_its_usage() -> None:
    told = b'{"usage":{"prompt_tokens":7,"completion_tokens":3}}'
    stage = Stage(Breaks(told, ReplyBroken("more was promised")), Says(200))
    await stage.send(FIRST, SECOND)
    usage = stage.book.failures[0].usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.source) == (7, 3, "provider")


@pytest.mark.parametrize("stream", [True, False])
async def test_the_last_arms_fault_is_told_where_it_is_read(*, stream: bool) -> None:
    """Whoever reads it closes the books of the attempt: it is in flight until then."""
    stage = Stage(Breaks(HANGS, stream=stream), timeouts=QUICK)
    sent = await stage.send()
    with pytest.raises(TransportError, match=r"no first token within 0\.1 s"):
        await body_of(sent)
    assert stage.book.told == ["start first"]
    assert stage.outcomes == ["timeout"]


async def test_nobody_asks_the_same_again_for_a_first_token() -> None:
    """The upstream is at work on it: see `test_where_bytes_went_out_nobody_asks_the_same_again`."""
    stage = Stage(Breaks(ReplyBroken("closed")), attempts=3)
    await stage.send()
    assert len(stage.transport.asked) == 1


async def test_first_tokens_that_do_not_come_open_the_breaker() -> None:
    stage = Stage(*(Breaks(ReplyBroken("closed")) for _ in range(FAILURES)), Says(200))
    for _ in range(FAILURES):
        await stage.send()
    assert (await stage.send(FIRST, SECOND)).prepared.arm is SECOND
    assert stage.outcomes[-2:] == ["breaker_open", "2xx"]


async def test_a_stream_that_begins_with_an_error_is_the_next_arms_turn() -> None:
    first = Breaks(b": hm\n\n" + ERROR, HANGS, stream=True)
    stage = Stage(first, Breaks(EVENT, stream=True))
    sent = await stage.send(FIRST, SECOND)
    assert await body_of(sent) == EVENT
    assert stage.book.told == ["start first", "fail 502", "start second"]
    assert stage.book.failures[0].usage is None, "a refusal costs nothing"
    assert first.aborted
    assert stage.outcomes == ["error_event", "2xx"]


async def test_the_last_arms_error_event_is_given_as_it_came() -> None:
    stage = Stage(Breaks(ERROR, b"data: [DONE]\n\n", stream=True))
    assert await body_of(await stage.send()) == ERROR + b"data: [DONE]\n\n"


async def test_an_error_about_the_request_itself_is_the_callers_to_hear() -> None:
    said = b'data: {"error":{"message":"Too long","code":400}}\n\n'
    stage = Stage(Breaks(said, stream=True))
    assert await body_of(await stage.send(FIRST, SECOND)) == said
    assert stage.outcomes == ["2xx"]


async def test_a_caller_who_leaves_during_the_beginning_is_told_to_the_reader() -> None:
    """What came until then is the reader's to book."""
    stage = Stage(Breaks(b'{"half', HANGS))
    sending = asyncio.create_task(stage.send(FIRST, SECOND))
    await asyncio.sleep(0.05)
    stage.lease.abort()
    sent = await sending
    assert sent.reply is not None
    assert await sent.reply.read() == b'{"half'
    with pytest.raises(Aborted):
        await sent.reply.read()
    assert stage.book.told == ["start first"]
    assert stage.upstreams.breaker("main", "first").state is State.CLOSED


async def test_an_upstream_that_is_drained_is_drained_from_its_head_on() -> None:
    stage = Stage(Breaks(b'{"half', ReplyBroken("closed")), Says(200), on_disconnect="drain")
    await stage.send(FIRST, SECOND)
    assert stage.caller.told == [DRAIN_SECONDS, 0, DRAIN_SECONDS]


async def test_nobody_tries_the_next_arm_for_a_caller_who_is_gone() -> None:
    stage = Stage(Breaks(b'{"half', 0.05, ReplyBroken("closed")), on_disconnect="drain")
    sending = asyncio.create_task(stage.send(FIRST, SECOND))
    await asyncio.sleep(0.01)
    stage.caller.left = True
    with pytest.raises(CallerLeft):
        await sending
    assert stage.book.told == ["start first", "fail 502"]


# Limits of a call.


async def test_a_call_without_limits_has_its_upstreams_own() -> None:
    stage = Stage(Says(200), timeouts={"first_byte": 3})
    await stage.send()
    assert stage.transport.asked[0][2] == Deadlines(first_byte_seconds=3)


async def test_limits_bound_each_attempt_and_the_deadline_all_of_them() -> None:
    stage = Stage(Says(500), Says(500), Says(200))
    limits = CallLimits(connect_seconds=1, first_byte_seconds=2, between_seconds=3, deadline_seconds=4)
    await stage.send(FIRST, SECOND, limits=limits)
    totals = [deadlines.total_seconds for _, _, deadlines in stage.transport.asked]
    assert 4 >= totals[0] > totals[1] > totals[2] > 2
    assert all(deadlines[:3] == (1, 2, 3) for deadlines in map(seconds, asked(stage)))


def asked(stage: Stage) -> Sequence[Deadlines]:
    return [deadlines for _, _, deadlines in stage.transport.asked]


def seconds(deadlines: Deadlines) -> tuple[float, ...]:
    return (deadlines.connect_seconds, deadlines.first_byte_seconds, deadlines.between_seconds)


@pytest.mark.parametrize(("attempts", "models"), [(1, "first"), (2, "first second"), (4, "first first second second")])
async def test_a_rule_says_how_many_attempts_its_calls_may_make(attempts: int, models: str) -> None:
    stage = Stage(*(Says(503) for _ in range(attempts)))
    assert status_of(await stage.send(FIRST, SECOND, limits=CallLimits(attempts=attempts))) == 503
    assert [told[6:] for told in stage.book.told if told.startswith("start")] == models.split()


async def test_retries_leave_the_next_arm_its_turn() -> None:
    stage = Stage(Says(500), Says(500), Says(200), attempts=5)
    assert (await stage.send(FIRST, SECOND)).prepared.arm is SECOND


async def test_a_pause_that_would_end_after_the_deadline_is_not_taken() -> None:
    wait = ((b"retry-after", b"2"),)
    stage = Stage(Says(503, headers=wait), Says(200))
    began = time.perf_counter()
    sent = await stage.send(FIRST, SECOND, limits=CallLimits(deadline_seconds=1.5))
    assert sent.prepared.arm is SECOND
    assert time.perf_counter() - began < 1
    alone = Stage(Says(503, b"busy", headers=wait))
    assert status_of(await alone.send(limits=CallLimits(deadline_seconds=1.5))) == 503


class Dawdles(NoteBook):
    """A book that takes its time over a failure, as a hanging upstream would."""

    def fail(self, closing: Closing) -> None:
        super().fail(closing)
        time.sleep(0.06)


async def test_when_nothing_is_left_the_caller_is_told_so() -> None:
    stage = Stage(FirstByteTimedOut("slow"))
    stage.book = Dawdles()
    with pytest.raises(UpstreamTimeout, match=r"within the call's deadline of 0\.05 s") as caught:
        await stage.send(FIRST, SECOND, THIRD, limits=CallLimits(deadline_seconds=0.05))
    assert caught.value.status == 504
    assert stage.book.told == ["start first", "fail 504"]


async def test_a_first_token_below_the_deadline_leaves_the_fallback_its_turn() -> None:
    stage = Stage(Breaks(*DRIP), Says(200))
    limits = CallLimits(first_token_seconds=0.1, deadline_seconds=5)
    assert (await stage.send(FIRST, SECOND, limits=limits)).prepared.arm is SECOND


async def test_a_target_that_got_only_what_was_left_is_not_blamed() -> None:
    """The first had all of the time and is; the second could not have answered."""
    limits = CallLimits(deadline_seconds=0.05)

    class Late(NoteBook):
        def start(self, arm: Arm, context_tokens: int = 0) -> None:
            super().start(arm, context_tokens)
            time.sleep(0.06 if arm is SECOND else 0)

    stage = Stage()
    for _ in range(FAILURES):
        stage.transport.acts = iter([FirstByteTimedOut("slow"), TotalTimedOut("cut")])
        stage.book = Late()
        with pytest.raises(UpstreamTimeout):
            await stage.send(FIRST, SECOND, limits=limits)
    assert stage.upstreams.breaker("main", "first").state is State.OPEN
    assert stage.upstreams.breaker("main", "second").state is State.CLOSED


# The budget for retries.


async def test_when_the_budget_for_retries_is_spent_the_next_arm_is_tried_at_once() -> None:
    stage = Stage(*(ConnectFailed("refused") for _ in range(FLOOR)))
    while stage.upstreams.named("main").retries.takes():
        pass
    stage.transport.acts = iter([ConnectFailed("refused"), Says(200)])
    assert (await stage.send(FIRST, SECOND)).prepared.arm is SECOND
    stage.transport.acts = iter([Says(503), Says(200)])
    assert (await stage.send(FIRST, SECOND)).prepared.arm is SECOND
    assert stage.outcomes == ["connect_failed", "retry_budget_spent", "2xx", "5xx", "retry_budget_spent", "2xx"]


async def test_what_is_no_retry_takes_nothing_from_the_budget() -> None:
    stage = Stage(Says(500), Says(429, headers=((b"retry-after", b"60"),)), Says(200), attempts=1)
    await stage.send(FIRST, SECOND, THIRD)
    assert stage.upstreams.named("main").retries.calls.sums() == (3, 0)


async def test_an_upstream_may_be_without_any_retries() -> None:
    stage = Stage(ConnectFailed("refused"), retry_budget=0)
    with pytest.raises(UpstreamFailed):
        await stage.send()
    assert stage.outcomes == ["connect_failed", "retry_budget_spent"]


# Probes.


async def test_a_probe_is_one_try() -> None:
    stage = Stage(*(Says(500) for _ in range(FAILURES)), attempts=1)
    for _ in range(FAILURES):
        await stage.send()
    breaker = stage.upstreams.breaker("main", "first")
    breaker._open_seconds = 0
    stage.upstreams.named("main").attempts = 3
    stage.transport.acts = iter([Says(500)])
    assert status_of(await stage.send()) == 500
    assert breaker.state is not State.CLOSED


async def test_two_calls_do_not_probe_at_once() -> None:
    stage = Stage(*(Says(500) for _ in range(FAILURES)), Breaks(0.1, b"{}"), Says(200), attempts=1)
    for _ in range(FAILURES):
        await stage.send()
    stage.upstreams.breaker("main", "first")._open_seconds = 0
    probe = asyncio.create_task(stage.send(FIRST))
    await asyncio.sleep(0.02)
    assert (await stage.send(FIRST, SECOND)).prepared.arm is SECOND
    assert await body_of(await probe) == b"{}"
    assert stage.upstreams.breaker("main", "first").state is State.CLOSED
