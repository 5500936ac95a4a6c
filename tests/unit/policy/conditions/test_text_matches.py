import time

import pytest

from gateway.core.errors import BadConfiguration
from gateway.policy.seen import MAX_TEXT
from tests.fakes.calls import chat
from tests.fakes.rulebook import held, rule


def test_holds_where_the_last_users_turn_matches_anywhere() -> None:
    call = chat(messages=[{"role": "user", "content": "old"}, {"role": "user", "content": "A Refund, please"}])
    assert held("text_matches: '(?i)\\brefund'", call)
    assert not held("text_matches: '^refund'", call)
    assert not held("text_matches: old", call)


@pytest.mark.parametrize("pattern", ["(", "a{1001}", "(?=x)", "(a)\\1", "[z-a]"])
def test_a_pattern_that_re2_does_not_take_is_a_fault(pattern: str) -> None:
    with pytest.raises(BadConfiguration, match="RE2"):
        rule(f"text_matches: '{pattern}'")


def test_no_text_makes_a_pattern_run_for_ever() -> None:
    """With a backtracking engine this pair takes longer than the universe has."""
    call = chat(messages=[{"role": "user", "content": "a" * 15_000 + "!"}])
    began = time.perf_counter()
    assert not held("text_matches: '^(a+)+$'", call)
    assert time.perf_counter() - began < 2


def test_a_pattern_that_would_be_slow_on_the_text_of_somebody_who_wants_it_slow_is_a_fault() -> None:
    """Linear in the text, but times the pattern's own size."""
    with pytest.raises(
        BadConfiguration, match=r"text_matches is 'a\.\{999\}b'; it has 7,\d+ steps and 2,000 are taken"
    ):
        rule("text_matches: 'a.{999}b'")
    assert not held("text_matches: '(?i)refund.{0,200}order'", chat())


def test_only_the_beginning_of_a_huge_text_is_looked_at() -> None:
    assert not held("text_matches: needle", chat(messages=[{"role": "user", "content": " " * MAX_TEXT + "needle"}]))
