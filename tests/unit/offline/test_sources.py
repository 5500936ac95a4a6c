"""A prompt that brings numbered sources is answered from them."""

import pytest

from gateway.core.call import Turn
from gateway.offline.sources import best_sentence, grounds_of, read_sources

BLOCK = """Answer only from these sources.

[1] Refunds
Refunds take 5 business days. They go to the card that paid.

[2] Cards
A lost card is blocked in the app. A new card arrives in 7 days.
"""


def test_each_source_runs_to_the_next_number() -> None:
    found = read_sources(BLOCK)
    assert [source.number for source in found] == [1, 2]
    assert found[0].text.startswith("Refunds\nRefunds take")
    assert "lost card" in found[1].text


@pytest.mark.parametrize("text", ["", "no sources", "[2] begins at two", "see [1] in a line"])
def test_other_text_has_no_sources(text: str) -> None:
    assert read_sources(text) == ()


@pytest.mark.parametrize(
    "turns",
    [
        (Turn(role="system", text=BLOCK), Turn(role="user", text="How long do refunds take?")),
        (
            Turn(role="user", text="Hi"),
            Turn(role="user", text=BLOCK),
            Turn(role="user", text="How long do refunds take?"),
        ),
        (Turn(role="user", text=f"{BLOCK}\nHow long do refunds take?"),),
    ],
)
def test_the_question_and_the_sources_are_found_where_they_stand(turns: tuple[Turn, ...]) -> None:
    grounds = grounds_of(turns)
    assert grounds.question == "How long do refunds take?"
    assert len(grounds.sources) == 2
    assert best_sentence(grounds.question, grounds.sources) == ("Refunds take 5 business days.", 1)


@pytest.mark.parametrize(
    ("question", "number"),
    [
        ("What about a lost card?", 2),
        ("When does the new card arrive?", 2),
        ("Where does the refund go, which card paid?", 1),
    ],
)
def test_the_sentence_that_shares_most_wins(question: str, number: int) -> None:
    best = best_sentence(question, read_sources(BLOCK))
    assert best is not None
    assert best[1] == number


def test_nothing_shared_is_nothing_found() -> None:
    assert best_sentence("Qui êtes-vous?", read_sources(BLOCK)) is None
    assert best_sentence("", read_sources(BLOCK)) is None
