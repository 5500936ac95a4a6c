import pytest

from gateway.core.errors import BadConfiguration
from tests.fakes.calls import chat
from tests.fakes.rulebook import held, rule


def test_holds_past_the_limit_and_not_at_it() -> None:
    call = chat()
    tokens = call.prompt_tokens_estimate
    assert held(f"prompt_tokens_over: {tokens - 1}", call)
    assert not held(f"prompt_tokens_over: {tokens}", call)


def test_a_negative_limit_is_a_fault() -> None:
    with pytest.raises(BadConfiguration, match="prompt_tokens_over is -3"):
        rule("prompt_tokens_over: -3")
