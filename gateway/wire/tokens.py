"""Token counts by OpenAI's own vocabulary, offline."""

import importlib
from functools import cache
from typing import Protocol, cast

# Counting is linear, but a caller chooses the length: past this the rest is scaled from what was counted.
MAX_COUNTED = 200_000


class Encoding(Protocol):
    def encode(self, text: str) -> list[int]: ...


@cache
def _encoding() -> Encoding:
    # Loaded on the first estimate and not before: it takes 140 MB and 0.2 s, and most processes never estimate.
    return cast("Encoding", importlib.import_module("bpe_openai").get_encoding("o200k_base"))


def count_tokens(text: str) -> int:
    """Tokens of `text` in o200k_base; past 200,000 characters an extrapolation."""
    if not text:
        return 0
    head = text[:MAX_COUNTED]
    counted = len(_encoding().encode(head))
    return counted if len(head) == len(text) else -(-counted * len(text) // len(head))
