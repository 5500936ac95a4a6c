import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.knowledge.grounding import support

SOURCE = "Refunds to a credit card take five business days. A parcel to Norway costs 1,250.50 crowns since 2024."
OTHER = "The quokka desk opens at 9 and closes at 17."


def score(answer: str, *cited: str, others: tuple[str, ...] = ()) -> float:
    found = support(answer, cited, others).score
    assert found is not None
    return found


def test_an_answer_in_the_words_of_its_source_is_borne() -> None:
    assert score("Refunds to a credit card take five business days [1].", SOURCE) == 1.0
    assert score("A refund to credit cards will take five business days.", SOURCE) > 0.9


def test_an_answer_about_something_else_is_not() -> None:
    assert score("Penguins usually migrate towards Antarctica during winter.", SOURCE) < 0.1


def test_words_count_in_the_cited_sources_when_any_is_cited() -> None:
    answer = "The quokka desk closes early."
    assert score(answer, SOURCE, others=(OTHER,)) < 0.3
    assert support(answer, (), (SOURCE, OTHER)).score == score(answer, SOURCE, OTHER)
    assert score(answer, OTHER) > 0.6


def test_a_rare_word_weighs_more_than_a_common_one() -> None:
    assert score("quokkas pay", "quokka") > score("quokkas pay", "pay")


@pytest.mark.parametrize(
    ("said", "missing"),
    [
        ("It costs 1250.5 crowns.", ()),
        ("It costs 1.250,50 crowns.", ()),
        ("It costs 1 crown.", ("1",)),
        ("It takes 5 days.", ()),
        ("It takes 45 days, since 2024 [1].", ("45",)),
        ("1. Open the page.\n2. Wait 9 hours.", ()),
        ("Call 17 or 18 [2].", ("18",)),
        ("Order A12 takes 30% more.", ("30",)),
        ("`9` twice: 9, 9 and 77, 77.", ("77",)),
    ],
)
def test_numbers_from_nowhere_are_told(said: str, missing: tuple[str, ...]) -> None:
    assert support(said, (SOURCE,), (OTHER,)).missing_numbers == missing


def test_an_answer_without_words_has_no_score() -> None:
    assert support("", (SOURCE,)).score is None
    assert support("42 [1]", (SOURCE,)).score is None


def test_text_without_spaces_is_compared_by_its_pairs() -> None:
    source = "返金には五営業日かかります。"
    assert score("返金は五営業日です。", source) > score("宇宙船は明日出発します。", source)


@given(st.text(max_size=200), st.lists(st.text(max_size=100), max_size=3))
def test_any_text_gives_a_share_and_the_same_one_twice(answer: str, texts: list[str]) -> None:
    found = support(answer, texts[:1], texts[1:])
    assert found == support(answer, texts[:1], texts[1:])
    assert found.score is None or 0 <= found.score <= 1


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=100))
def test_an_answer_that_is_its_source_is_wholly_borne(text: str) -> None:
    assert support(text, [text]).score in {None, 1.0}
