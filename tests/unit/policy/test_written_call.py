import pytest
from pydantic import ValidationError

from gateway.policy.written_call import CallEntry, ExpectEntry


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"team": "a", "txt": "Hi"},
        {"team": "a", "endpoint": "images"},
        {"team": "a", "turns": 0},
        {"team": "a", "draw": 1.0},
        {"team": "a", "budget_used": -0.1},
        {"team": "a", "knowledge_score": 1.5},
        {"team": "a", "knowledge_score": {"help-centre": -1}},
        {"team": "a", "task_score": {"tone": float("nan")}},
        {"team": "a", "at": "2026-11-23T12:00:00"},
    ],
)
def test_a_call_that_cannot_be_is_a_fault(written: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CallEntry.model_validate(written)


def test_a_moment_needs_its_zone() -> None:
    """A test that means another hour on another machine would fail there."""
    entry = CallEntry.model_validate({"team": "a", "at": "2026-11-23T12:00:00+01:00"})
    assert entry.at is not None
    assert entry.at.timestamp() == 1_795_431_600


def test_an_expectation_names_only_what_can_come_out() -> None:
    with pytest.raises(ValidationError):
        ExpectEntry.model_validate({"path": "sideways"})
    with pytest.raises(ValidationError):
        ExpectEntry.model_validate({"upstream": "main"})
