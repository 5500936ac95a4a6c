"""/admin of what answers from documents left behind: the twins of `gateway knowledge gaps` and `impact`."""

from typing import Any

from litestar import Request, get
from litestar.datastructures import State
from litestar.params import FromQuery

from gateway.answered import GapReport, ImpactReport
from gateway.http.admin.needs import admin
from gateway.http.admin.usage import one_team


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
