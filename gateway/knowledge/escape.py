"""Text of documents made harmless inside a block: it stays readable, and cannot end the block."""

import re
import unicodedata

# What a lenient reader takes for the bracket of a tag.
_BRACKET = re.compile("[<＜﹤‹〈〈⟨˂ᐸ❮❬⧼⦑❰⟪《«⦉≪⋖ᚲ𝈶𖼿]")  # noqa: RUF001 - look-alikes
_NAME = "source"
# Letters that look like those of the name and are not made plain by NFKC.
_WRITTEN = {"s": "ѕꜱƨ", "o": "оοօ๐〇0ᴏ", "u": "υսᴜ", "r": "гʀᴦⲅ", "c": "сϲᴄ", "e": "еєҽ℮εᴇ", "/": "∕⁄⧸╱⟋"}  # noqa: RUF001 - look-alikes
_LOOK_ALIKE = str.maketrans({letter: plain for plain, letters in _WRITTEN.items() for letter in letters})
# Marks that chat templates of open models read as the start or end of a turn.
_TEMPLATE = re.compile(
    r"[<＜](?=[|｜¦])"  # noqa: RUF001 - look-alikes
    r"|<(?=/?(?:s|bos|eos|pad|unk|system|developer|user|assistant|tool|function|think|tool_call|tool_calls|tool_response"
    r"|function_calls?|start_of_turn|end_of_turn|start_of_image|im_start|im_end)\s*>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])|<(?=<?/?SYS>>)",
    re.IGNORECASE,
)
# Invisible letters that spell instructions (U+E0000), bidirectional overrides, and control characters.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_UNREAD = frozenset({"Mn", "Me", "Cf", "Cc", "Co", "Cn"})
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u17b4\u17b5")
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
    return _BRACKET.sub(lambda found: "&lt;" if names_a_tag(seen, found.end()) else found[0], seen)


def names_a_tag(text: str, at: int) -> bool:
    """Whether what stands here reads as the name of the block's tags, however it is written."""
    read = 0
    # However far off: a reader takes no count of what cannot be seen. It ends at the next bracket at the latest, so
    # that no part of a text is looked at for two of them.
    for place in range(at, len(text)):
        for plain in unicodedata.normalize("NFKD", text[place]).casefold():
            # Spaces, marks above letters, and what cannot be seen; hyphens that are only sometimes seen among it.
            if plain.isspace() or unicodedata.category(plain) in _UNREAD or plain in _FILLERS:
                continue
            letter = plain.translate(_LOOK_ALIKE)
            if letter == "/" and not read:
                continue
            if letter != _NAME[read]:
                return False
            read += 1
            if read == len(_NAME):
                return True
    return False


def escape_label(text: str, delimiter: str) -> str:
    """A title or address for use between double quotes: one line, at most 200 characters."""
    flat = _SPACE.sub(" ", escape_text(text, delimiter)).strip()[:MOST_LABEL_CHARACTERS]
    return flat.replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
