import time
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.core.call import Call
from gateway.core.decision import Arm
from gateway.core.errors import CallerLeft, UpstreamFailed, UpstreamTimeout
from gateway.policy.models_file import UpstreamEntry
from gateway.upstream.breaker import FAILURES
from gateway.upstream.faults import (
    ConnectFailed,
    ConnectTimedOut,
    FirstByteTimedOut,
    NotAnswered,
    ReplyBroken,
    TotalTimedOut,
    TransportError,
)
from gateway.upstream.prepared import Prepared
from gateway.upstream.send import MAX_ATTEMPTS, MAX_PAUSE
from tests.fakes.calls import chat, inbound, read
from tests.fakes.scripted_transport import LeavesAfter, NoteBook, Says, said
from tests.fakes.sending import FIRST, SECOND, THIRD, Stage, body_of, status_of

TUNED = Arm(path="fine_tuned", upstream="main", model="ft:base:acme", line="tone", version=1)
REFUSED_OPTIONS = b'{"error":{"message":"Unrecognized request argument supplied: stream_options"}}'


async def test_a_reply_is_given_with_its_whole_body() -> None:
    stage = Stage(Says(200, b"hi"))
    sent = await stage.send()
    assert status_of(sent) == 200
    assert await body_of(sent) == b"hi"
    assert stage.book.told == ["start first"]
    assert stage.outcomes == ["2xx"]


@pytest.mark.parametrize("fault", [ConnectFailed("refused"), ConnectTimedOut("slow")])
async def test_where_nothing_was_sent_a_second_try_costs_nothing(fault: ConnectFailed) -> None:
    stage = Stage(fault, Says(200))
    assert status_of(await stage.send()) == 200
    assert stage.book.told == ["start first", "void", "start first"]


@pytest.mark.parametrize(
    "fault", [NotAnswered("closed"), ReplyBroken("garbage"), FirstByteTimedOut("slow"), TotalTimedOut("slow")]
)
async def test_where_bytes_went_out_nobody_asks_the_same_again(fault: TransportError) -> None:
    """The upstream may be working on it, and may bill it: a second try could be a second bill."""
    stage = Stage(fault)
    with pytest.raises((UpstreamFailed, UpstreamTimeout)) as caught:
        await stage.send()
    slow = isinstance(fault, (FirstByteTimedOut, TotalTimedOut))
    assert caught.value.status == (504 if slow else 502)
    assert stage.book.told == ["start first", f"fail {caught.value.status}"]
    usage = stage.book.failures[0].usage
    assert usage is not None
    assert usage.source == "estimated", "the prompt was sent, and may be billed"


async def test_a_deadline_before_the_first_byte_went_out_costs_nothing() -> None:
    stage = Stage(TotalTimedOut("still connecting", sent=False))
    with pytest.raises(UpstreamTimeout):
        await stage.send()
    assert stage.book.told == ["start first", "void"]


async def test_the_next_arm_is_tried_after_a_fault() -> None:
    stage = Stage(NotAnswered("closed"), Says(200))
    sent = await stage.send(FIRST, SECOND)
    assert sent.prepared.arm is SECOND
    assert stage.book.told == ["start first", "fail 502", "start second"]


@pytest.mark.parametrize("status", [409, 429, 500, 502, 503, 529])
async def test_a_status_that_says_not_served_is_tried_again(status: int) -> None:
    stage = Stage(Says(status, b"busy"), Says(200))
    assert status_of(await stage.send()) == 200
    assert stage.book.told == ["start first", f"fail {status}", "start first"]
    assert stage.book.failures[0].usage is None, "a refusal costs nothing"
    assert said(stage.acts)[0].aborted, "its connection is let go"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 201, 302])
async def test_any_other_status_is_an_answer(status: int) -> None:
    """401 too: that the gateway's own key is wrong is told by the relay, not hidden by a retry."""
    stage = Stage(Says(status, b"x"))
    assert status_of(await stage.send(FIRST, SECOND)) == status
    assert stage.book.told == ["start first"]


async def test_the_last_refusal_is_given_as_it_is() -> None:
    stage = Stage(Says(429, b"one"), Says(429, b"two", headers=((b"retry-after", b"1"),)))
    sent = await stage.send()
    assert status_of(sent) == 429
    assert sent.reply is not None
    assert sent.reply.headers == ((b"retry-after", b"1"),)
    assert await body_of(sent) == b"two"


async def test_no_call_makes_more_than_three_attempts() -> None:
    """Retries multiply cost and waiting: across all arms together."""
    stage = Stage(*(Says(503, b"x") for _ in range(9)), attempts=2)
    sent = await stage.send(FIRST, SECOND, THIRD)
    assert len(stage.transport.asked) == MAX_ATTEMPTS
    assert status_of(sent) == 503
    assert stage.book.told == ["start first", "fail 503", "start first", "fail 503", "start second"]


