from datetime import date

import msgspec
import pytest

from gateway.core.errors import BadConfiguration
from gateway.core.facts import Facts
from tests.fakes.calls import chat, facts
from tests.fakes.rulebook import held, rule, verdict


def on(day: date) -> Facts:
    return msgspec.structs.replace(facts(), today=day)


def test_holds_from_that_many_days_before_the_end() -> None:
    """tone@v2 ends on 2027-01-14."""
    call = chat(model="tone")
    assert held("shutdown_within: 30", call, on(date(2026, 12, 15)))
    assert not held("shutdown_within: 30", call, on(date(2026, 12, 14)))
    assert held("shutdown_within: 0", call, on(date(2027, 1, 14)))
    assert not held("shutdown_within: 0", call, on(date(2027, 1, 13)))


def test_holds_past_the_end() -> None:
    assert held("shutdown_within: 0", chat(model="lonely"))
    assert held("shutdown_within: 0", chat(model="tone"), on(date(2030, 1, 1)))


def test_the_version_that_is_asked_for_counts() -> None:
    late = on(date(2027, 1, 10))
    assert held("shutdown_within: 30", chat(model="tone@v2"), late)
    assert held("shutdown_within: 30", chat(model="ft:base:acme:tone:2"), late)
    assert not held("shutdown_within: 30", chat(model="tone@v1"), late), "it names no end"


@pytest.mark.parametrize("model", ["small", "auto", "kb/help-centre", "any-other", "tone@v9"])
def test_what_is_no_line_has_no_end(model: str) -> None:
    assert verdict("shutdown_within: 3650", chat(model=model)) is False


@pytest.mark.parametrize("days", ["-1", "3651", "soon"])
def test_what_is_no_number_of_days_is_a_fault(days: str) -> None:
    with pytest.raises(BadConfiguration, match=f"shutdown_within is '?{days}"):
        rule(f"shutdown_within: {days}")
