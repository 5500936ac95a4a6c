import time

import pytest

from gateway.policy.language import LOOKED_AT, language_of


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("How long does it take until I get my money back?", "en"),
        ("Wie lange dauert es, bis ich mein Geld zurückbekomme?", "de"),
        ("Combien de temps faut-il pour être remboursé ?", "fr"),
        ("返金にはどのくらいかかりますか。", "ja"),
        ("Сколько времени занимает возврат денег?", "ru"),
    ],
)
def test_a_sentence_is_in_its_language(text: str, code: str) -> None:
    assert language_of(text) == code


@pytest.mark.parametrize("text", ["", "   ", "12 34", "\n"])
def test_a_text_without_words_is_in_none(text: str) -> None:
    assert language_of(text) == ""


def test_the_beginning_of_a_long_text_decides_and_bounds_the_work() -> None:
    """The caller chooses how long a text is."""
    english = "How long does it take until I get my money back? " * 60
    began = time.perf_counter()
    assert language_of(english[:LOOKED_AT] + "Wie lange dauert das? " * 100_000) == "en"
    assert time.perf_counter() - began < 1
