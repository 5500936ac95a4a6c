"""Reads one PDF or DOCX from standard input in a process of its own: `python unpack.py pdf`.

What it reads may be hostile. The process bounds its own memory and time before it looks at the first byte, so that
the worst a file can do is to end it; its libraries are imported here and nowhere else, and cost a server nothing.
"""

import io
import re
import resource
import sys
import zipfile
from collections.abc import Callable

import mammoth
import msgspec
import pypdf
from bs4 import BeautifulSoup
from markdownify import MarkdownConverter
from pypdf.errors import PyPdfError

MOST_MEMORY = 1024 * 1024 * 1024
MOST_CPU_SECONDS = 60
MOST_PAGES = 3000
MOST_UNPACKED = 256 * 1024 * 1024
MOST_PARTS = 10_000
MOST_TEXT = 16 * 1024 * 1024


class Refused(Exception):
    """What is wrong with the file, for a person."""


class Unpacked(msgspec.Struct):
    """What comes back on standard output. fault: why there is no text."""

    title: str = ""
    text: str = ""
    fault: str | None = None


def main() -> int:
    """Reads and answers. Whatever goes wrong with the file is an answer; a limit that is met ends the process."""
    kind = sys.argv[1]
    _limit(resource.RLIMIT_AS, MOST_MEMORY)
    _limit(resource.RLIMIT_CPU, MOST_CPU_SECONDS)
    _limit(resource.RLIMIT_FSIZE, 0)
    data = sys.stdin.buffer.read()
    try:
        answer = READERS[kind](data)
    except Refused as fault:
        answer = Unpacked(fault=str(fault))
    except MemoryError:
        answer = Unpacked(fault="it needs more memory than a document is given")
    except Exception as fault:  # noqa: BLE001 - parsers raise anything for a hostile file, and all of it is an answer
        answer = Unpacked(fault=f"it cannot be read ({type(fault).__name__})")
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    return 0


def read_pdf(data: bytes) -> Unpacked:
    """The text of each page under a heading with its number. Raises Refused."""
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Refused("it is encrypted")
        count = len(reader.pages)
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise Refused(f"it is no sound PDF ({type(fault).__name__})") from None
    if count > MOST_PAGES:
        raise Refused(f"it has {count} pages; at most {MOST_PAGES} are read")
    parts: list[str] = []
    size = 0
    for number, page in enumerate(reader.pages, 1):
        text = _lines(page.extract_text() or "")
        if text:
            parts.append(f"## Page {number}\n\n{text}")
            size += len(text)
        if size > MOST_TEXT:
            raise Refused(f"it has more than {MOST_TEXT} characters")
    if not parts:
        raise Refused("it holds no text; pictures of pages are not read")
    title = reader.metadata.title if reader.metadata is not None else None
    # A plain string: the library has classes of its own for text.
    return Unpacked(str(title) if isinstance(title, str) else "", "\n\n".join(parts))


def read_docx(data: bytes) -> Unpacked:
    """Headings, lists and tables as Markdown; pictures are left out. Raises Refused."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            parts = file.infolist()
            if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > MOST_UNPACKED:
                raise Refused(f"it unpacks to more than {MOST_UNPACKED} bytes")
            if "word/document.xml" not in file.namelist():
                raise Refused("it is no Word document")
    except zipfile.BadZipFile:
        raise Refused("it is no sound DOCX (not a zip file)") from None
    page = mammoth.convert_to_html(io.BytesIO(data), convert_image=_no_image).value
    soup = BeautifulSoup(page, "html.parser")
    for row in soup.select("table tr:first-child > td"):
        row.name = "th"
    heading = soup.find("h1")
    text = str(MarkdownConverter(heading_style="ATX").convert_soup(soup)).strip()
    if not text:
        raise Refused("it holds no text")
    if len(text) > MOST_TEXT:
        raise Refused(f"it has more than {MOST_TEXT} characters")
    return Unpacked(heading.get_text(" ", strip=True) if heading else "", text)


def _no_image(_image: object) -> list[object]:
    return []


def _lines(text: str) -> str:
    """Lines that begin a list or heading of Markdown by accident stay plain; words cut at a line's end are joined."""
    joined = re.sub(r"(?<=[a-z])-\n(?=[a-z])", "", text.replace("\x00", ""))
    return re.sub(r"^(?=#{1,6}\s)", r"\\", joined, flags=re.MULTILINE).strip()


def _limit(what: int, most: int) -> None:
    soft, hard = resource.getrlimit(what)
    bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
    if soft == resource.RLIM_INFINITY or soft > bound:
        resource.setrlimit(what, (bound, hard))


READERS: dict[str, Callable[[bytes], Unpacked]] = {"pdf": read_pdf, "docx": read_docx}

if __name__ == "__main__":
    sys.exit(main())
