"""/admin/feedback: what teams said of answers."""

from typing import Any

from litestar import Request, get
from litestar.datastructures import State
from litestar.params import FromQuery

from gateway.http.access import require_team, teams_of
from gateway.tuned import Tuned
from gateway.tuning.feedback.values import Feedback


@get("/feedback")
async def list_feedback(
    request: Request[Any, Any, Any],
    state: State,
    team: FromQuery[str | None] = None,
    line: FromQuery[str | None] = None,
    limit: FromQuery[int] = 100,
) -> list[Feedback]:
    """The newest. A role for a team sees that team's alone."""
    tuned: Tuned = state.tuned
    teams = teams_of(request)
    if team is not None:
        require_team(request, team)
        teams = frozenset({team})
    return await tuned.feedback.page(None if teams is None else sorted(teams), line, max(1, min(limit, 1_000)))
