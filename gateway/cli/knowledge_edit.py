"""Adds a collection to knowledge.yaml without touching what people wrote there."""

from pathlib import Path

import yaml

from gateway.core.document import read_document, validate
from gateway.core.errors import BadConfiguration, Conflict, NotFound
from gateway.policy.knowledge_file import KnowledgeFile

HEAD = "collections:\n"


def add_collection(path: Path, name: str, source: Path, teams: list[str], model: str | None, title: str) -> None:
    """Writes the collection in, under `collections:`; comments and order of the rest stay.

    Raises NotFound for a source that is not there, Conflict for a name that is taken by another source,
    BadConfiguration when the file would not be good afterwards (it is left as it was).
    """
    if not source.exists():
        raise NotFound(f"{source}: no such file or folder.")
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    known = validate(read_document(before, str(path)), KnowledgeFile).collections.get(name)
    kind = "folder" if source.is_dir() else "jsonl"
    if known is not None:
        if [one.path for one in known.sources] == [str(source)]:
            return
        raise Conflict(f"Collection {name!r} is in {path.name} already, with other sources; edit it there.")
    entry: dict[str, object] = {"sources": [{"kind": kind, "path": str(source)}], "teams": teams}
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
