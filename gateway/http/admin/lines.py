"""/admin of model lines and fine-tuning jobs: the twins of `gateway tuning`."""

from typing import Any

from litestar import Request, get
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery

from gateway.core.page import PageAsked
from gateway.http.access import require_team, teams_of
from gateway.http.admin.needs import Name
from gateway.registry import Gate, Registry, ShownLine
from gateway.tuned import Tuned
from gateway.tuning.jobs.values import TuningJob
from gateway.tuning.lines.values import Line, LineEvent


@get("/lines")
async def list_lines(request: Request[Any, Any, Any], state: State) -> list[ShownLine]:
    """Lines with their versions. A role for a team sees lines of that team and of nobody."""
    teams = teams_of(request)
    found = await registry_of(state).all()
    return [one for one in found if teams is None or not one.line.owner or one.line.owner in teams]


@get("/lines/{line:str}")
async def show_line(request: Request[Any, Any, Any], state: State, line: FromPath[Name]) -> ShownLine:
    """One line."""
    found = await registry_of(state).one(line)
    require_owner(request, found.line)
    return found


@get("/lines/{line:str}/events")
async def line_events(request: Request[Any, Any, Any], state: State, line: FromPath[Name]) -> list[LineEvent]:
    """What was changed of a line, newest first."""
    require_owner(request, (await registry_of(state).one(line)).line)
    return await registry_of(state).lines.events(line)


@get("/lines/{line:str}/gate")
async def line_gate(
    request: Request[Any, Any, Any], state: State, line: FromPath[Name], version: FromQuery[int]
) -> Gate:
    """What a promotion of a version would be decided on."""
    found = (await registry_of(state).one(line)).line
    require_owner(request, found)
    return await registry_of(state).gate(line, found.champion, version)


@get("/tuning/jobs")
async def list_tuning_jobs(
    request: Request[Any, Any, Any], state: State, team: FromQuery[str], after: FromQuery[str | None] = None
) -> list[TuningJob]:
    """A team's fine-tuning jobs, newest first, a hundred at a time."""
    require_team(request, team)
    page = await _tuned(state).jobs.page(team, PageAsked(100, "desc", after))
    return list(page.items)


def require_owner(request: Request[Any, Any, Any], line: Line, *, changes: bool = False) -> None:
    """Raises NotPermitted (403) for another team's role; a line of nobody is for all to see and no team's to change."""
    if line.owner:
        require_team(request, line.owner)
    elif changes and teams_of(request) is not None:
        require_team(request, "")


def _tuned(state: State) -> Tuned:
    tuned: Tuned = state.tuned
    return tuned


def registry_of(state: State) -> Registry:
    """The app's."""
    return _tuned(state).changes
