"""P: secrets and personal data, by their form."""

from collections.abc import Iterator
from functools import lru_cache

from gateway.tuning.datasets.faults import Code, Context, Family
from gateway.tuning.datasets.json_text import strings_of
from gateway.tuning.datasets.personal import Kind, Personal, personal_data
from gateway.tuning.datasets.places import Place
from gateway.tuning.datasets.rows import CHOSEN, REJECTED, Row

FIRST: Place = ("messages", 0, "content")
# Shorter than the shortest of all these forms.
LEAST = 6
CODES: dict[Kind, tuple[str, str]] = {
    "SECRET": ("P001", "a secret"),
    "EMAIL": ("P002", "a mail address"),
    "PHONE": ("P003", "a telephone number"),
    "CARD": ("P004", "a card number"),
    "IBAN": ("P005", "a bank account (IBAN)"),
    "IP": ("P006", "an IP address"),
    "ID": ("P007", "a national identity number"),
}


class Privacy:
    """Looks into every string of a row; what is found is never repeated in a message."""

    def __init__(self, context: Context) -> None:
        self._told = context.told

    def row(self, row: Row) -> None:
        for place, text in _texts(row):
            if len(text) < LEAST or text.startswith("data:image/"):
                continue
            counts: dict[Kind, int] = {}
            for found in _in_prompt(text) if place == FIRST else personal_data(text):
                counts[found.kind] = counts.get(found.kind, 0) + 1
            for kind, count in counts.items():
                code, name = CODES[kind]
                self._told.row(code, row, place, name if count == 1 else f"{name}, {count} times")

    def end(self) -> None:
        pass


@lru_cache(maxsize=16)
def _in_prompt(text: str) -> tuple[Personal, ...]:
    # A system prompt stands in every row.
    return tuple(personal_data(text))


def _texts(row: Row) -> Iterator[tuple[Place, str]]:
    """Every string of the row; of plain messages, which are nearly all, only the content."""
    for turn in row.all_turns():
        content = turn.message.get("content")
        if len(turn.message) == 2 and isinstance(content, str):
            yield (*turn.place, "content"), content
        else:
            yield from strings_of(turn.message, turn.place)
    for key, value in row.data.items():
        if not _is_told(row, key):
            yield from strings_of(value, (key,))


def _is_told(row: Row, key: str) -> bool:
    return key in {"messages", *CHOSEN, *REJECTED} and bool(row.turns or row.chosen or row.rejected)


FAMILY = Family(
    "Privacy",
    (
        Code("P001", "error", "A secret: a key, a token, a password."),
        Code("P002", "warning", "A mail address."),
        Code("P003", "warning", "A telephone number."),
        Code("P004", "error", "A card number (its check sum works out)."),
        Code("P005", "warning", "A bank account's IBAN (its check sum works out)."),
        Code("P006", "warning", "An IP address."),
        Code("P007", "warning", "A national identity number (US, GB, ES, BR)."),
    ),
    Privacy,
)
