"""Role keys: what opens /admin for programs."""

from typing import Any

import msgspec
from litestar import Request, delete, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from gateway.http.access import actor_of
from gateway.http.admin.needs import Name, admin
from gateway.identity.access.store import RoleKeyInfo


class NewRoleKey(msgspec.Struct, forbid_unknown_fields=True):
    """What makes a role key. team: of team_owner and team_viewer, and of no other. expires_at: Unix seconds."""

    name: Name
    role: str
    team: str = ""
    expires_at: float | None = None


class ShownRoleKey(msgspec.Struct):
    """A new role key: `key` is its text, shown this once."""

    key: str
    info: RoleKeyInfo


@get("/roles")
async def list_role_keys(state: State) -> list[RoleKeyInfo]:
    """Role keys, never their text."""
    return await admin(state).access.keys()


@post("/roles")
async def create_role_key(request: Request[Any, Any, Any], state: State, data: JSONBody[NewRoleKey]) -> ShownRoleKey:
    """A new role key, shown this once."""
    made = await admin(state).access.create_key(
        data.name, data.role, data.team, expires_at=data.expires_at, actor=actor_of(request)
    )
    return ShownRoleKey(*made)


@delete("/roles/{key_id:str}", status_code=200)
async def revoke_role_key(request: Request[Any, Any, Any], state: State, key_id: FromPath[str]) -> RoleKeyInfo:
    """Ends a role key, on all processes within a second."""
    return await admin(state).access.revoke_key(key_id, actor=actor_of(request))
