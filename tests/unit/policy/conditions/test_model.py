from tests.fakes.calls import chat
from tests.fakes.rulebook import held


def test_holds_for_the_model_that_was_asked_for() -> None:
    assert held("model: [auto, small]", chat(model="small"))
    assert not held("model: [auto]", chat(model="small"))


def test_a_star_at_the_end_matches_any_ending() -> None:
    assert held("model: ['gpt-4*']", chat(model="gpt-4.1-mini"))
    assert held("model: [auto, 'gpt-4*']", chat(model="auto"))
    assert held("model: '*'", chat(model="x"))
    assert not held("model: ['gpt-4*']", chat(model="gpt-3"))
    assert not held("model: ['*-mini']", chat(model="gpt-4.1-mini")), "a star elsewhere is a star"
