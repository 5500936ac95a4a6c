"""A document, and reading one from a file: Markdown, HTML, PDF, DOCX, CSV, plain text, or a line of JSONL."""

import csv
import hashlib
import io
import mimetypes
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

import msgspec
from bs4 import BeautifulSoup, ParserRejectedMarkup
from markdownify import MarkdownConverter

from gateway.core.errors import UnreadableDocument, UnsupportedDocument
from gateway.core.facts import Attributes
from gateway.core.values import Value
from gateway.knowledge.packed import unpack

MARKDOWN_SUFFIXES = (".md", ".markdown")
HTML_SUFFIXES = (".html", ".htm")
TEXT_SUFFIXES = (".txt",)
PACKED_SUFFIXES = (".pdf", ".docx")
CSV_SUFFIXES = (".csv", ".tsv")
# What a folder or repository is searched for unless its source names other files.
USUAL_SUFFIXES = (*MARKDOWN_SUFFIXES, *HTML_SUFFIXES, *TEXT_SUFFIXES, *PACKED_SUFFIXES, *CSV_SUFFIXES, ".jsonl")
# Read as they stand, when they are UTF-8: source code, configuration, data that people write.
_PLAIN = """
.adoc .bash .bat .bib .c .cc .cfg .conf .cpp .cs .css .cxx .dart .diff .env .erl .ex .exs .fish .go .gql .graphql
.gradle .groovy .h .hcl .hpp .hs .ini .java .jl .js .json .json5 .jsonl .jsx .kt .kts .less .log .lua .m .mdx .mjs
.ml .nix .org .patch .php .pl .po .properties .proto .ps1 .py .pyi .r .rb .rs .rst .sass .scala .scss .sh .sql .srt
.svelte .swift .tex .text .textile .tf .toml .ts .tsx .vtt .vue .wiki .xml .yaml .yml .zig .zsh
"""
PLAIN_SUFFIXES = frozenset(_PLAIN.split())
# A parser in Python takes half a second for a megabyte, in which a server does little else.
MOST_PARSED = 4 * 1024 * 1024
MOST_ROWS = 100_000

# Where a MIME type says more than the name does; a type that is not here leaves the name to decide.
_BY_TYPE = {
    "application/json": ".json",
    "application/pdf": ".pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/xhtml+xml": ".html",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/markdown": ".md",
    "text/tab-separated-values": ".tsv",
    "text/plain": ".txt",
    "text/x-markdown": ".md",
}

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
    """A JSONL line: only these keys are read, `id` before `_id`, `text` before `content` before `body`.

    A ticket may have its text as `question` and `resolution`.
    """

    id: str | int | None = None
    _id: str | int | None = None
    title: str | None = None
    text: str | None = None
    content: str | None = None
    body: str | None = None
    url: str | None = None
    question: str | None = None
    resolution: str | None = None


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


def read_file(
    identity: str, data: bytes, url: str | None = None, *, mime: str | None = None, name: str | None = None
) -> Document:
    """A document from a file's bytes; PDF and DOCX take a process and some 0.3 s, so call it in a thread.

    What it is, the suffix of `name` says, or of `identity` without one, and `mime` where that suffix says nothing.
    Of Markdown, HTML, text and CSV bad bytes become U+FFFD; source code and data are taken when they are UTF-8.
    Raises UnsupportedDocument for other kinds, UnreadableDocument for a file that is not what its name says.
    """
    called = name or identity
    suffix = _suffix(called, mime)
    if suffix in HTML_SUFFIXES:
        return read_html(identity, data, url)
    if suffix in PACKED_SUFFIXES:
        found = unpack("pdf" if suffix == ".pdf" else "docx", data)
        return write_document(identity, found.title or _file_title(called), found.text, url)
    if suffix in MARKDOWN_SUFFIXES:
        return read_markdown(identity, _decode(data), url)
    if suffix in CSV_SUFFIXES:
        return write_document(identity, _file_title(called), _rows(data, suffix), url)
    if suffix in TEXT_SUFFIXES:
        if b"\0" in data[:8192] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise UnreadableDocument(f"{called!r} is not text: there are zero bytes in it.")
        return write_document(identity, _file_title(called), _decode(data), url)
    if suffix not in PLAIN_SUFFIXES and not (mime or "").startswith("text/"):
        raise UnsupportedDocument(f"{called!r} is of a kind that is not read ({suffix or mime or 'no suffix'}).")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableDocument(f"{called!r} is not UTF-8 text.") from None
    if "\0" in text:
        raise UnreadableDocument(f"{called!r} is not text: there are zero bytes in it.")
    return write_document(identity, _file_title(called), text, url)


