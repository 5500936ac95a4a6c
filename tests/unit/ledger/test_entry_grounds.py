"""What the journal has of an answer's grounds, whatever becomes of its attempts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.decision import Arm, Grounding, RagTerms
from gateway.core.event import Closing
from gateway.core.grounds import Gap, Grounds, UsedSource
from gateway.core.usage import Usage
from gateway.ledger.entry import Entry
from gateway.ledger.records import Final, Intent
from tests.fakes.books import Books, books
from tests.fakes.calls import DIRECT, NOON, SUPPORT, chat, decided, facts

RAG = Arm(path="rag", upstream="main", model="gpt-4.1-mini", collections=("help",))
GAP = Gap(NOON, ("help",), "no_match", "What?", None, "fallback")
CITED = Grounds((UsedSource("help", "a", "v1", cited=True),))
OK = Closing("ok", 200, usage=Usage(1_000, 10))
FAILED = Closing("upstream_error", 502, "upstream_failed")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Books]:
    with books(tmp_path) as opened:
        yield opened


def opened(made: Books, *arms: Arm) -> Entry:
    return made.open(chat(), SUPPORT, decided(*arms), facts())


def kept(made: Books) -> list[Grounds | None]:
    return [one.grounds for one in made.records() if isinstance(one, Final)]


def test_an_intent_says_what_is_in_the_prompt_and_not_what_will_be_cited(made: Books) -> None:
    entry = opened(made, RAG)
    entry.note(lambda: CITED)
    entry.start(RAG, 70)
    (intent,) = made.records()
    assert isinstance(intent, Intent)
    assert intent.grounds == Grounds((UsedSource("help", "a", "v1", cited=None),))
    entry.close(OK)
    assert kept(made) == [CITED]


def test_a_plain_call_has_none(made: Books) -> None:
    entry = opened(made, DIRECT)
    entry.start(DIRECT)
    entry.close(OK)
    assert kept(made) == [None]


def test_sources_of_an_attempt_that_failed_are_not_those_of_the_answer(made: Books) -> None:
    entry = opened(made, RAG, DIRECT)
    entry.note(lambda: CITED)
    entry.start(RAG, 70)
    entry.fail(FAILED)
    entry.start(DIRECT)
    entry.close(OK)
    assert kept(made) == [None, None]


def test_a_gap_belongs_to_the_call_and_is_in_each_of_its_ends(made: Books) -> None:
    entry = opened(made, RAG, DIRECT, DIRECT)
    entry.note(lambda: Grounds(gap=GAP))
    entry.start(DIRECT)
    entry.fail(FAILED)
    entry.start(DIRECT)
    entry.close(OK)
    assert kept(made) == [Grounds(gap=GAP), Grounds(gap=GAP)]


def test_a_gap_is_kept_though_nothing_could_be_sent(made: Books) -> None:
    entry = opened(made, RAG, DIRECT)
    entry.note(lambda: Grounds(gap=GAP))
    entry.start(DIRECT)
    entry.void()
    entry.close(FAILED)
    assert kept(made) == [Grounds(gap=GAP)]


def test_an_answer_that_nobody_got_leaves_no_sources(made: Books) -> None:
    entry = opened(made, RAG)
    entry.note(lambda: CITED)
    entry.start(RAG, 70)
    entry.close(FAILED)
    assert kept(made) == [Grounds()]


def test_a_copy_leaves_nothing(made: Books) -> None:
    entry = made.ledger.open_beside(chat(), decided(RAG), facts(), "shadow")
    entry.note(lambda: Grounds((UsedSource("help", "a", "v1"),), GAP))
    entry.start(RAG, 70)
    entry.close(OK)
    assert kept(made) == [None]


def test_injected_sources_are_a_share_of_the_input_and_no_more_than_it(made: Books) -> None:
    entry = opened(made, RAG)
    entry.start(RAG, 250)
    event = entry.close(OK)
    assert dict(event.cost_by_kind)["retrieval"] == 250_000
    assert dict(event.cost_by_kind)["input"] == 750_000
    assert event.cost_nano_usd == sum(nano for _, nano in event.cost_by_kind)
    small = opened(made, RAG)
    small.start(RAG, 250)
    event = small.close(Closing("ok", 200, usage=Usage(100, 1, cached_tokens=40)))
    assert (event.context_tokens, dict(event.cost_by_kind)["input"]) == (60, 0)
    assert event.cost_nano_usd == sum(nano for _, nano in event.cost_by_kind)


def test_what_a_second_try_and_another_model_may_cost_is_set_aside(made: Books) -> None:
    made.ledger.context_tokens = 1_000
    made.budget(10**12)
    opened(made, RAG)
    once = made.money()[2]
    retries = RagTerms(grounding=Grounding(action="retry"))
    opened(made, Arm(path="rag", upstream="main", model="gpt-4.1-mini", collections=("help",), terms=retries))
    assert made.money()[2] - once == once + 1_000 * 1_000
