"""Members: what people may do who sign in."""

from typing import Any

import msgspec
from litestar import Request, delete, get, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery, JSONBody

from gateway.http.access import actor_of
from gateway.http.admin.needs import admin
from gateway.identity.access.store import Member


class NewMember(msgspec.Struct, forbid_unknown_fields=True):
    """A person's role. team: of team_owner and team_viewer, and of no other."""

    email: str
    role: str
    team: str = ""


@get("/members")
async def list_members(state: State) -> list[Member]:
    """All members."""
    return await admin(state).access.members()


@post("/members")
async def add_member(request: Request[Any, Any, Any], state: State, data: JSONBody[NewMember]) -> Member:
    """Gives a person a role."""
    return await admin(state).access.add_member(data.email, data.role, data.team, actor=actor_of(request))


@delete("/members/{email:str}", status_code=200)
async def remove_member(
    request: Request[Any, Any, Any], state: State, email: FromPath[str], team: FromQuery[str | None] = None
) -> list[Member]:
    """Takes a person's roles away, within a second; that of one team, or all."""
    return await admin(state).access.remove_member(email, team, actor=actor_of(request))
