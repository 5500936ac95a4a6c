"""Q009, Q018: answers that state facts which change. Such rows belong in documents that are looked up, not in a model.

A model that has learned a price goes on naming it after it changed, and cannot be told otherwise but by training it
anew. A fact that stands in the row's own prompt is no such fact: there the model learns to read.
"""

import re
from collections import Counter
from itertools import islice

import re2

from gateway.tuning.datasets.faults import Code, Context, Family
from gateway.tuning.datasets.rows import Row

SHOWN_LINES = 3
MOST_OF_A_KIND = 100
_CURRENCY = r"[$€£¥₹]|USD|EUR|GBP|CHF|JPY|INR|CAD|AUD"
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DAY = r"(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?s?"
_TO = r" ?(?:-|\x{2013}|to|through|until) ?"
_SPAN = rf"\d+(?:{_TO}\d+)?"
_PLANS = r"(?:free|basic|starter|pro|plus|premium|business|team|enterprise)"
_KINDS: dict[str, str | tuple[str, ...]] = {
    "address on the web": r"https?://[^\s\"'<>)]+|\bwww\.[\w-]+\.\w+[^\s\"'<>)]*",
    "mail address": r"[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{2,63}",
    "price": rf"(?:{_CURRENCY}) ?\d[\d.,]*|\b\d[\d.,]* ?(?:(?:{_CURRENCY})|dollars?\b|euros?\b|pounds?\b|cents?\b)",
    "rate": r"\b\d{1,3}(?:[.,]\d+)? ?(?:%|percent\b|per cent\b)",
    "date": (
        r"\b\d{4}-\d{2}-\d{2}\b",
        r"\b\d{1,2}[./]\d{1,2}[./](?:\d{4}|\d{2})\b",
        rf"\b{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?\b(?:,? \d{{4}})?",
        rf"\b\d{{1,2}}(?:st|nd|rd|th|\.)? (?:of )?{_MONTH}\b(?: \d{{4}})?",
        rf"\b{_MONTH} 20\d{{2}}\b",
    ),
    "opening hours": (
        rf"\b\d{{1,2}}(?::\d{{2}})?{_TO}\d{{1,2}}(?::\d{{2}})? ?[ap]\.?m\b\.?",
        r"\b\d{1,2}(?::\d{2})? ?[ap]\.?m\b\.?",
        rf"\b\d{{1,2}}:\d{{2}}{_TO}\d{{1,2}}:\d{{2}}",
        rf"\b{_DAY}{_TO}{_DAY}\b",
        r"\b24/7\b",
    ),
    "telephone number": (
        r"(?:\+|\b00)\d[\d ()/.-]{6,17}\d",
        r"(?:\(\d{3}\) ?|\b\d{3}[-. ])\d{3}[-. ]\d{4}\b",
        r"\b1?[- ]?8(?:00|88|77|66)-\w{3}-\w{4}\b",
    ),
    "version": (
        r"\bv\d+(?:\.\d+)+\b",
        r"\b(?:version|release|build|firmware|ios|android|windows|macos|python) \d+(?:\.\d+)*\b",
    ),
    "deadline or limit": (
        rf"\b(?:with)?in(?: about)? {_SPAN} (?:business |working )?(?:hours?|days?|weeks?|months?)\b",
        rf"\b{_SPAN} (?:business |working )(?:hours?|days?|weeks?)\b",
        r"\b\d+[- ]day (?:trial|return|refund|money)",
    ),
    "stock": r"\b(?:in|out of|back in) stock\b|\bsold out\b|\bonly \d+ left\b|\bcurrently (?:un)?available\b",
    "plan": rf"\b{_PLANS} (?:plan|tier|edition)\b",
    "as of now": r"\bas of (?:today|now|this|\d)|\b(?:current|latest) (?:price|rate|version|fee|release)\b",
}
_OPTIONS = re2.Options()
_OPTIONS.case_sensitive = False
_JOINED = {kind: forms if isinstance(forms, str) else "|".join(forms) for kind, forms in _KINDS.items()}
_PATTERNS = {kind: re2.compile(pattern, _OPTIONS) for kind, pattern in _JOINED.items()}
# Which kinds an answer holds, in one pass over it; most hold none. RE2 takes a time that grows with the length alone.
_ANY = re2.Set.SearchSet(_OPTIONS)
for _pattern in _JOINED.values():
    _ANY.Add(_pattern)
_ANY.Compile()
_ORDER = tuple(_KINDS)
_SPACE = re.compile(r"[\s,]+")


class Volatile:
    """Counts the facts by kind, and remembers the first lines of each."""

    def __init__(self, context: Context) -> None:
        self._told = context.told
        self._answers = self._rows = 0
        self._kinds: Counter[str] = Counter()
        self._lines: dict[str, list[int]] = {}

    def row(self, row: Row) -> None:
        answer = row.answer
        if answer is None or not answer.text:
            return
        self._answers += 1
        facts = _facts(answer.text)
        if not facts:
            return
        # Told anywhere before the answer, an earlier answer included, it is there to be read.
        asked = _bare("\n".join(turn.text for turn in row.prompt))
        new = [(kind, fact) for kind, fact in facts if _bare(fact) not in asked]
        if not new:
            return
        self._rows += 1
        for kind in dict.fromkeys(kind for kind, _ in new):
            self._kinds[kind] += 1
            lines = self._lines.setdefault(kind, [])
            if len(lines) < SHOWN_LINES:
                lines.append(row.line)
        kinds = ", ".join(f"{kind} {fact[:40]!r}" for kind, fact in new[:3])
        more = f" and {len(new) - 3} more" if len(new) > 3 else ""
        self._told.row("Q018", row, answer.place, f"states what its prompt does not hold and may change: {kinds}{more}")

    def end(self) -> None:
        if not self._rows:
            return
        parts = (
            f"{kind} in {count} (lines {', '.join(map(str, self._lines[kind]))}{', ...' * (count > SHOWN_LINES)})"
            for kind, count in self._kinds.most_common()
        )
        told = f"{self._rows} of {self._answers} answers ({self._rows / self._answers:.0%}) state facts that change"
        self._told.file(
            "Q009",
            f"{told}, and their own prompts do not hold them: {'; '.join(parts)}. Such facts belong in documents that "
            "are looked up (RAG), not in a tuned model",
        )


def _facts(text: str) -> list[tuple[str, str]]:
    """(kind, words) in the order of the text; what two kinds claim is the earlier kind's in the table above."""
    try:
        kinds = [_ORDER[number] for number in sorted(_ANY.Match(text) or ())]
    except UnicodeEncodeError:
        # Half a surrogate pair: RE2 takes UTF-8 only.
        return []
    found: list[tuple[int, int, str]] = []
    taken = bytearray(len(text)) if kinds else bytearray()
    for kind in kinds:
        # So many facts of a kind say enough about one answer.
        for match in islice(_PATTERNS[kind].finditer(text), MOST_OF_A_KIND):
            start, end = match.span()
            if not any(taken[start:end]):
                taken[start:end] = b"\1" * (end - start)
                found.append((start, end, kind))
    return [(kind, text[start:end].strip()) for start, end, kind in sorted(found)]


def _bare(text: str) -> str:
    return _SPACE.sub("", text.lower()).rstrip(".")


FAMILY = Family(
    "Quality: facts that change",
    (
        Code("Q009", "warning", "Answers state prices, dates, hours, addresses: such facts belong in RAG."),
        Code("Q018", "info", "The row states a fact that may change and that its prompt does not hold."),
    ),
    Volatile,
)
