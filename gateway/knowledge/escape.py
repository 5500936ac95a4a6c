"""Text of documents made harmless inside a block: it stays readable, and cannot end the block."""

import re

# The tags of the block, in whatever brackets, case, spacing or invisible letters a document writes them.
_JUNK = (
    r"[\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]*"
)
_WIDE = {"s": "sｓѕ", "o": "oｏоο", "u": "uｕ", "r": "rｒ", "c": "cｃсϲ", "e": "eｅе"}  # noqa: RUF001 - look-alikes
_NAME = _JUNK.join(f"[{letters}{letters.upper()}]" for letters in (_WIDE[letter] for letter in "source"))
_FENCE = re.compile(rf"[<＜﹤‹〈⟨˂](?={_JUNK}[/／∕⁄]?{_JUNK}{_NAME})")  # noqa: RUF001 - look-alikes
# Marks that chat templates of open models read as the start or end of a turn.
_TEMPLATE = re.compile(
    r"<(?=\|)|<(?=/?(?:s|system|user|assistant|start_of_turn|end_of_turn)>)|\[(?=/?INST\])|<(?=<?/?SYS>>)",
    re.IGNORECASE,
)
# Invisible letters that spell instructions (U+E0000), bidirectional overrides, and control characters.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_SPACE = re.compile(r"\s+")

MOST_LABEL_CHARACTERS = 200


def escape_text(text: str, delimiter: str) -> str:
    """A document's text without the delimiter, look-alikes of the block's tags and chat templates' marks."""
    seen = _UNSEEN.sub("", text.replace("\r\n", "\n"))
    # Until none is left: taking one out of the middle of another must not leave one. And before the tags:
    # what closes up must not become a tag.
    while delimiter in seen:
        seen = seen.replace(delimiter, "")
    seen = _TEMPLATE.sub(lambda found: "&lt;" if found[0] == "<" else "&#91;", seen)
    return _FENCE.sub("&lt;", seen)


def escape_label(text: str, delimiter: str) -> str:
    """A title or address for use between double quotes: one line, at most 200 characters."""
    flat = _SPACE.sub(" ", escape_text(text, delimiter)).strip()[:MOST_LABEL_CHARACTERS]
    return flat.replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
