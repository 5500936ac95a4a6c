from gateway.knowledge.chunks import Passage
from gateway.knowledge.distinct import distinct

TEXT = (
    "A card for people who travel often and pay abroad, with support by phone at any hour and in four languages. "
    "The card costs 20 dollars a year and comes with insurance for travel bookings made with the card itself."
)


def passage(document: str, text: str) -> Passage:
    return Passage("c", document, "v", document, text, 0.5)


def test_a_repeated_text_is_kept_once_and_the_best_stays() -> None:
    kept = distinct([passage("a", TEXT), passage("b", TEXT), passage("c", TEXT.upper())], 5)
    assert [hit.document for hit in kept] == ["a"]


def test_another_amount_is_another_fact() -> None:
    kept = distinct([passage("a", TEXT), passage("b", TEXT.replace("20", "25"))], 5)
    assert len(kept) == 2


def test_another_text_stays_and_the_limit_holds() -> None:
    others = [passage(str(n), " ".join(f"w{n}x{i}" for i in range(20))) for n in range(9)]
    assert distinct(others, 4) == tuple(others[:4])


def test_empty_texts_repeat_each_other() -> None:
    assert len(distinct([passage("a", ""), passage("b", "")], 5)) == 1
