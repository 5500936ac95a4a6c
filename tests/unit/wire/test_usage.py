import pytest

from gateway.core.usage import Usage
from gateway.wire.usage import MAX_RAW, read_usage, tier_of_event, usage_of_body, usage_of_event

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


def test_audio_images_and_predictions_are_read() -> None:
    found = read_usage(
        b'{"prompt_tokens":90,"completion_tokens":50,"prompt_tokens_details":{"audio_tokens":40,"image_tokens":20},'
        b'"completion_tokens_details":{"audio_tokens":30,"image_tokens":1,"accepted_prediction_tokens":9,'
        b'"rejected_prediction_tokens":99}}'
    )
    assert found is not None
    assert (found.audio_input_tokens, found.image_input_tokens) == (40, 20)
    assert (found.audio_output_tokens, found.image_output_tokens) == (30, 1)
    assert (found.accepted_prediction_tokens, found.rejected_prediction_tokens) == (9, 41)


def test_a_picture_and_a_transcription_are_read_and_seconds_are_not_tokens() -> None:
    picture = read_usage(b'{"input_tokens":50,"input_tokens_details":{"image_tokens":40},"output_tokens":60}')
    assert picture is not None
    assert (picture.input_tokens, picture.image_input_tokens, picture.output_tokens) == (50, 40, 60)
    speech = read_usage(
        b'{"type":"tokens","input_tokens":14,"input_token_details":{"audio_tokens":4},"output_tokens":9}'
    )
    assert speech is not None
    assert (speech.input_tokens, speech.audio_input_tokens, speech.output_tokens) == (14, 4, 9)
    assert read_usage(b'{"type":"duration","seconds":9}') is None


def test_tokens_that_only_the_total_shows_are_output() -> None:
    """Hidden reasoning: a total recomputed as prompt + completion would be 10 where 298 are billed."""
    hidden = read_usage(b'{"prompt_tokens":6,"completion_tokens":4,"total_tokens":298}')
    assert hidden is not None
    assert (hidden.input_tokens, hidden.output_tokens) == (6, 292)
    low = read_usage(b'{"prompt_tokens":6,"completion_tokens":4,"total_tokens":7}')
    assert low is not None
    assert (low.input_tokens, low.output_tokens) == (6, 4)
    assert read_usage(b'{"prompt_tokens":6,"completion_tokens":4,"total_tokens":1000000001}') is None


@pytest.mark.parametrize(
    ("told", "tier"),
    [
        (b'"flex"', "flex"),
        (b'"priority"', "priority"),
        (b'"default"', ""),
        (b'"auto"', ""),
        (b"null", ""),
        (b"7", ""),
        (b'"scale"', "scale"),
    ],
)
def test_the_tier_of_the_reply_is_the_one_it_was_served_at(told: bytes, tier: str) -> None:
    """`auto` and `default` are the standard one; a tier that nobody knows keeps its name, and has no price."""
    whole = usage_of_body(b'{"service_tier":' + told + b',"usage":' + CHAT + b"}")
    inside = usage_of_event(b'{"response":{"service_tier":' + told + b',"usage":' + RESPONSES + b"}}")
    assert whole is not None
    assert inside is not None
    assert whole.service_tier == inside.service_tier == tier_of_event(b'{"service_tier":' + told + b"}") == tier
