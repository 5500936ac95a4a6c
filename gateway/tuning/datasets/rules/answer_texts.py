"""Q010, Q015 to Q019: an answer by itself. Cut off, not filled in, wrongly decoded, the same words over and over."""

import json
import re

from gateway.tuning.datasets.faults import Code, Context, Family
from gateway.tuning.datasets.rows import Row


class Texts:
    """Answers that are worth nothing by themselves: cut off, templates not filled in, the same words over and over."""

    def __init__(self, context: Context) -> None:
        self._told = context.told

    def row(self, row: Row) -> None:
        answer = row.answer
        text = "" if answer is None else answer.text
        if answer is None or not text:
            return
        if text.count("```") % 2 or _is_cut_json(text):
            self._told.row("Q010", row, answer.place, "the answer looks cut off: what it opens it does not close")
        hole = _HOLE.search(text) if any(mark in text for mark in _HOLE_MARKS) else None
        if hole is not None and hole[0].lower() not in "\n".join(turn.text for turn in row.prompt).lower():
            self._told.row(
                "Q015", row, answer.place, f"the answer holds a place that nobody filled in: {hole[0][:40]!r}"
            )
        broken = None if text.isascii() else _BROKEN.search(text)
        if broken is not None:
            told = (
                "text that was decoded wrongly once" if broken[0] != "\ufffd" else "a character that could not be read"
            )
            self._told.row("Q016", row, answer.place, f"the answer holds {told}: {broken[0]!r}")
        if "s a" in text and _SELF.search(text):
            self._told.row("Q017", row, answer.place, "the answer speaks of itself as a language model")
        if len(text) > 400:
            words = text.lower().split()
            if len(set(words)) < 0.1 * len(words) or (len(words) < 40 and _REPEATED.match(text)):
                self._told.row("Q019", row, answer.place, "the answer says the same over and over")

    def end(self) -> None:
        pass


_HOLE = re.compile(
    r"\[(?:your|insert|customer|company|agent|user)[ _][\w ]{2,30}\]|\{\{ ?[\w.]{2,40} ?\}\}|\bTODO\b|\blorem ipsum\b"
    r"|<(?:your|insert)[ _-][\w -]{2,30}>|\bXX{2,}\b",
    re.IGNORECASE,
)
_HOLE_MARKS = ("[", "{{", "<", "TODO", "XX", "orem ")
_BROKEN = re.compile("Ã[\x80-\xbf¡-¿€-™]|â€[™œ\x9d“”¢¦]|Â[\xa0£°«»©®]|\ufffd")
_SELF = re.compile(
    r"\bas an? (?:ai|artificial intelligence|large language model|language model|ai assistant)\b", re.IGNORECASE
)
_REPEATED = re.compile(r"(.{5,60}?)\1{9,}")


def _is_cut_json(text: str) -> bool:
    bare = text.strip()
    if not bare.startswith(('{"', "{\n", "[{", '["')):
        return False
    try:
        json.loads(bare)
    except json.JSONDecodeError as fault:
        return fault.pos >= len(bare) - 1 or fault.msg.startswith("Unterminated")
    except (ValueError, RecursionError):
        return False
    return False


FAMILY = Family(
    "Quality: single answers",
    (
        Code("Q010", "warning", "An answer that looks cut off."),
        Code("Q015", "warning", "A place in the answer that nobody filled in, such as `[your name]`."),
        Code("Q016", "warning", "Text that was decoded wrongly once, such as `cafÃ©`."),
        Code("Q017", "warning", "The answer speaks of itself as a language model."),
        Code("Q019", "warning", "An answer that says the same over and over."),
    ),
    Texts,
)
