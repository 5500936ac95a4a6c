from gateway.core.question import BEGINNING, END, cut_question


def test_a_short_text_is_shown_whole() -> None:
    assert cut_question("How long do refunds take?") == "How long do refunds take?"
    assert cut_question("x" * (BEGINNING + END)) == "x" * (BEGINNING + END)


def test_of_a_long_text_both_ends_are_shown() -> None:
    text = "Summarise this." + " filler" * 200 + " What does it cost?"
    cut = cut_question(text)
    assert cut.startswith("Summarise this.")
    assert cut.endswith("What does it cost?")
    assert len(cut) == BEGINNING + END + 1


def test_an_embedder_is_never_shown_nothing() -> None:
    """Upstreams refuse an empty input."""
    assert cut_question("").strip()
    assert cut_question(" \n ").strip()
