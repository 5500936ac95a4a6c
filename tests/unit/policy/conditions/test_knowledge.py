import pytest

from gateway.core.errors import BadConfiguration
from gateway.core.facts import NeedsKnowledge
from tests.fakes.calls import chat, facts, read
from tests.fakes.rulebook import held, rule, verdict

WHEN = "knowledge: {collections: [help-centre], score_over: 0.5}"


def test_asks_for_the_signal_before_it_answers() -> None:
    assert verdict(WHEN, chat(), facts()) == NeedsKnowledge(("help-centre",))


def test_holds_above_the_score_and_not_at_it() -> None:
    assert held(WHEN, chat(), facts(help_centre=0.51))
    assert not held(WHEN, chat(), facts(help_centre=0.5))


def test_a_call_that_asks_nothing_is_not_looked_up() -> None:
    silent = chat(messages=[{"role": "system", "content": "Be kind."}])
    assert verdict(WHEN, silent, facts()) is False
    assert verdict(WHEN, read({"model": "m", "input": "How long?"}, "/v1/embeddings"), facts()) is False


def test_a_collection_that_is_not_there_is_a_fault() -> None:
    with pytest.raises(BadConfiguration, match="collection 'help-center' is not in knowledge"):
        rule("knowledge: {collections: [help-center], score_over: 0.5}")
    with pytest.raises(BadConfiguration, match=r"score_over is 1\.5"):
        rule("knowledge: {collections: [help-centre], score_over: 1.5}")
