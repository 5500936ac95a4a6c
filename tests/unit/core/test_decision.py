from gateway.core.facts import KnowledgeSignal
from tests.fakes.calls import DIRECT, decided, facts


def test_the_first_arm_is_the_chosen_one() -> None:
    assert decided(DIRECT).arm is DIRECT


def test_a_signal_is_found_by_the_same_collections_only() -> None:
    known = facts(help_centre=0.7)
    assert known.signal(("help-centre",)) == KnowledgeSignal(0.7)
    assert known.signal(("help-centre", "other")) is None
    assert known.signal(()) is None
