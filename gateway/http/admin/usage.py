"""What teams used."""

from typing import Any

from litestar import Request, get
from litestar.datastructures import State
from litestar.params import FromQuery

from gateway.core.errors import InvalidRequest
from gateway.http.access import require_team, teams_of
from gateway.ledger.report import UsageReport, usage_report


@get("/usage")
async def usage(
    request: Request[Any, Any, Any],
    state: State,
    by: FromQuery[str] = "team",
    since: FromQuery[str | None] = None,
    until: FromQuery[str | None] = None,
    team: FromQuery[str | None] = None,
) -> UsageReport:
    """Tokens and cost. by: groups with commas between them. A role for a team sees that team alone."""
    groups = [name for name in by.split(",") if name]
    return await usage_report(state.money.reports, groups, since, until, one_team(request, team))


def one_team(request: Request[Any, Any, Any], team: str | None) -> str | None:
    """The team that a report is of; None is all. Raises NotPermitted (403), InvalidRequest (400)."""
    teams = teams_of(request)
    if teams is None:
        return team
    if team is None:
        if len(teams) > 1:
            raise InvalidRequest(f"Your roles are for {', '.join(sorted(teams))}; say which team.", param="team")
        return next(iter(teams))
    require_team(request, team)
    return team
