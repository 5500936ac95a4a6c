import pytest

from gateway.core.errors import BadConfiguration
from tests.fakes.calls import chat
from tests.fakes.rulebook import held, rule

TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "developer", "content": "And short."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "How are you?"},
]


def test_holds_past_the_limit_and_not_at_it() -> None:
    assert held("turns_over: 2", chat(messages=TALK)), "system prompts are not counted"
    assert not held("turns_over: 3", chat(messages=TALK))


def test_a_call_without_messages_has_no_turns() -> None:
    assert not held("turns_over: 0", chat(messages=TALK[:1]))
    assert held("turns_over: 0", chat())


def test_a_negative_limit_is_a_fault() -> None:
    with pytest.raises(BadConfiguration, match="turns_over is -3"):
        rule("turns_over: -3")
