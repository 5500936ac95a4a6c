from gateway.wire.tokens import MAX_COUNTED, count_tokens


def test_counts_are_those_of_openais_vocabulary() -> None:
    assert count_tokens("") == 0
    assert count_tokens("Hello, world!") == 4
    assert count_tokens("<|endoftext|>") > 1, "text that looks like a special token is text"


def test_rare_characters_of_many_tokens_are_counted_too() -> None:
    """The library refuses more than 200,000 tokens at once; a reply of those would have been a 500."""
    assert count_tokens("\U00012000" * MAX_COUNTED) >= 2 * MAX_COUNTED


def test_past_the_limit_the_rest_is_scaled() -> None:
    """A caller chooses the length; counting must not."""
    word = "word "
    exact = count_tokens(word * (MAX_COUNTED // 5))
    assert abs(count_tokens(word * (MAX_COUNTED // 5) * 10) - 10 * exact) <= 10
