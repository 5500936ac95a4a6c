"""Confluence's storage format: XHTML with elements of its own for macros, links, pictures and tasks."""

import re

from bs4 import BeautifulSoup, Tag

from gateway.knowledge.document import read_html

# Macros that show what stands elsewhere, or move things about: no words of this page.
_EMPTY_MACROS = frozenset(
    {"toc", "children", "recently-updated", "attachments", "anchor", "pagetree", "contentbylabel"}
)
_BOXES = frozenset({"info", "note", "tip", "warning", "panel"})


def read_storage(identity: str, body: str) -> str:
    """The page as Markdown; an element that is not known gives what words stand in it. Never raises for bad markup."""
    soup = BeautifulSoup(_without_cdata(body), "html.parser")
    for tag in soup.find_all("ac:plain-text-body"):
        tag.name = "pre"
    for macro in soup.find_all("ac:structured-macro"):
        _unwrap_macro(macro)
    for name in ("ac:parameter", "ac:image", "ac:emoticon", "ac:task-id", "ac:task-uuid", "ac:placeholder"):
        for tag in soup.find_all(name):
            tag.decompose()
    for task in soup.find_all("ac:task"):
        status = task.find("ac:task-status")
        is_done = status is not None and status.get_text(strip=True) == "complete"
        if status is not None:
            status.decompose()
        task.name = "li"
        task.insert(0, "[x] " if is_done else "[ ] ")
    for tag in soup.find_all("ac:task-list"):
        tag.name = "ul"
    for link in soup.find_all("ac:link"):
        _name_link(link)
    for tag in soup.find_all(re.compile("^(ac|ri):")):
        tag.unwrap()
    return read_html(identity, str(soup)).text


def _unwrap_macro(macro: Tag) -> None:
    name = str(macro.get("ac:name", ""))
    if name in _EMPTY_MACROS:
        macro.decompose()
        return
    title = next(
        (tag for tag in macro.find_all("ac:parameter", recursive=False) if tag.get("ac:name") == "title"), None
    )
    if title is not None and (name in _BOXES or name in {"expand", "status"}):
        title.name = "span" if name == "status" else "strong"
        title.attrs = {}
    macro.name = "blockquote" if name in _BOXES else "span" if name == "status" else "div"
    macro.attrs = {}


def _name_link(link: Tag) -> None:
    """A link without words of its own is called what it leads to."""
    if link.get_text(strip=True):
        return
    page = link.find("ri:page")
    if isinstance(page, Tag) and page.get("ri:content-title"):
        link.append(str(page["ri:content-title"]))


def _without_cdata(body: str) -> str:
    """What stands in CDATA as plain text: a parser of HTML takes it for a comment, and code would be lost."""
    head, *sections = body.split("<![CDATA[")
    parts = [head]
    for section in sections:
        inside, _, after = section.partition("]]>")
        parts += [_escaped(inside), after]
    return "".join(parts)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