async def test_one_attempt_means_one() -> None:
    stage = Stage(Says(503), attempts=1)
    assert status_of(await stage.send()) == 503
    stage = Stage(ConnectFailed("refused"), attempts=1)
    with pytest.raises(UpstreamFailed, match="cannot be reached") as caught:
        await stage.send()
    assert caught.value.retry_after_seconds == 1


@pytest.mark.parametrize(
    ("headers", "least"),
    [
        (((b"retry-after", b"0"),), 0.0),
        (((b"retry-after-ms", b"150"),), 0.15),
        (((b"retry-after", b"Wed, 21 Oct 2015 07:28:00 GMT"),), 0.0),
        (((b"retry-after", b"nan"),), 0.0),
        (((b"retry-after", b"-5"),), 0.0),
        ((), 0.0),
    ],
)
async def test_what_the_upstream_asks_to_wait_is_waited(headers: tuple[tuple[bytes, bytes], ...], least: float) -> None:
    stage = Stage(Says(429, headers=headers), Says(200))
    began = time.perf_counter()
    assert status_of(await stage.send()) == 200
    assert least <= time.perf_counter() - began < MAX_PAUSE


@pytest.mark.parametrize("value", [b"30", b"4.1", b"inf", b"999999999", b"Fri, 31 Dec 2100 23:59:59 GMT"])
async def test_a_long_wait_is_the_callers_to_decide(value: bytes) -> None:
    """It gets the upstream's own 429 and its Retry-After, and not a 502 of ours after silence."""
    stage = Stage(Says(429, b"busy", headers=((b"retry-after", value),)))
    sent = await stage.send()
    assert status_of(sent) == 429
    assert await body_of(sent) == b"busy"
    assert stage.book.told == ["start first"]


async def test_a_long_wait_sends_the_call_to_the_next_arm() -> None:
    stage = Stage(Says(429, headers=((b"retry-after", b"30"),)), Says(200))
    assert (await stage.send(FIRST, SECOND)).prepared.arm is SECOND


async def test_a_tuned_model_that_is_gone_has_its_fallback() -> None:
    stage = Stage(Says(404, b"gone"), Says(200))
    assert (await stage.send(TUNED, SECOND)).prepared.arm is SECOND
    alone = Stage(Says(404, b"gone"))
    assert status_of(await alone.send(TUNED)) == 404
    base = Stage(Says(404, b"gone"))
    assert status_of(await base.send(FIRST, SECOND)) == 404, "a base model's 404 is the caller's to see"


async def test_after_failures_in_a_row_nobody_waits_for_the_target() -> None:
    stage = Stage(*(Says(500) for _ in range(FAILURES)), attempts=1)
    for _ in range(FAILURES):
        await stage.send()
    with pytest.raises(UpstreamFailed, match="left alone") as caught:
        await stage.send()
    assert caught.value.retry_after_seconds is not None
    assert len(stage.transport.asked) == FAILURES
    assert stage.outcomes[-1] == "breaker_open"


async def test_an_open_breaker_is_one_targets_and_not_its_neighbours() -> None:
    stage = Stage(*(Says(500) for _ in range(FAILURES)), Says(200), attempts=1)
    for _ in range(FAILURES):
        await stage.send(FIRST)
    assert (await stage.send(FIRST, SECOND)).prepared.arm is SECOND
    assert len(stage.transport.asked) == FAILURES + 1


@pytest.mark.parametrize(("sent", "told"), [(False, ["start first", "void"]), (True, ["start first"])])
async def test_who_leaves_is_told_apart_by_whether_anything_was_sent(*, sent: bool, told: list[str]) -> None:
    """What was sent may be billed: its entry stays open, and whoever opened it closes it with the prompt."""
    stage = Stage(LeavesAfter(sent=sent), Says(200))
    with pytest.raises(CallerLeft):
        await stage.send(FIRST, SECOND)
    assert stage.book.told == told
    assert len(stage.transport.asked) == 1


async def test_who_has_left_before_a_second_try_gets_none() -> None:
    stage = Stage(Says(503, headers=((b"retry-after-ms", b"20"),)), Says(200))
    stage.lease.hold(None)

    class LeavesWhileWaiting(NoteBook):
        def fail(self, closing: Any) -> None:
            super().fail(closing)
            stage.lease.abort()

    stage.book = LeavesWhileWaiting()
    with pytest.raises(CallerLeft):
        await stage.send()
    assert stage.book.told == ["start first", "fail 503"]


