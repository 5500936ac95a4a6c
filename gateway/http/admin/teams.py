"""Teams and their monthly budgets."""

from typing import Any

import msgspec
from litestar import Request, get, post, put
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody
from msgspec.structs import replace

from gateway.http.access import actor_of, teams_of
from gateway.http.admin.needs import Name, admin, nano_of
from gateway.identity.store import Team
from gateway.ledger.leases.rules import team_month


class NewTeam(msgspec.Struct, forbid_unknown_fields=True):
    """What makes a team. monthly_budget_usd: exact text such as "40.00"; without it there is no limit."""

    name: Name
    title: str = ""
    monthly_budget_usd: str | None = None
    organisation: str = ""


class TeamChange(msgspec.Struct, forbid_unknown_fields=True):
    """What changes of a team; what is left out stays. organisation: "" takes it out of its organisation."""

    title: str | None = None
    organisation: str | None = None


class NewBudget(msgspec.Struct, forbid_unknown_fields=True):
    """A team's monthly budget in USD as exact text; null lifts it."""

    monthly_budget_usd: str | None


@get("/teams")
async def list_teams(request: Request[Any, Any, Any], state: State) -> list[Team]:
    """All teams that the caller may see."""
    teams = teams_of(request)
    return [team for team in await admin(state).identity.teams() if teams is None or team.name in teams]


@post("/teams")
async def create_team(request: Request[Any, Any, Any], state: State, data: JSONBody[NewTeam]) -> Team:
    """A new team."""
    budget = nano_of(data.monthly_budget_usd)
    return await admin(state).identity.create_team(
        data.name, data.title, budget, organisation=data.organisation, actor=actor_of(request)
    )


@put("/teams/{team:str}")
async def set_team(
    request: Request[Any, Any, Any], state: State, team: FromPath[str], data: JSONBody[TeamChange]
) -> Team:
    """Changes a team's title or organisation."""
    return await admin(state).identity.set_team(
        team, title=data.title, organisation=data.organisation, actor=actor_of(request)
    )


@put("/teams/{team:str}/budget")
async def set_budget(
    request: Request[Any, Any, Any], state: State, team: FromPath[str], data: JSONBody[NewBudget]
) -> Team:
    """Sets or lifts a team's monthly budget; one that was defined with more than its amount is changed, or ended."""
    found, nano, actor = admin(state), nano_of(data.monthly_budget_usd), actor_of(request)
    changed = await found.identity.set_budget(team, nano, actor=actor)
    defined = team_month((await found.rules.load())[1], team)
    if defined is not None and nano is not None:
        await found.rules.set_budget(replace(defined, limit_nano_usd=nano), actor)
    elif defined is not None:
        await found.rules.remove_budget(defined.id, actor)
    return changed
