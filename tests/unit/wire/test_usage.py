import pytest

from gateway.core.usage import Usage
from gateway.wire.usage import MAX_RAW, read_usage, usage_of_body, usage_of_event

CHAT = (
    b'{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":4},'
    b'"completion_tokens_details":{"reasoning_tokens":2,"accepted_prediction_tokens":0}}'
)
RESPONSES = (
    b'{"input_tokens":9,"output_tokens":5,"input_tokens_details":{"cached_tokens":4},'
    b'"output_tokens_details":{"reasoning_tokens":2}}'
)


@pytest.mark.parametrize("raw", [CHAT, RESPONSES], ids=["chat", "responses"])
def test_both_spellings_are_read_and_the_original_is_kept(raw: bytes) -> None:
    assert read_usage(raw) == Usage(9, 5, cached_tokens=4, reasoning_tokens=2, raw=raw.decode())


def test_one_half_is_enough() -> None:
    assert read_usage(b'{"prompt_tokens":9,"total_tokens":9}') == Usage(
        9, 0, raw='{"prompt_tokens":9,"total_tokens":9}'
    )


def test_a_part_larger_than_its_whole_is_cut_to_it() -> None:
    found = read_usage(
        b'{"prompt_tokens":9,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":99,"cache_write_tokens":7},'
        b'"completion_tokens_details":{"reasoning_tokens":-3}}'
    )
    assert found is not None
    assert (found.cached_tokens, found.cache_write_tokens, found.reasoning_tokens) == (9, 0, 0)


@pytest.mark.parametrize(
    "raw",
    [
        b"null",
        b"",
        b"{}",
        b"[]",
        b'{"prompt_tokens":-1,"completion_tokens":5}',
        b'{"prompt_tokens":1000000001}',
        b'{"prompt_tokens":99999999999999999999999}',
        b'{"prompt_tokens":"9"}',
        b'{"prompt_tokens":true}',
        b'{"prompt_tokens":1.5}',
        b'{"prompt_tokens":NaN}',
        b'{"prompt_tokens":null,"completion_tokens":null}',
        b'{"total_tokens":9}',
        b'{"prompt_tokens":1,"x":' + b"[" * 100_000,
    ],
    ids=lambda raw: raw[:40].decode(),
)
def test_a_usage_that_cannot_be_is_none_and_never_an_error(raw: bytes) -> None:
    """The caller then estimates: a wrong number would be billed as if it were known."""
    assert read_usage(raw) is None


def test_text_in_a_usage_that_is_no_utf8_is_no_error() -> None:
    """The decoder skips strings that it does not need; the row keeps the rest of the original."""
    found = read_usage(b'{"prompt_tokens":1,"note":"\xff"}')
    assert found is not None
    assert found.input_tokens == 1
    assert found.raw == '{"prompt_tokens":1,"note":"\ufffd"}'


def test_an_absurdly_large_original_is_not_kept() -> None:
    """A record of the journal has a limit; past it everything behind it would be unreadable."""
    found = read_usage(b'{"prompt_tokens":1,"note":"' + b"x" * MAX_RAW + b'"}')
    assert found == Usage(1, 0)


def test_usage_is_found_in_a_body_and_in_both_kinds_of_events() -> None:
    expected = read_usage(CHAT)
    assert usage_of_body(b'{"id":"x","usage":' + CHAT + b"}") == expected
    assert usage_of_event(b'{"choices":[{}],"usage":' + CHAT + b"}") == expected
    inside = usage_of_event(b'{"type":"response.completed","response":{"usage":' + RESPONSES + b"}}")
    assert inside == read_usage(RESPONSES)


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"usage":3}', b'{"usage":null}', b'{"text":"\\"usage\\""}', b"[" * 100_000 + b'"usage"']
)
def test_a_body_without_usage_has_none(body: bytes) -> None:
    assert usage_of_body(body) is None
    assert usage_of_event(body) is None
