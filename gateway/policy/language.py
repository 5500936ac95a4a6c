"""Which language a text is in."""

import importlib
from functools import cache
from typing import Protocol, cast

# More than enough to tell; the time grows with the length, and a caller chooses that.
LOOKED_AT = 2_000
# The library's score for a text that holds none of its features.
NOTHING = -1e38


class Identifier(Protocol):
    """What is used of the library."""

    def classify(self, text: str) -> tuple[str, float]:
        """The code, and a score that only compares."""
        ...


@cache
def _identifier() -> Identifier:
    # Loaded by the first policy that asks and not before: it takes about 100 MB and 0.6 s.
    return cast("Identifier", importlib.import_module("py3langid"))


def language_of(text: str) -> str:
    """The ISO 639-1 code of a text's language, such as `de`; "" when nothing in it tells. Takes some 20 us.

    Short texts are guesses: a single word may be in many languages.
    """
    code, score = _identifier().classify(text[:LOOKED_AT])
    return code if score > NOTHING else ""
