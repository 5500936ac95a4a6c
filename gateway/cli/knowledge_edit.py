"""Adds a collection to knowledge.yaml without touching what people wrote there."""

import re
from pathlib import Path

import yaml

from gateway.core.document import read_document, validate
from gateway.core.errors import BadConfiguration, Conflict, NotFound
from gateway.policy.knowledge_file import KnowledgeFile

HEAD = "collections:\n"


def source_entry(source: str, kind: str | None) -> dict[str, str]:
    """What stands in knowledge.yaml for a folder, a file, a repository or a website. Raises NotFound.

    kind: None goes by the look of it: `.git` at its end is a repository, another address a website.
    """
    is_address = "://" in source or re.match(r"[\w.-]+@[\w.-]+:", source) is not None
    if is_address:
        is_git = not source.startswith("http") or source.endswith(".git")
        return {"kind": kind or ("git" if is_git else "website"), "url": source}
    place = Path(source).resolve()
    if not place.exists():
        raise NotFound(f"{place}: no such file or folder.")
    if kind == "git":
        return {"kind": "git", "url": str(place)}
    return {"kind": kind or ("folder" if place.is_dir() else "jsonl"), "path": str(place)}


def add_collection(
    path: Path, name: str, source: dict[str, str], teams: list[str], model: str | None, title: str
) -> None:
    """Writes the collection in, under `collections:`; comments and order of the rest stay.

    Raises Conflict for a name that is taken by another source, BadConfiguration when the file would not be good
    afterwards (it is left as it was).
    """
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    known = validate(read_document(before, str(path)), KnowledgeFile).collections.get(name)
    if known is not None:
        if [one.model_dump(include=set(source)) for one in known.sources] == [source]:
            return
        raise Conflict(f"Collection {name!r} is in {path.name} already, with other sources; edit it there.")
    entry: dict[str, object] = {"sources": [source], "teams": teams}
    if title:
        entry["title"] = title
    if model:
        entry["model"] = model
    block = yaml.safe_dump({name: entry}, sort_keys=False, allow_unicode=True)
    indented = "".join(f"  {line}\n" for line in block.splitlines())
    lines = before.splitlines(keepends=True)
    places = [number for number, line in enumerate(lines) if line.rstrip() == "collections:"]
    if places:
        after = "".join(lines[: places[0] + 1]) + indented + "".join(lines[places[0] + 1 :])
    elif "collections:" in before:
        raise BadConfiguration([f"{path}:1:1: `collections:` is not written as a block; add {name!r} by hand."])
    else:
        after = before + ("" if not before or before.endswith("\n") else "\n") + HEAD + indented
    validate(read_document(after, str(path)), KnowledgeFile)
    fresh = path.with_suffix(".yaml.new")
    fresh.write_text(after, encoding="utf-8")
    fresh.replace(path)
