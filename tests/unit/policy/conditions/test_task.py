import msgspec
import pytest

from gateway.core.errors import BadConfiguration
from gateway.core.facts import Facts, NeedsTasks, TaskSignal
from tests.fakes.calls import chat, facts, read
from tests.fakes.rulebook import held, rule, verdict

WHEN = "task: {line: tone, score_over: 0.6}"


def like(**scores: float) -> Facts:
    return msgspec.structs.replace(facts(), tasks=tuple(TaskSignal(line, score) for line, score in scores.items()))


def test_asks_for_the_signal_before_it_answers() -> None:
    assert verdict(WHEN, chat(), facts()) == NeedsTasks()


def test_holds_above_the_score_and_not_at_it() -> None:
    assert held(WHEN, chat(), like(tone=0.61))
    assert not held(WHEN, chat(), like(tone=0.6))
    assert not held(WHEN, chat(), like()), "a line that is not among those looked up is like nothing"


def test_a_call_that_is_more_like_another_line_is_that_lines() -> None:
    """Which of two rules stands first must not decide it."""
    assert not held(WHEN, chat(), like(tone=0.7, legal=0.8))
    assert held(WHEN, chat(), like(tone=0.8, legal=0.7))


def test_an_endpoint_without_messages_is_not_looked_up() -> None:
    assert verdict(WHEN, read({"model": "m", "input": "Hi"}, "/v1/embeddings"), facts()) is False
    assert verdict(WHEN, read({"model": "m", "prompt": "Hi"}, "/v1/completions"), facts()) is False


def test_a_line_that_is_not_there_or_has_no_examples_is_a_fault() -> None:
    with pytest.raises(BadConfiguration, match=r"routing\.yaml:1:\d+: 'tune' is no line of models"):
        rule("task: {line: tune}")
    with pytest.raises(BadConfiguration, match=r"routing\.yaml:1:\d+: line 'lonely' has no `training_file`"):
        rule("task: {line: lonely}")
    with pytest.raises(BadConfiguration, match="'tone@v2' is no line"):
        rule("task: {line: tone@v2}")
