"""Q005 to Q013: what all answers together look like. One form, one set of labels, one language, no refusals."""

import json
import re
from collections import Counter
from collections.abc import Iterable

from gateway.policy.language import language_of
from gateway.tuning.datasets.faults import Code, Context, Family
from gateway.tuning.datasets.rows import SYSTEM, Row

LEAST_ROWS = 20
MOSTLY = 0.8
REFUSALS = 0.2
# Labels are short and come again; a file with more different answers than this is no classification.
LABEL_LENGTH = 60
MOST_LABELS = 2_000
MOST_SHOWN = 3
MOST_TEXTS = 300
LEAST_LETTERS = 80
_NOT = r"(?:can'?t|cannot|can not|am unable to|'?m unable to|am not able to|won'?t)"
_REFUSAL = re.compile(
    rf"\W{{0,3}}(?:(?:i'?m |i am )?(?:very |so )?(?:sorry|afraid)\b.{{0,40}}?\b(?:{_NOT}|unable|not able|don'?t have)\b"
    rf"|i {_NOT} (?:\w+ )?(?:answer|help|assist|provide|do|comply)"
    r"|as an? (?:ai|language model|artificial))",
    re.IGNORECASE,
)
_ALNUM = re.compile(r"[\W_]+")


class Answers:
    """Counts the forms of answers; of texts it holds at most 300 beginnings, for their language."""

    def __init__(self, context: Context) -> None:
        self._told = context.told
        self._rows = self._json = self._refusals = 0
        self._not_json: list[int] = []
        self._broken: list[tuple[int, int]] = []
        self._keys: Counter[tuple[str, ...]] = Counter()
        self._key_lines: dict[tuple[str, ...], int] = {}
        self._labels: Counter[str] = Counter()
        self._label_lines: dict[str, int] = {}
        self._systems: Counter[int] = Counter()
        self._texts: list[str] = []

    def row(self, row: Row) -> None:
        answer = row.answer
        self._systems[hash(tuple(turn.text for turn in row.turns if turn.role in SYSTEM))] += len(self._systems) < 5_000
        if answer is None or not answer.text.strip():
            return
        self._rows += 1
        text = answer.text.strip()
        if _REFUSAL.match(text):
            self._refusals += 1
        self._form(row, text)
        self._label(row, text)
        # Evenly over a file of any length: all at first, then ever fewer.
        if len(text) >= LEAST_LETTERS and (len(self._texts) < 100 or row.line % 50 == 0):
            self._texts = [*self._texts, text[:500]] if len(self._texts) < MOST_TEXTS else self._texts

    def end(self) -> None:
        self._say_forms()
        if self._rows >= LEAST_ROWS:
            if self._refusals > REFUSALS * self._rows:
                told = f"{self._refusals} of {self._rows} answers ({self._refusals / self._rows:.0%}) refuse"
                self._told.file("Q005", f"{told}; the model will refuse as often")
            self._say_labels()
        if len(self._systems) > 1:
            told = (
                f"{len(self._systems)} different system prompts (one may be none); calls must send the one trained with"
            )
            self._told.file("Q006", told)
        self._say_languages()

    def _form(self, row: Row, text: str) -> None:
        if text[0] not in "{[":
            if len(self._not_json) < MOST_SHOWN:
                self._not_json.append(row.line)
            return
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            if len(self._not_json) < MOST_SHOWN:
                self._not_json.append(row.line)
            return
        self._json += 1
        if isinstance(value, dict) and len(self._keys) < 200:
            keys = tuple(sorted(value))
            self._keys[keys] += 1
            self._key_lines.setdefault(keys, row.line)

    def _label(self, row: Row, text: str) -> None:
        if len(text) <= LABEL_LENGTH and "\n" not in text and (text in self._labels or len(self._labels) < MOST_LABELS):
            self._labels[text] += 1
            self._label_lines.setdefault(text, row.line)

    def _say_forms(self) -> None:
        others = self._rows - self._json
        if self._rows >= 5 and others and self._json >= MOSTLY * self._rows:
            told = f"{self._json} of {self._rows} answers are JSON and {others} are not (lines {_some(self._not_json)})"
            self._told.file("Q011", told)
        if self._json < LEAST_ROWS or not self._keys:
            return
        (usual, count), *rest = self._keys.most_common()
        if rest and count >= MOSTLY * self._json:
            keys, odd = rest[0]
            told = f"{count} of {self._json} JSON answers have the keys {', '.join(usual) or '(none)'}"
            line = self._key_lines[keys]
            self._told.file("Q012", f"{told}; {odd} have {', '.join(keys) or '(none)'} (first in line {line})")

    def _say_labels(self) -> None:
        total = self._labels.total()
        if total < MOSTLY * self._rows or len(self._labels) * 3 > self._rows or len(self._labels) < 2:
            return
        (most, count), *_, (least, few) = self._labels.most_common()
        if count > max(10 * few, 1.5 * total / len(self._labels)):
            told = f"the label {most!r} stands {count} times and {least!r} {few} times, of {total} rows"
            self._told.file("Q007", f"{told}; the rarest are hardly learned")
        spelled: dict[str, list[str]] = {}
        for label in self._labels:
            spelled.setdefault(_ALNUM.sub("", label.casefold()), []).append(label)
        for labels in spelled.values():
            if len(labels) > 1:
                parts = (f"{label!r} {self._labels[label]} times (line {self._label_lines[label]})" for label in labels)
                self._told.file("Q013", f"one label in {len(labels)} spellings: {', '.join(parts)}")

    def _say_languages(self) -> None:
        if len(self._texts) < LEAST_ROWS:
            return
        counts = Counter(code for code in map(language_of, self._texts) if code)
        (usual, count), *rest = counts.most_common() or [("", 0)]
        others = [(code, few) for code, few in rest if few >= max(3, 0.03 * counts.total())]
        if others:
            told = ", ".join(f"{code} {few / counts.total():.0%}" for code, few in [(usual, count), *others])
            self._told.file("Q008", f"answers are in more than one language: {told} of {counts.total()} looked at")


def _some(lines: Iterable[int]) -> str:
    return ", ".join(map(str, lines))


FAMILY = Family(
    "Quality: the answers together",
    (
        Code("Q005", "warning", "More than a fifth of the answers refuse."),
        Code("Q006", "info", "More than one system prompt."),
        Code("Q007", "warning", "Labels of a classification stand very unevenly."),
        Code("Q008", "info", "Answers in more than one language."),
        Code("Q011", "warning", "Most answers are JSON, and some are not."),
        Code("Q012", "warning", "Most JSON answers have the same keys, and some have others."),
        Code("Q013", "warning", "One label in several spellings (case, spaces, punctuation)."),
    ),
    Answers,
)
