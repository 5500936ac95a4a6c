from tests.fakes.calls import chat
from tests.fakes.rulebook import held


def test_holds_for_the_teams_that_are_named() -> None:
    assert held("team: [support, sales]", chat())
    assert held("team: support", chat()), "one word stands for a list of one"
    assert not held("team: [sales]", chat())
    assert not held("team: [Support, suppor, 'support ']", chat())
