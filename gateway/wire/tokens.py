"""Token counts by OpenAI's own vocabularies, offline."""

import importlib
from functools import cache
from typing import Literal, Protocol, cast

EncodingName = Literal["o200k_base", "cl100k_base"]

# Counting is linear, but a caller chooses the length: past this the rest is scaled from what was counted.
MAX_COUNTED = 200_000
# The library refuses to give more than 200,000 tokens at once, and rare characters have four each.
PIECE = 40_000


class Encoding(Protocol):
    def encode_ordinary(self, text: str) -> list[int]: ...


@cache
def _encoding(name: EncodingName) -> Encoding:
    # Loaded on the first estimate and not before: it takes 140 MB and 0.2 s, and most processes never estimate.
    return cast("Encoding", importlib.import_module("bpe_openai").get_encoding(name))


def count_tokens(text: str, encoding: EncodingName = "o200k_base") -> int:
    """Tokens of `text`; past 200,000 characters an extrapolation."""
    if not text:
        return 0
    encode = _encoding(encoding).encode_ordinary
    if len(text) <= PIECE:
        return len(encode(text))
    head = text[:MAX_COUNTED]
    pieces = (head[at : at + PIECE] for at in range(0, len(head), PIECE))
    counted = sum(len(encode(piece)) for piece in pieces)
    return counted if len(head) == len(text) else -(-counted * len(text) // len(head))
