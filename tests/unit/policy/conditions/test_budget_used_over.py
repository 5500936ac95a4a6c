import msgspec
import pytest

from gateway.core.errors import BadConfiguration
from gateway.core.facts import Facts
from tests.fakes.calls import chat, facts
from tests.fakes.rulebook import held, rule


def used(share: float | None) -> Facts:
    return msgspec.structs.replace(facts(), budget_used=share)


def test_holds_past_the_share_and_not_at_it() -> None:
    assert held("budget_used_over: 0.9", chat(), used(0.91))
    assert not held("budget_used_over: 0.9", chat(), used(0.9))
    assert held("budget_used_over: 1", chat(), used(1.2)), "a budget can be overdrawn by what was under way"


def test_a_team_without_a_budget_is_never_near_it() -> None:
    assert not held("budget_used_over: 0", chat(), used(None))
    assert not held("budget_used_over: 0", chat(), used(0.0))


@pytest.mark.parametrize("share", ["90", "-0.1", ".nan", "90%"])
def test_what_is_no_share_is_a_fault(share: str) -> None:
    with pytest.raises(BadConfiguration, match="budget_used_over"):
        rule(f"budget_used_over: {share}")
