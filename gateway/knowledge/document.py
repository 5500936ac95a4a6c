"""A document, and reading one from Markdown, HTML, plain text or a line of JSONL."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

import msgspec
from bs4 import BeautifulSoup, ParserRejectedMarkup
from markdownify import MarkdownConverter

from gateway.core.facts import Attributes
from gateway.core.values import Value

MARKDOWN_SUFFIXES = (".md", ".markdown")
HTML_SUFFIXES = (".html", ".htm")
TEXT_SUFFIXES = (".txt",)

_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*$", re.MULTILINE)
_FENCED = re.compile(r"^ {0,3}(```+|~~~+).*?(?:^ {0,3}\1|\Z)", re.MULTILINE | re.DOTALL)
_BLANK_LINES = re.compile(r"\n[ \t]*\n(?:[ \t]*\n)+")
_TAG = re.compile(r"<[^>]*>?")
# Page furniture: words of the site, not of the document.
_DROPPED_TAGS = ("script", "style", "nav", "noscript", "template", "svg", "iframe", "form", "footer")


class Document(Value, frozen=True):
    """One document as it is searched. text: Markdown. version: a hash of all the rest but the id.

    attributes: sorted by key; filters compare them. filename: what it is called where it came from, "" when that is
    its title. readers: the only teams that may read it, of those that may read its collection; None is all of these.
    """

    id: str
    title: str
    text: str
    url: str | None = None
    version: str = ""
    attributes: Attributes = ()
    filename: str = ""
    readers: tuple[str, ...] | None = None


class _Line(msgspec.Struct):
    """A JSONL line: only these keys are read, `id` before `_id`, `text` before `content` before `body`."""

    id: str | int | None = None
    _id: str | int | None = None
    title: str | None = None
    text: str | None = None
    content: str | None = None
    body: str | None = None
    url: str | None = None


_read_line = msgspec.json.Decoder(_Line).decode


def write_document(
    identity: str,
    title: str,
    text: str,
    url: str | None = None,
    *,
    attributes: Attributes = (),
    filename: str = "",
    readers: tuple[str, ...] | None = None,
) -> Document:
    """A document with its version worked out; line ends and blank lines are made alike first."""
    plain = _BLANK_LINES.sub("\n\n", text.replace("\r\n", "\n").replace("\r", "\n")).strip()
    name = " ".join(title.split()) or identity
    ordered = tuple(sorted(attributes))
    parts = [name, plain, url or ""]
    if ordered or filename or readers is not None:
        # A change of who may read it is a change; documents without any of these keep the version they had.
        parts += [filename, msgspec.json.encode((ordered, readers)).decode()]
    digest = hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()
    return Document(identity, name, plain, url, digest[:16], ordered, filename, readers)


def read_file(identity: str, data: bytes, url: str | None = None) -> Document:
    """A document from a file's bytes, read by the suffix of `identity`. Bad bytes become U+FFFD."""
    suffix = PurePosixPath(identity).suffix.lower()
    if suffix in HTML_SUFFIXES:
        return read_html(identity, data, url)
    text = _decode(data)
    if suffix in MARKDOWN_SUFFIXES:
        return read_markdown(identity, text, url)
    return write_document(identity, _file_title(identity), text, url)


def read_markdown(identity: str, text: str, url: str | None = None) -> Document:
    """A document from Markdown; its title is the first heading outside code, else the file's name."""
    found = _HEADING.search(_FENCED.sub(lambda code: " " * len(code[0]), text))
    return write_document(identity, found[1] if found else _file_title(identity), text, url)


def read_html(identity: str, data: bytes | str, url: str | None = None) -> Document:
    """A document from HTML, however broken: title from <title>, else <h1>; page furniture left out."""
    try:
        soup = BeautifulSoup(data, "html.parser")
        for tag in soup(_DROPPED_TAGS):
            tag.decompose()
        heading = soup.title or soup.h1
        title = heading.get_text(" ", strip=True) if heading else ""
        if soup.title:
            soup.title.decompose()
        text = MarkdownConverter(heading_style="ATX").convert_soup(soup)
    except (ParserRejectedMarkup, RecursionError, AssertionError, ValueError):
        # Ten thousand open tags, or markup that Python's parser refuses: the words are still worth having.
        text = _TAG.sub(" ", data if isinstance(data, str) else _decode(data))
        title = ""
    return write_document(identity, title or _file_title(identity), text, url)


def read_jsonl(where: str, lines: Iterable[bytes], first_line: int = 1, prefix: str = "") -> Iterator[Document | str]:
    """The documents of JSONL lines, and for each line that is not one, a fault as `file:line: what is wrong`.

    where: the file's name in faults. first_line: the number of the first line. prefix: put before ids.
    """
    for number, line in enumerate(lines, first_line):
        if not line.strip():
            continue
        try:
            found = _read_line(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            yield f"{where}:{number}: not a document: {fault}"
            continue
        identity = found.id if found.id is not None else found._id  # noqa: SLF001 - the data's own key
        text = found.text or found.content or found.body
        if identity in {None, ""}:
            yield f"{where}:{number}: no `id` or `_id`; each line needs one."
        elif not text or not text.strip():
            yield f"{where}:{number}: no `text`, `content` or `body` in {identity!r}."
        else:
            yield write_document(f"{prefix}{identity}", found.title or str(identity), text, found.url)


def _file_title(identity: str) -> str:
    return PurePosixPath(identity).stem.replace("_", " ").replace("-", " ")


def _decode(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    return data.decode("utf-8-sig", errors="replace")
