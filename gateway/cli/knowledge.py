"""`gateway knowledge`: collections and their sources."""

from pathlib import Path
from typing import Any, Literal

from cyclopts import App

from gateway.cli.knowledge_gaps import gaps, tell_impact
from gateway.cli.output import print_json, print_table, say
from gateway.cli.place import make_data_folder, run, settings


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="knowledge", help="Collections that answers are looked up in.")
    for function in (add, sync, status, search, gaps, impact):
        group.command(function)
    app.command(group)


async def _library(policies: Path | None) -> Any:
    """A library over the collections of knowledge.yaml, and the poster to close after use."""
    from gateway.core.settings import environment
    from gateway.db.engine import Database
    from gateway.db.schema import upgrade
    from gateway.knowledge.library import Library
    from gateway.knowledge.opened import open_store
    from gateway.knowledge.polling import SourceRecords
    from gateway.knowledge.rerankers.rerank_api import ApiReranker
    from gateway.live import load_all
    from gateway.live_knowledge import collections_of, embedders_of
    from gateway.upstream.post import JsonPoster

    found = settings(policies=policies)
    loaded = load_all(found.policies, None, found.data)
    poster = JsonPoster()
    make_data_folder(found)
    if found.has_knowledge_in_database and found.migrates:
        database = Database(found.database_url)
        try:
            await upgrade(database)
        finally:
            await database.close()
    embedders = embedders_of(loaded, environment(), poster.post)
    records = SourceRecords(found.data / "sources.json")

    def build(settings: Any) -> Any:
        return ApiReranker(settings, poster.post)

    collections = collections_of(loaded, environment())
    return Library(open_store(found), collections, embedders, records=records, build=build), poster


def add(
    name: str,
    source: str,
    *,
    kind: Literal["folder", "jsonl", "git", "website"] | None = None,
    team: list[str] | None = None,
    model: str | None = None,
    title: str = "",
    policies: Path | None = None,
    json: bool = False,
) -> int:
    """Adds a collection to knowledge.yaml and loads it: a folder, a JSONL file, a Git repository or a website.

    kind: `git` or `website` for an address that could be either; other kinds of places are written by hand.
    team: who may read it, may be repeated; `*` is everyone, and without one nobody may.
    model: what answers callers who ask for `kb/<name>`.
    """
    from gateway.cli.knowledge_edit import add_collection, source_entry

    found = settings(policies=policies)
    entry = source_entry(source, kind)
    add_collection(found.policies / "knowledge.yaml", name, entry, team or [], model, title)
    if not team:
        say(f"No team may read {name!r} yet: name some with --team, or edit `teams:` in knowledge.yaml.")
    return sync(name, policies=policies, json=json)


def sync(name: str | None = None, *, policies: Path | None = None, json: bool = False) -> int:
    """Brings one collection or all up to date with their sources; exit 1 when a document could not be read."""
    from gateway.cli.progress import progress_of

    async def work() -> Any:
        library, poster = await _library(policies)
        try:
            with progress_of(is_shown=not json) as progress:
                return await library.sync(name, progress)
        finally:
            await library.close()
            await poster.close()

    report = run(work())
    if json:
        print_json(report)
    else:
        say(f"{report.added} added, {report.updated} updated, {report.removed} removed, {report.unchanged} unchanged.")
        for fault in report.faults:
            say(fault)
    return 1 if report.faults else 0


def status(*, policies: Path | None = None, json: bool = False) -> None:
    """Lists collections with their documents and chunks, and sources: last and next pass, documents, faults."""
    import msgspec

    async def work() -> Any:
        library, poster = await _library(policies)
        try:
            return await library.status(), library.sources(), await library.note()
        finally:
            await library.close()
            await poster.close()

    found, sources, note = run(work())
    if json:
        of = {one.name: [each for each in sources if each.collection == one.name] for one in found}
        print_json([msgspec.to_builtins(one) | {"sources": of[one.name]} for one in found])
        return
    if note:
        say(note)
    rows = [(one.name, one.documents, one.chunks, ", ".join(one.teams) or "nobody") for one in found]
    print_table(("collection", "documents", "chunks", "read by"), rows, frozenset({"documents", "chunks"}))
    lines = [
        (one.collection, one.kind, one.place, _time(one.record.success_at), _time(one.record.next_at, "watched"), count)
        for one in sources
        for count in ["" if one.record.documents is None else one.record.documents]
    ]
    print_table(
        ("collection", "kind", "source", "last whole pass", "next", "documents"), lines, frozenset({"documents"})
    )
    for one in sources:
        for fault in one.record.faults:
            say(f"{one.collection}: {fault}")


def _time(moment: float | None, never: str = "never") -> str:
    from datetime import UTC, datetime

    return never if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def search(name: str, text: str, *, team: str, limit: int = 5, policies: Path | None = None, json: bool = False) -> int:
    """Shows what a collection holds for a text, as a team would see it; exit 1 when that is nothing."""

    async def work() -> Any:
        library, poster = await _library(policies)
        try:
            return await library.search(text, [name], team, limit)
        finally:
            await library.close()
            await poster.close()

    signal = run(work())
    if json:
        print_json(signal)
    else:
        rows = [(f"{hit.score:.3f}", hit.document, hit.title, hit.text[:80].replace("\n", " ")) for hit in signal.hits]
        print_table(("score", "document", "title", "text"), rows)
    return 0 if signal.hits else 1


def impact(
    document: str,
    *,
    collection: str | None = None,
    since: str | None = None,
    team: str | None = None,
    limit: int = 100,
    policies: Path | None = None,
    json: bool = False,
) -> int:
    """Lists the answers that stood on another version of a document than the current one; exit 1 when there are any.

    Of a document that is gone, these are all of them. since: `2026-11-01` or an ISO time, UTC unless it says otherwise.
    """
    return tell_impact(_library, document, collection, since, team, limit, policies, json=json)
