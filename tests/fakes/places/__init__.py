"""The places that connectors ask, as far as their documentation says how they answer: one file each.

Each has `write`, which makes its documents exactly these, and `answer`. Times move on with each edit.
"""

from datetime import UTC, datetime, timedelta

FIRST = datetime(2026, 1, 1, tzinfo=UTC)


class Edits:
    """Documents by name with a number, a text and the time of the last edit."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.texts: dict[str, str] = {}
        self.stamps: dict[str, str] = {}
        self.gone: dict[str, str] = {}
        self.is_away = False
        self.url = ""
        self._ticks = 0

    def write(self, documents: dict[str, str]) -> None:
        for name in self.texts.keys() - documents.keys():
            del self.texts[name]
            self.gone[name] = self.tick()
        for name, text in documents.items():
            if self.texts.get(name) != text:
                self.texts[name] = text
                self.gone.pop(name, None)
                self.numbers.setdefault(name, len(self.numbers) + 1)
                self.stamps[name] = self.tick()

    def tick(self) -> str:
        self._ticks += 1
        return (FIRST + timedelta(seconds=self._ticks)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def name_of(self, identity: str) -> str:
        return next(name for name, number in self.numbers.items() if str(number) == identity)

    def there(self, identity: str) -> str | None:
        """The name of a document that is there now."""
        return next((name for name in self.texts if str(self.numbers[name]) == identity), None)

    def in_order(self, *, newest_first: bool = False) -> list[str]:
        return sorted(self.texts, key=lambda name: self.stamps[name], reverse=newest_first)
