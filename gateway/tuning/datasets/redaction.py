"""Secrets and personal data replaced by pseudonyms: `<EMAIL_1>`, the same for the same value within a row.

Which value was whose is held for a row and then forgotten: there is no way back, and nothing to keep safe.
"""

import json
from collections import Counter
from collections.abc import Mapping

from gateway.tuning.datasets.personal import Kind, personal_data

# What names a thing and is no text: replaced there, a row would no longer mean what it did.
KEPT = frozenset({"role", "type", "tool_call_id", "weight"})


def redacted(data: Mapping[str, object], counts: Counter[Kind] | None = None) -> Mapping[str, object]:
    """The row with pseudonyms in every string; the same object when there was nothing to replace.

    counts: how many stretches were replaced, by kind, added up here.
    """
    pseudonyms = _Pseudonyms(counts if counts is not None else Counter())
    after = pseudonyms.of(data)
    return after if pseudonyms.is_used and isinstance(after, dict) else data


class _Pseudonyms:
    """One row's."""

    def __init__(self, counts: Counter[Kind]) -> None:
        self._counts = counts
        self._known: dict[tuple[Kind, str], str] = {}
        self._numbers: Counter[Kind] = Counter()

    @property
    def is_used(self) -> bool:
        return bool(self._known)

    def of(self, value: object) -> object:
        if isinstance(value, str):
            return value if value.startswith("data:image/") else self._text(value)
        if isinstance(value, list):
            return [self.of(member) for member in value]
        if isinstance(value, dict):
            kept = KEPT | {"id"} if "function" in value else KEPT
            return {key: member if key in kept else self.of(member) for key, member in value.items()}
        return value

    def _text(self, text: str) -> str:
        parts, at = [], 0
        for found in personal_data(text):
            parts += [text[at : found.start], self._name(found.kind, text[found.start : found.end])]
            at = found.end
        return self._still_json(text, "".join((*parts, text[at:]))) if parts else text

    def _still_json(self, before: str, after: str) -> str:
        """`after`; where `before` was JSON and a number in it was replaced, the same with the pseudonym as a string."""
        if before.lstrip()[:1] not in {"{", "["}:
            return after
        try:
            value = json.loads(before)
        except (ValueError, RecursionError):
            return after
        try:
            json.loads(after)
        except ValueError:
            return json.dumps(self._numbers_too(value), ensure_ascii=False)
        return after

    def _numbers_too(self, value: object) -> object:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            named = self._text(str(value))
            return value if named == str(value) else named
        if isinstance(value, list):
            return [self._numbers_too(member) for member in value]
        if isinstance(value, dict):
            return {key: self._numbers_too(member) for key, member in value.items()}
        return self.of(value)

    def _name(self, kind: Kind, value: str) -> str:
        self._counts[kind] += 1
        # Written with and without spaces, in capitals or not, it is the same address or number.
        plain = "".join(character for character in value.lower() if character.isalnum() or character in "@.+")
        known = self._known.get((kind, plain))
        if known is None:
            self._numbers[kind] += 1
            known = self._known[kind, plain] = f"<{kind}_{self._numbers[kind]}>"
        return known