def is_readable(name: str, *, is_named: bool = False) -> bool:
    """Whether a file found by searching is a document by its name. is_named: code and data were asked for too."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix in USUAL_SUFFIXES or (is_named and suffix in PLAIN_SUFFIXES)


def _suffix(name: str, mime: str | None) -> str:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in USUAL_SUFFIXES or suffix in PLAIN_SUFFIXES:
        return suffix
    kind = (mime or "").partition(";")[0].strip().lower()
    return _BY_TYPE.get(kind) or (mimetypes.guess_extension(kind) if kind else None) or suffix


def _rows(data: bytes, suffix: str) -> str:
    """A paragraph for each row, each value behind its column's name: a chunk cut out of a table says what it holds."""
    text = _decode(data)
    try:
        delimiter = "\t" if suffix == ".tsv" else csv.Sniffer().sniff(text[:8192], ",;\t|").delimiter
    except csv.Error:
        delimiter = ","
    paragraphs: list[str] = []
    head: list[str] | None = None
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            values = [" ".join(value.split()) for value in row]
            if head is None:
                head = values if any(values) else None
                continue
            names = [*head, *(f"column {number}" for number in range(len(head) + 1, len(values) + 1))]
            told = [f"{name}: {value}" if name else value for name, value in zip(names, values, strict=False) if value]
            if told:
                paragraphs.append("; ".join(told))
            if len(paragraphs) > MOST_ROWS:
                raise UnreadableDocument(f"This table has more than {MOST_ROWS} rows.")
    except csv.Error as fault:
        raise UnreadableDocument(f"This table cannot be read: {fault}.") from None
    return "\n\n".join(paragraphs or ([", ".join(head)] if head else []))


def read_markdown(identity: str, text: str, url: str | None = None) -> Document:
    """A document from Markdown; its title is the first heading outside code, else the file's name."""
    found = _HEADING.search(_FENCED.sub(lambda code: " " * len(code[0]), text))
    return write_document(identity, found[1] if found else _file_title(identity), text, url)


def read_html(identity: str, data: bytes | str, url: str | None = None) -> Document:
    """A document from HTML, however broken: title from <title>, else <h1>; page furniture left out.

    Of a page with a <main> only that is taken.
    """
    try:
        if len(data) > MOST_PARSED:
            raise ValueError("too large to be taken apart")  # noqa: TRY301 - its words are worth having, see below
        soup = BeautifulSoup(data, "html.parser")
        for tag in soup(_DROPPED_TAGS):
            tag.decompose()
        heading = soup.title or soup.h1
        title = heading.get_text(" ", strip=True) if heading else ""
        if soup.title:
            soup.title.decompose()
        # Where a page says which part is its own, the rest is the site's.
        main = soup.find("main") or soup.find(role="main")
        whole = main if main is not None and main.get_text(strip=True) else soup
        text = MarkdownConverter(heading_style="ATX").convert_soup(whole)
    except (ParserRejectedMarkup, RecursionError, AssertionError, ValueError):
        # Ten thousand open tags, megabytes, or markup that Python's parser refuses: the words are worth having.
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
        text = found.text or found.content or found.body or ticket_text(found.question, found.resolution)
        if identity in {None, ""}:
            yield f"{where}:{number}: no `id` or `_id`; each line needs one."
        elif not text or not text.strip():
            yield f"{where}:{number}: no `text`, `content` or `body` in {identity!r}."
        else:
            yield write_document(f"{prefix}{identity}", found.title or str(identity), text, found.url)


def ticket_text(question: str | None, resolution: str | None) -> str:
    """A ticket as Markdown; "" when its question or its resolution is missing: half of one answers nobody."""
    asked, solved = (question or "").strip(), (resolution or "").strip()
    return f"## Question\n\n{asked}\n\n## Resolution\n\n{solved}" if asked and solved else ""


def _file_title(identity: str) -> str:
    return PurePosixPath(identity).stem.replace("_", " ").replace("-", " ")


def _decode(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    return data.decode("utf-8-sig", errors="replace")
