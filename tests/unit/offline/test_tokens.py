"""The offline upstream's own count: words and marks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.offline.tokens import count_tokens, pieces_of


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("  \n", 0),
        ("Hello", 1),
        ("Hello, world!", 4),
        ("a" * 33, 3),
        ("snake_case 12", 2),
        ("日本 語", 2),
    ],
)
def test_words_and_marks_are_counted(text: str, count: int) -> None:
    assert count_tokens(text) == count


@given(st.text())
def test_the_pieces_are_the_text_and_as_many_as_its_tokens(text: str) -> None:
    """A stream sends the pieces and bills the count: they must be the same text and the same number."""
    pieces = pieces_of(text)
    assert "".join(pieces) == text
    assert len(pieces) == count_tokens(text) or (len(pieces) == 1 and not text.strip())