async def test_an_upstream_that_refuses_stream_options_is_asked_again_without() -> None:
    stage = Stage(Says(400, REFUSED_OPTIONS[:20], REFUSED_OPTIONS[20:]), Says(200), Says(200))
    sent = await stage.send(call=chat(stream=True))
    assert status_of(sent) == 200
    assert not sent.prepared.usage_injected
    assert stage.book.told == ["start first", "fail 400", "start first"]
    await stage.send(call=chat(stream=True))
    asked = [b"stream_options" in body for body in stage.bodies]
    assert asked == [True, False, False], "remembered, so that it happens once"


async def test_a_400_about_something_else_reaches_the_caller_whole() -> None:
    parts = (b'{"error":{"message":"', b"max_tokens", b' is too large"}}')
    stage = Stage(Says(400, *parts))
    sent = await stage.send(call=chat(stream=True))
    assert status_of(sent) == 400
    assert await body_of(sent) == b"".join(parts)
    assert stage.upstreams.named("main").takes_stream_options


async def test_a_callers_own_stream_options_are_the_callers_to_lose() -> None:
    stage = Stage(Says(400, REFUSED_OPTIONS))
    asked = chat(stream=True, stream_options={"include_usage": True})
    assert status_of(await stage.send(call=asked)) == 400
    assert stage.upstreams.named("main").takes_stream_options


async def test_a_refusal_that_breaks_off_is_told_where_it_is_read() -> None:
    stage = Stage(Says(400, b'{"err', ReplyBroken("closed")))
    sent = await stage.send(call=chat(stream=True))
    assert sent.reply is not None
    assert await sent.reply.read() == b'{"err'
    with pytest.raises(ReplyBroken):
        await sent.reply.read()


async def test_a_refusal_of_options_during_a_reload_is_not_asked_for_ever() -> None:
    """A new object stands under the upstream's name; it must learn what the old one was told."""
    stage = Stage(Says(400, REFUSED_OPTIONS), Says(200))
    entry = UpstreamEntry(base_url="http://main.test/v2")

    class Reloads(NoteBook):
        def start(self, arm: Arm, context_tokens: int = 0) -> None:
            super().start(arm, context_tokens)
            if len(self.told) == 1:
                stage.upstreams.replace(stage.upstreams.build({"main": entry}))

    stage.book = Reloads()
    assert status_of(await stage.send(call=chat(stream=True))) == 200


async def test_only_the_operators_credential_goes_upstream() -> None:
    secret = (
        (b"authorization", b"Bearer sk-gw-caller"),
        (b"api-key", b"sk-gw-caller"),
        (b"cookie", b"session=caller"),
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"openai-organization", b"callers-org"),
        (b"openai-beta", b"assistants=v2"),
    )
    stage = Stage(Says(200), key="sk-operator")
    await stage.send(call=read({"model": "first", "messages": []}, headers=secret))
    sent: Mapping[bytes, bytes] = dict(stage.transport.asked[0][1].headers)
    assert sent[b"authorization"] == b"Bearer sk-operator"
    assert sent[b"openai-beta"] == b"assistants=v2"
    assert b"caller" not in b"".join(value for value in sent.values())
    assert sent[b"x-client-request-id"] == b"call_1.1"


async def test_path_and_query_go_on_as_they_came() -> None:
    asked = inbound(b"", "/v1/files/a%2Fb", method="GET")
    moved = asked.__class__("GET", "/v1/files/a/b", asked.raw_path, b"limit=3&after=%20x", (), b"", "r", 0.0)
    stage = Stage(Says(200))
    arm = Arm(path="passthrough", upstream="main", model="")
    await stage.send(arm, call=Call(inbound=moved, endpoint="passthrough", model=""))
    _, outgoing, _ = stage.transport.asked[0]
    assert (outgoing.method, outgoing.target) == ("GET", b"/files/a%2Fb?limit=3&after=%20x")


async def test_an_answer_made_here_asks_no_upstream() -> None:
    stage = Stage()

    async def prepare(arm: Arm) -> Prepared:
        return Prepared(arm=arm, body=b"", answer=(b"application/json", b"{}"))

    sent = await stage.sender.send(chat(), (FIRST,), prepare, stage.book, stage.lease, stage.caller)
    assert sent.reply is None
    assert stage.book.told == []


async def test_what_a_path_raises_goes_to_the_caller_and_frees_the_breaker() -> None:
    stage = Stage(Says(200))

    async def prepare(arm: Arm) -> Prepared:
        raise UpstreamFailed("No sources.")

    with pytest.raises(UpstreamFailed, match="No sources"):
        await stage.sender.send(chat(), (FIRST, SECOND), prepare, stage.book, stage.lease, stage.caller)
    assert stage.book.told == []
    assert status_of(await stage.send()) == 200
