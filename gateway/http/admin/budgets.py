"""Budgets of every scope, and limits: the twins of `gateway budgets` and `gateway limits`."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, delete, get, put
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody
from msgspec.structs import replace

from gateway.core.errors import InvalidRequest
from gateway.http.access import actor_of, teams_of
from gateway.http.admin.needs import admin, nano_of
from gateway.ledger.leases.rules import BudgetRule, LimitRule
from gateway.ledger.leases.standing import BudgetLine, budget_lines

Percent = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class BudgetChange(msgspec.Struct, forbid_unknown_fields=True):
    """A budget. limit_usd: exact text such as "40.00". name: of whom, `key=value` for metadata.

    is_hard: calls are refused at the end. thresholds: percents that are told to `webhook` once a window.
    """

    name: str
    limit_usd: str
    scope: Literal["organisation", "team", "key", "metadata"] = "team"
    window: Literal["day", "week", "month", "quarter", "year", "total"] = "month"
    time_zone: str = "UTC"
    is_hard: bool = True
    thresholds: list[Percent] = []
    webhook: str = ""


class LimitChange(msgspec.Struct, forbid_unknown_fields=True):
    """Limits per minute over all replicas together; what is left out is lifted."""

    name: str
    scope: Literal["organisation", "team", "key"] = "team"
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None


@get("/budgets")
async def list_budgets(request: Request[Any, Any, Any], state: State) -> list[BudgetLine]:
    """Budgets with what their present window has spent of them; those of the teams that the caller may see."""
    found = admin(state)
    teams = {team.name: team.monthly_budget_nano_usd for team in await found.identity.teams()}
    lines = await budget_lines(found.rules, found.leases, teams, found.pipeline.clock.wall())
    seen = teams_of(request)
    if seen is None:
        return lines
    keys = {key.id for key in await found.identity.keys() if key.team in seen}
    own = [line for line in lines if line.name in {"team": seen, "key": keys}.get(line.scope, frozenset())]
    # The address of a webhook is often a secret.
    return [replace(line, webhook="") for line in own]


@put("/budgets")
async def put_budget(request: Request[Any, Any, Any], state: State, data: JSONBody[BudgetChange]) -> BudgetRule:
    """Defines a budget, or changes the one of the same scope, name, window and time zone."""
    limit = nano_of(data.limit_usd, "limit_usd")
    if limit is None:
        raise InvalidRequest("limit_usd must be an amount in USD.", param="limit_usd")
    name = await admin(state).identity.known_name(data.scope, data.name)
    rule = BudgetRule(
        id="",
        scope=data.scope,
        name=name,
        window=data.window,
        time_zone=data.time_zone,
        limit_nano_usd=limit,
        is_hard=data.is_hard,
        thresholds=tuple(data.thresholds),
        webhook=data.webhook,
    )
    return await admin(state).rules.set_budget(rule, actor_of(request))


@delete("/budgets/{budget_id:str}", status_code=200)
async def remove_budget(request: Request[Any, Any, Any], state: State, budget_id: FromPath[str]) -> BudgetRule:
    """Ends a budget that was defined; what it has counted stays in the books."""
    return await admin(state).rules.remove_budget(budget_id, actor_of(request))


@get("/limits")
async def list_limits(state: State) -> list[LimitRule]:
    """Requests, tokens and calls at once."""
    return (await admin(state).rules.load())[2]


@put("/limits")
async def put_limit(request: Request[Any, Any, Any], state: State, data: JSONBody[LimitChange]) -> LimitRule:
    """Sets how fast an organisation, a team or a key may go."""
    name = await admin(state).identity.known_name(data.scope, data.name)
    rule = LimitRule(data.scope, name, data.requests_per_minute, data.tokens_per_minute, data.concurrency)
    return await admin(state).rules.set_limit(rule, actor_of(request))
