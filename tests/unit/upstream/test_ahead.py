import asyncio

import pytest

from gateway.core.call import Headers
from gateway.upstream.ahead import WHOLE_BYTES, ReadAhead
from gateway.upstream.faults import Aborted, BetweenTimedOut, FirstTokenTimedOut, ReplyBroken, TransportError
from tests.fakes.scripted_transport import EVENTS, JSON, Says

AUDIO: Headers = ((b"content-type", b"audio/mpeg"),)
HANGS = 30.0
FIRST = b'data: {"choices":[]}\n\n'


async def begun(reply: Says, seconds: float = 10) -> ReadAhead:
    reply.sent_at = asyncio.get_running_loop().time()
    ahead = ReadAhead(reply)
    await ahead.begin(seconds)
    return ahead


async def rest(ahead: ReadAhead) -> list[bytes]:
    parts = []
    while part := await ahead.read():
        parts.append(part)
    return parts


@pytest.mark.parametrize(
    ("status", "headers", "form"),
    [
        (200, EVENTS, "events"),
        (200, JSON, "whole"),
        (200, ((b"content-type", b"application/problem+json"),), "whole"),
        (200, AUDIO, "parts"),
        (200, (), "parts"),
        (204, ((b"content-length", b"0"),), "whole"),
        (500, EVENTS, "whole"),
        (404, AUDIO, "whole"),
    ],
)
async def test_the_form_of_a_reply_is_told_by_its_head(status: int, headers: Headers, form: str) -> None:
    assert ReadAhead(Says(status, headers=headers)).form == form


async def test_a_body_is_read_whole_and_given_once() -> None:
    ahead = await begun(Says(200, b'{"a"', b":1", b"}", headers=JSON))
    assert (ahead.ahead, ahead.whole) == (b'{"a":1}', True)
    assert await rest(ahead) == [b'{"a":1}']
    assert await ahead.read() == b""


async def test_of_other_bodies_the_first_bytes_are_waited_for() -> None:
    ahead = await begun(Says(200, b"one", HANGS, headers=AUDIO))
    assert (ahead.ahead, ahead.whole) == (b"one", False)


async def test_of_a_huge_body_no_more_is_read_than_is_kept() -> None:
    half = b" " * (WHOLE_BYTES // 2)
    ahead = await begun(Says(200, half, half, b"1", b"2", b"3", headers=JSON))
    assert (len(ahead.ahead), ahead.whole) == (WHOLE_BYTES + 1, False)
    assert [len(part) for part in await rest(ahead)] == [WHOLE_BYTES + 1, 1, 1]


@pytest.mark.parametrize("ending", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n"])
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
async def test_a_stream_is_read_to_the_end_of_its_first_event_with_data(ending: bytes, size: int) -> None:
    line = ending[: len(ending) // 2] if ending != b"\n\r\n" else b"\n"
    said = b": keep-alive" + ending + b"event: x" + line + b'data: {"a":1}' + ending
    parts = [said[at : at + size] for at in range(0, len(said), size)]
    ahead = await begun(Says(200, *parts, HANGS, headers=EVENTS))
    assert (ahead.ahead, ahead.first, ahead.whole, ahead.failure) == (said, b'{"a":1}', False, None)


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"id: 1\n", b"\n", b""])
async def test_data_is_found_wherever_a_line_begins(mark: bytes) -> None:
    ahead = await begun(Says(200, mark + FIRST, headers=EVENTS))
    assert ahead.ahead == mark + FIRST


async def test_an_event_that_only_mentions_data_is_none() -> None:
    ahead = await begun(Says(200, b": data: x\n\nevent: data:\n\n", FIRST, headers=EVENTS))
    assert ahead.first == b'{"choices":[]}'


async def test_a_stream_gives_what_was_read_and_then_the_rest() -> None:
    ahead = await begun(Says(200, b": hm\n\n", FIRST + b"data: 2", b"\n\n", headers=EVENTS))
    assert await rest(ahead) == [b": hm\n\n" + FIRST + b"data: 2", b"\n\n"]


@pytest.mark.parametrize("said", [b"", b": only this\n\n", b"data: no blank line"])
async def test_a_stream_that_ends_without_an_event_is_given_as_it_is(said: bytes) -> None:
    ahead = await begun(Says(200, *[said][: len(said)], headers=EVENTS))
    assert (ahead.ahead, ahead.whole, ahead.first, ahead.failure) == (said, True, b"", None)


@pytest.mark.parametrize(
    ("headers", "drips"),
    [
        (JSON, [b"{"]),
        (JSON, []),
        (AUDIO, []),
        (EVENTS, [b": still here\n\n"]),
        (EVENTS, [b"data: "]),
        (EVENTS, []),
    ],
)
async def test_what_does_not_come_in_time_is_a_first_token_that_timed_out(headers: Headers, drips: list[bytes]) -> None:
    """However often something comes: a wait between two reads is not the wait for something of use."""
    drip: list[bytes | float | TransportError] = []
    for _ in range(500):
        drip += [*drips, 0.02]
    reply = Says(200, *drip, headers=headers)
    ahead = await begun(reply, 0.1)
    assert isinstance(ahead.failure, FirstTokenTimedOut)
    assert ahead.failure.sent
    assert reply.aborted, "its connection is let go"


async def test_the_time_runs_from_the_sent_request() -> None:
    reply = Says(200, HANGS, headers=JSON)
    reply.sent_at = asyncio.get_running_loop().time() - 10
    ahead = ReadAhead(reply)
    await ahead.begin(10.05)
    assert isinstance(ahead.failure, FirstTokenTimedOut)


@pytest.mark.parametrize("fault", [ReplyBroken("closed"), BetweenTimedOut("slow"), Aborted("left")])
async def test_half_a_body_is_given_before_its_fault(fault: TransportError) -> None:
    """Whoever books it can see what may be billed."""
    ahead = await begun(Says(200, b'{"half', fault, headers=JSON))
    assert type(ahead.failure) is type(fault)
    assert ahead.failure.__traceback__ is None, "a kept one would hold frames that hold it"
    assert await ahead.read() == b'{"half'
    for _ in range(2):
        with pytest.raises(type(fault), match=str(fault)):
            await ahead.read()


async def test_half_an_event_is_not() -> None:
    ahead = await begun(Says(200, b"data: {", ReplyBroken("closed"), headers=EVENTS))
    with pytest.raises(ReplyBroken):
        await ahead.read()


async def test_a_stream_that_breaks_off_later_says_so_later() -> None:
    ahead = await begun(Says(200, FIRST, ReplyBroken("closed"), headers=EVENTS))
    assert ahead.failure is None
    assert await ahead.read() == FIRST
    with pytest.raises(ReplyBroken):
        await ahead.read()
