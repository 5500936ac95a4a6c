"""/admin of collections and of what answers from them left behind: the twins of `gateway knowledge`."""

from typing import Any

import msgspec
from litestar import Request, get, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery

from gateway.answered import GapReport, ImpactReport
from gateway.core.facts import Hit
from gateway.http.admin.needs import Name, admin
from gateway.http.admin.usage import one_team
from gateway.knowledge.ingest import SyncReport
from gateway.knowledge.polling import SourceStatus


@get("/knowledge/gaps")
async def knowledge_gaps(
    request: Request[Any, Any, Any],
    state: State,
    collection: FromQuery[str | None] = None,
    since: FromQuery[str | None] = None,
    until: FromQuery[str | None] = None,
    team: FromQuery[str | None] = None,
    limit: FromQuery[int] = 20,
) -> GapReport:
    """Questions that nothing answered, by what they are about. A role for a team sees that team alone."""
    return await admin(state).answers.gaps(collection, since, until, one_team(request, team), limit)


@get("/knowledge/impact")
async def knowledge_impact(
    request: Request[Any, Any, Any],
    state: State,
    document: FromQuery[str],
    collection: FromQuery[str | None] = None,
    since: FromQuery[str | None] = None,
    team: FromQuery[str | None] = None,
    limit: FromQuery[int] = 100,
) -> ImpactReport:
    """Answers that stood on what a document no longer says. A role for a team sees that team alone."""
    return await admin(state).answers.impact(document, collection, since, one_team(request, team), limit)


class CollectionShown(msgspec.Struct):
    """A collection of knowledge.yaml: what it holds, who may read it, and how the passes over its sources went."""

    name: str
    title: str
    documents: int
    chunks: int
    teams: tuple[str, ...]
    sources: tuple[SourceStatus, ...]


class Found(msgspec.Struct):
    """What a search gave, and the version of what was searched."""

    version: str
    hits: tuple[Hit, ...]


@get("/knowledge")
async def list_knowledge(state: State) -> list[CollectionShown]:
    """The collections with their sources. Times are Unix seconds."""
    library = admin(state).library
    sources = library.sources()
    return [
        CollectionShown(
            one.name,
            one.title,
            one.documents,
            one.chunks,
            one.teams,
            tuple(source for source in sources if source.collection == one.name),
        )
        for one in await library.status()
    ]


@post("/knowledge/{collection:str}/sync", status_code=200)
async def sync_knowledge(state: State, collection: FromPath[Name]) -> SyncReport:
    """Brings a collection up to date with its sources now; answers when that is done."""
    return await admin(state).library.sync(collection)


@get("/knowledge/{collection:str}/search")
async def search_knowledge(
    state: State, collection: FromPath[Name], text: FromQuery[str], team: FromQuery[str], limit: FromQuery[int] = 5
) -> Found:
    """What a collection holds for a text, as a team would see it."""
    signal = await admin(state).library.search(text, (collection,), team, max(1, min(limit, 50)))
    return Found(signal.version, signal.hits)
