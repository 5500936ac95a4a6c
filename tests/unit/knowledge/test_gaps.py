import random

from hypothesis import given
from hypothesis import strategies as st

from gateway.knowledge.gaps import alike

QUESTIONS = [
    "How do I cancel my subscription?",
    "cancel subscription",
    "I want to cancel the subscription today",
    "Where is my parcel?",
    "parcel is where",
    "Is the quokka desk open on Sundays?",
]


def groups(questions: list[str]) -> list[set[str]]:
    return [{questions[place] for place in places} for places in alike(questions)]


def test_questions_about_the_same_thing_stand_together_largest_first() -> None:
    assert groups(QUESTIONS) == [set(QUESTIONS[:3]), set(QUESTIONS[3:5]), {QUESTIONS[5]}]


def test_their_order_makes_no_difference() -> None:
    wanted = groups(QUESTIONS)
    for seed in range(20):
        mixed = QUESTIONS.copy()
        random.Random(seed).shuffle(mixed)  # an order
        assert groups(mixed) == wanted


def test_the_same_question_asked_often_is_one_group() -> None:
    assert [len(places) for places in alike(["Where is my parcel?"] * 500 + ["Opening hours?"])] == [500, 1]


def test_what_differs_in_each_question_does_not_keep_them_apart() -> None:
    orders = [f"Where is my order {word}?" for word in ("abbot", "baker", "carol", "dunes", "ember")]
    assert groups([*orders, "Opening hours on Sunday"]) == [set(orders), {"Opening hours on Sunday"}]


@given(st.lists(st.text(max_size=30), max_size=12))
def test_every_question_is_in_exactly_one_group(questions: list[str]) -> None:
    places = [place for group in alike(questions) for place in group]
    assert sorted(places) == list(range(len(questions)))
