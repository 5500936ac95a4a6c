import pytest

from gateway.core.errors import BadConfiguration
from tests.fakes.calls import chat, read
from tests.fakes.rulebook import held, rule

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
SHOWN = chat(messages=[{"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE]}])


def test_holds_for_calls_that_show_an_image_or_none() -> None:
    assert held("has_image: true", SHOWN)
    assert not held("has_image: false", SHOWN)
    assert held("has_image: false", chat())
    assert not held("has_image: true", chat())


def test_an_image_counts_in_whichever_turn_it_stands() -> None:
    earlier = chat(messages=[{"role": "user", "content": [IMAGE]}, {"role": "user", "content": "And now?"}])
    assert held("has_image: true", earlier)


def test_an_image_of_a_responses_call_counts() -> None:
    part = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
    call = read({"model": "m", "input": [{"role": "user", "content": [part]}]}, "/v1/responses")
    assert held("has_image: true", call)


def test_a_word_that_is_neither_is_a_fault() -> None:
    with pytest.raises(BadConfiguration, match="has_image"):
        rule("has_image: perhaps")
