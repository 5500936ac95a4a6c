import pytest

from gateway.core.usage import Usage
from gateway.wire.sse import KEPT, MAX_EVENT, EventCutter, UsageStrip, UsageTap, events, payload


def test_only_whole_events_go_on() -> None:
    cutter = EventCutter()
    assert cutter.feed(b"data: 1\n\ndata: 2\n") == b"data: 1\n\n"
    assert cutter.feed(b"\ndata: 3") == b"data: 2\n\n"
    assert cutter.rest() == b"data: 3"
    assert cutter.rest() == b""


@pytest.mark.parametrize("event", [b"data: 1\n\n", b"data: 1\r\n\r\n"])
def test_an_event_goes_on_with_its_last_byte(event: bytes) -> None:
    """Wherever it was cut: one that waits for the next event is a token that comes too late."""
    for cut in range(1, len(event)):
        cutter = EventCutter()
        assert cutter.feed(event[:cut]) == b""
        assert cutter.feed(event[cut:]) == event
    cutter = EventCutter()
    assert [cutter.feed(event[at : at + 1]) for at in range(len(event))] == [b""] * (len(event) - 1) + [event]


def test_an_event_without_end_is_not_kept_for_ever() -> None:
    cutter = EventCutter()
    passed = sum(len(cutter.feed(b"x" * 1_000_000)) for _ in range(40))
    assert passed >= 40_000_000 - MAX_EVENT - 1_000_000


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_events_are_told_apart_by_blank_lines(end: bytes) -> None:
    assert list(events(b"data: 1" + end + b": ping" + end + b"data: 2")) == [
        b"data: 1" + end,
        b": ping" + end,
        b"data: 2",
    ]


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: {}\n\n", b"{}"),
        (b"data:{}\r\n\r\n", b"{}"),
        (b"event: x\nid: 3\ndata: {}\n\n", b"{}"),
        (b"data: {\ndata: }\n\n", b"{\n}"),
        (b": comment\n\n", b""),
    ],
)
def test_the_payload_is_the_data_alone(event: bytes, data: bytes) -> None:
    assert payload(event) == data


def test_a_tap_gives_each_read_on_as_it_came() -> None:
    """Nothing waits: the first byte goes out before the second comes in."""
    tap = UsageTap()
    for chunk in (b"d", b'ata: {"usage":{"prompt_tokens":1}}', b"\n", b"\n"):
        assert tap.feed(chunk) is chunk
    assert tap.usage == Usage(1, 0, raw='{"prompt_tokens":1}')


def test_the_last_usage_stands() -> None:
    tap = UsageTap()
    tap.feed(b'data: {"usage":{"prompt_tokens":1}}\n\ndata: {"usage":{"prompt_tokens":1,"completion_tokens":7}}\n\n')
    tap.feed(b'data: {"usage":null}\n\ndata: {"usage": null}\n\ndata: {"usage":{"prompt_tokens":"x"}}\n\n')
    assert tap.usage is not None
    assert tap.usage.output_tokens == 7


def test_a_usage_that_cannot_be_does_not_hide_one_that_can() -> None:
    strip = UsageStrip()
    strip.feed(b'data: {"choices":[{}],"usage":{"prompt_tokens":1}}\n\n')
    strip.feed(b'data: {"choices":[{}],"usage":{"prompt_tokens":"x"}}\n\n')
    assert strip.usage == Usage(1, 0, raw='{"prompt_tokens":1}')


def test_usage_is_read_from_a_stream_that_ends_in_its_last_event() -> None:
    tap = UsageTap()
    tap.feed(b'data: {"usage":{"prompt_tokens":3}}')
    assert tap.usage is None
    assert tap.finish() == b""
    assert tap.usage == Usage(3, 0, raw='{"prompt_tokens":3}')


def test_what_is_kept_for_an_estimate_is_bounded() -> None:
    tap = UsageTap()
    for _ in range(100):
        tap.feed(b"x" * 65_536)
    assert tap.passed_bytes == 100 * 65_536
    assert tap.kept_bytes <= KEPT + 65_536


@pytest.mark.parametrize(
    ("came", "goes"),
    [
        (b'data: {"a":1,"usage":null}\n\n', b'data: {"a":1}\n\n'),
        (b'data: {"a": 1, "usage": null}\n\n', b'data: {"a": 1}\n\n'),
        (b'data: {"usage":null,"a":1}\n\n', b'data: {"a":1}\n\n'),
        (b'data: {"usage": null, "a": 1}\n\n', b'data: {"a": 1}\n\n'),
        (b'data: {"a":1,"usage":null,"b":2}\r\n\r\n', b'data: {"a":1,"b":2}\r\n\r\n'),
        (b'data: {"x":{"y":1,"usage":null},"usage":null,"b":1}\n\n', b'data: {"x":{"y":1,"usage":null},"b":1}\n\n'),
        (b'data: {"x":{"y":1,"usage":null}}\n\n', b'data: {"x":{"y":1,"usage":null}}\n\n'),
        (b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n', b""),
        (b'data: {"choices": [ ], "usage": {"prompt_tokens": 1}}\n\n', b""),
        (b'data: {"choices":[{"a":1}],"usage":{"prompt_tokens":1}}\n\n', b'data: {"choices":[{"a":1}]}\n\n'),
        (b'data: not json "usage"\n\n', b'data: not json "usage"\n\n'),
        (b': a comment on "usage"\n\n', b': a comment on "usage"\n\n'),
        (b'event: x\nid: 3\ndata: {"a":1,"usage":null}\n\n', b'event: x\nid: 3\ndata: {"a":1}\n\n'),
    ],
)
def test_only_the_trace_of_our_question_is_taken_out(came: bytes, goes: bytes) -> None:
    strip = UsageStrip()
    assert strip.feed(came) + strip.finish() == goes


@pytest.mark.parametrize("tap", [UsageTap(), UsageStrip()], ids=["tap", "strip"])
def test_a_tier_that_only_the_first_event_names_is_the_streams(tap: UsageTap) -> None:
    for event in (
        b'data: {"service_tier":"flex","choices":[{"delta":{"content":"Hi"}}]}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}\n\n',
    ):
        tap.feed(event)
    assert tap.usage is not None
    assert tap.usage.service_tier == tap.tier() == "flex"


def test_the_tier_beside_the_usage_is_the_one_that_counts() -> None:
    """Asked for as `priority`, served as `default`: the last event says what is billed."""
    tap = UsageTap()
    tap.feed(b'data: {"type":"response.created","response":{"service_tier":"priority","usage":null}}\n\n')
    tap.feed(b'data: {"response":{"service_tier":"default","usage":{"input_tokens":3,"output_tokens":1}}}\n\n')
    assert tap.usage is not None
    assert tap.usage.service_tier == ""
