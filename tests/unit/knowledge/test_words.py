from gateway.knowledge.words import MOST_WORDS, question_words


def test_stop_words_go_and_order_stays() -> None:
    assert question_words("How long do the refunds take, and where do refunds go?") == ("long", "refunds", "take", "go")


def test_only_letters_and_digits_are_left() -> None:
    """What reaches FTS5 stands in quotes and can hold no operator."""
    words = question_words('NEAR("a b") AND x:y -z* wi-fi_6 "quoted" OR 4821 {col}: ^')
    assert all(word.isalnum() for word in words)
    assert {"wi", "fi", "6", "4821"} <= set(words)


def test_a_question_of_stop_words_keeps_them() -> None:
    assert question_words("What is this?") == ("what", "is", "this")
    assert question_words("?!") == ()


def test_a_long_text_gives_both_its_ends() -> None:
    words = question_words(" ".join(f"word{n}" for n in range(1000)))
    assert len(words) == MOST_WORDS
    assert words[0] == "word0"
    assert words[-1] == "word999"
