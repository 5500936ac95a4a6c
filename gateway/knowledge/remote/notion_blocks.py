"""Notion's blocks as Markdown."""

import msgspec


class _Annotations(msgspec.Struct):
    bold: bool = False
    code: bool = False


class RichText(msgspec.Struct):
    """A run of text. Colours, slants and the like are passed over."""

    plain_text: str = ""
    href: str | None = None
    annotations: _Annotations = msgspec.field(default_factory=_Annotations)


class Content(msgspec.Struct):
    """What any type of block holds, as far as it is words."""

    rich_text: list[RichText] = []
    caption: list[RichText] = []
    cells: list[list[RichText]] = []
    checked: bool = False
    language: str = ""
    title: str = ""
    expression: str = ""
    url: str = ""


class Block(msgspec.Struct):
    """A block with those below it. content: None of a type that holds no words."""

    kind: str
    content: Content
    below: list["Block"] = []


_HEADINGS = {"heading_1": "# ", "heading_2": "## ", "heading_3": "### ", "heading_4": "#### "}
_ITEMS = {"bulleted_list_item": "- ", "numbered_list_item": "1. ", "toggle": "- "}


def words(runs: list[RichText]) -> str:
    """A run of texts as Markdown on one line or more."""
    return "".join(map(_run, runs))


def markdown(blocks: list[Block]) -> str:
    """The blocks one below the other. What a type that is not known holds stands as a paragraph."""
    parts: list[str] = []
    was_item = False
    for block in blocks:
        text = _block(block)
        is_item = block.kind in _ITEMS or block.kind == "to_do"
        if text:
            joint = "\n" if was_item and is_item else "\n\n"
            parts += [joint, text] if parts else [text]
            was_item = is_item
    return "".join(parts)


def _block(block: Block) -> str:
    content, kind = block.content, block.kind
    text = words(content.rich_text)
    if kind in _ITEMS or kind == "to_do":
        sign = _ITEMS.get(kind) or ("- [x] " if content.checked else "- [ ] ")
        return _joined(sign + _indented(text), "  " + _indented(markdown(block.below)) if block.below else "", "\n")
    if kind == "table":
        return _table(block)
    below = markdown(block.below)
    if kind in {"quote", "callout"}:
        return "\n".join(f"> {line}" for line in _joined(text, below).splitlines())
    return _joined(_head(content, kind, text), below)


def _head(content: Content, kind: str, text: str) -> str:
    """What a block says itself, before what stands below it. A page inside a page is a document of its own."""
    if kind in _HEADINGS:
        return _HEADINGS[kind] + " ".join(text.split()) if text.strip() else ""
    if kind == "code":
        return f"```{content.language}\n{text}\n```"
    if kind == "equation" and content.expression:
        return f"$${content.expression}$$"
    return text or words(content.caption)


def _table(block: Block) -> str:
    rows = [[words(cell).replace("|", "\\|").replace("\n", " ") for cell in row.content.cells] for row in block.below]
    if not rows:
        return ""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def _run(run: RichText) -> str:
    text = run.plain_text
    if not text.strip():
        return text
    if run.annotations.code:
        text = f"`{text}`"
    elif run.annotations.bold:
        text = f"**{text}**"
    return f"[{text}]({run.href})" if run.href and run.href.startswith(("http://", "https://")) else text


def _joined(head: str, rest: str, joint: str = "\n\n") -> str:
    return joint.join(part for part in (head, rest) if part.strip())


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")
