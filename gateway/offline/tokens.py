"""The offline upstream's own tokens: words and marks, so that anyone can check a count by eye."""

import re

# A word of up to 16 letters, digits or underscores, or one other mark. Longer words count once per 16, so
# that a megabyte without a space is not one token.
_TOKEN = re.compile(r"\w{1,16}|[^\w\s]")
_PIECE = re.compile(r"\s*(?:\w{1,16}|[^\w\s])")

TOKENS_PER_MESSAGE = 4
TOKENS_TO_PRIME_A_REPLY = 3
TOKENS_PER_IMAGE = 85


def count_tokens(text: str) -> int:
    """How many tokens `text` has here: each word (per 16 characters begun) and each mark is one."""
    return sum(1 for _ in _TOKEN.finditer(text))


def pieces_of(text: str) -> list[str]:
    """The text cut into its tokens, each with the white space before it; joined they are the text again.

    White space at the end goes to the last piece. There are as many pieces as `count_tokens` says, except
    for text that is nothing but white space: one piece.
    """
    found = _PIECE.findall(text)
    rest = text[sum(map(len, found)) :]
    if not rest:
        return found
    return [*found[:-1], found[-1] + rest] if found else [rest]
