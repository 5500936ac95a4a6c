"""Documents cut into passages of at most 250 tokens that know the headings they stand under."""

import hashlib
import re
from collections.abc import Iterator

from semantic_text_splitter import MarkdownSplitter

from gateway.core.facts import Hit
from gateway.core.values import Value
from gateway.knowledge.document import Document
from gateway.knowledge.stretches import pieces

CHUNKER = "2"  # A part of what a store compares: raised when the cutting changes, so documents are cut anew.
CHUNK_BYTES = (800, 1000)  # 200 to 250 tokens at BYTES_PER_TOKEN; the last of a stretch may have fewer.
BYTES_PER_TOKEN = 4

_SHORT = 2_000  # Characters; a longer text is cut so that an edit in it moves few cuts.
_STRETCH = 16_000
_HEADING_LINE = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*$", re.MULTILINE)
_FENCED = re.compile(r"^ {0,3}(```+|~~~+).*?(?:^ {0,3}\1|\Z)", re.MULTILINE | re.DOTALL)


class Chunking(Value, frozen=True):
    """How a caller wants a document cut, in tokens. overlap: at most half of size."""

    size: int
    overlap: int


class Chunk(Value, frozen=True):
    """A passage of a document.

    ordinal: its place in the document, from 0. path: title and headings above it, `Title > Section`;
    searched and embedded before the text. hash: of path and text. tokens: of both, by `estimate_tokens`.
    """

    ordinal: int
    path: str
    text: str
    hash: str
    tokens: int


class Passage(Hit, frozen=True):
    """A hit that still knows its place: chunks of one document that follow each other can be merged.

    readers: the document's.
    """

    ordinal: int = 0
    path: str = ""
    readers: tuple[str, ...] | None = None


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has: four bytes of UTF-8 each, rounded up."""
    return -(-len(text.encode(errors="replace")) // BYTES_PER_TOKEN)


def cut(document: Document, chunking: Chunking | None = None) -> tuple[Chunk, ...]:
    """The chunks of a document in reading order. A document without text is one chunk: its title.

    chunking: None for passages of some 200 tokens without overlap, which ranked best; an edit in a long document
    changes few of them, see `pieces`.
    """
    # Half a surrogate pair is in no file, but a program may hand it in; the splitter refuses all of the text.
    title, text = (part.encode("utf-8", "replace").decode() for part in (document.title, document.text))
    body = _without_title(title, text)
    headings = _headings(body)
    chunks: list[Chunk] = []
    for offset, passage in _passages(body, chunking):
        path = " > ".join((title, *_above(headings, offset)))
        chunks.append(_chunk(len(chunks), path, passage))
    return tuple(chunks) or (_chunk(0, title, ""),)


def _passages(text: str, chunking: Chunking | None) -> Iterator[tuple[int, str]]:
    if chunking is None and len(text) > _SHORT:
        # Rounded, for an edit must not move it: each cut depends on it.
        width = max(1, round(len(text.encode(errors="replace")) / len(text)))
        for offset, piece in pieces(text, width):
            passage = piece.strip()
            if passage:
                yield offset + piece.index(passage), passage
        return
    splitter = _splitter(text, chunking)
    for start, stretch in _stretches(text):
        for offset, passage in splitter.chunk_indices(stretch):
            yield start + offset, passage


def _chunk(ordinal: int, path: str, text: str) -> Chunk:
    content = f"{path}\n{text}"
    digest = hashlib.sha256(content.encode(errors="replace")).hexdigest()[:24]
    return Chunk(ordinal, path, text, digest, estimate_tokens(content))


def _splitter(text: str, chunking: Chunking | None) -> MarkdownSplitter:
    # The splitter counts characters fast and bytes only through a callback, twenty times slower;
    # one division keeps passages of other scripts as long as English ones.
    bytes_per_character = max(1.0, len(text.encode(errors="replace")) / max(1, len(text)))
    if chunking is not None:
        size, overlap = (
            int(tokens * BYTES_PER_TOKEN / bytes_per_character) for tokens in (chunking.size, chunking.overlap)
        )
        return MarkdownSplitter(max(1, size), overlap=max(0, min(overlap, size - 1)))
    low, high = (max(50, int(size / bytes_per_character)) for size in CHUNK_BYTES)
    return MarkdownSplitter((low, high))


def _stretches(text: str) -> Iterator[tuple[int, str]]:
    """(offset, part) of a text in parts of at most 16,000 characters, cut where it hurts least.

    The splitter's time grows with the square of a stretch without structure: two megabytes on one line took
    it half a minute, in which nothing else ran.
    """
    start = 0
    while len(text) - start > _STRETCH:
        ends = (text.rfind(mark, start + _STRETCH // 2, start + _STRETCH) for mark in ("\n#", "\n\n", "\n", " "))
        end = next((found for found in ends if found > 0), start + _STRETCH)
        yield start, text[start:end]
        start = end
    yield start, text[start:]


def _without_title(title: str, text: str) -> str:
    """The text without a first heading that only repeats the title: the path says it already."""
    first = _HEADING_LINE.match(text)
    if first and " ".join(first[2].split()) == title:
        return text[first.end() :].lstrip("\n")
    return text


def _headings(text: str) -> list[tuple[int, int, str]]:
    """(offset, level, words) of each heading outside code."""
    visible = _FENCED.sub(lambda code: " " * len(code[0]), text)
    return [(found.start(), len(found[1]), found[2]) for found in _HEADING_LINE.finditer(visible)]


def _above(headings: list[tuple[int, int, str]], offset: int) -> list[str]:
    """The headings that a passage beginning at `offset` stands under; one inside it is not above it."""
    stack: list[tuple[int, str]] = []
    for start, level, words in headings:
        if start > offset:
            break
        while stack and stack[-1][0] >= level:
            stack.pop()
        if start < offset:
            stack.append((level, words))
    return [words for _, words in stack]
