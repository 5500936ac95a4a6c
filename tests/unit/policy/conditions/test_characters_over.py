import pytest

from gateway.core.errors import BadConfiguration
from tests.fakes.calls import chat
from tests.fakes.rulebook import held, rule


def test_holds_past_the_limit_and_not_at_it() -> None:
    assert held("characters_over: 4", chat()), "Hello has five"
    assert not held("characters_over: 5", chat())


def test_only_the_last_user_turn_counts_and_a_letter_is_one_character() -> None:
    call = chat(messages=[{"role": "user", "content": "x" * 50}, {"role": "user", "content": "é日本"}])
    assert held("characters_over: 2", call)
    assert not held("characters_over: 3", call)


def test_a_negative_limit_is_a_fault() -> None:
    with pytest.raises(BadConfiguration, match="characters_over is -1"):
        rule("characters_over: -1")
