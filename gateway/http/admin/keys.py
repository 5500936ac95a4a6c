"""Keys of teams."""

from typing import Any

import msgspec
from litestar import Request, delete, get, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery, JSONBody

from gateway.http.access import actor_of, require_team, teams_of
from gateway.http.admin.needs import Name, admin
from gateway.identity.store import KeyInfo
from gateway.identity.terms import checked_terms


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    """What makes a key. expires_at: Unix seconds. debug: may ask for `x-gateway-debug`.

    allowed_models: names, or their beginnings with `*` after them; allowed_paths: of the gateway; empty is all.
    metadata: a part of every call's, above what the caller says.
    """

    team: str
    name: Name
    expires_at: float | None = None
    debug: bool = False
    allowed_models: list[str] = []  # msgspec copies it
    allowed_paths: list[str] = []
    metadata: dict[str, str] = {}


class ShownKey(msgspec.Struct):
    """A new key: `key` is its text, shown this once."""

    key: str
    info: KeyInfo


@get("/keys")
async def list_keys(request: Request[Any, Any, Any], state: State, team: FromQuery[str | None] = None) -> list[KeyInfo]:
    """Keys, never their text."""
    if team is not None:
        require_team(request, team)
    return await admin(state).identity.keys(team, teams=teams_of(request))


@post("/keys")
async def create_key(request: Request[Any, Any, Any], state: State, data: JSONBody[NewKey]) -> ShownKey:
    """A new key, shown this once."""
    require_team(request, data.team)
    made = await admin(state).identity.create_key(
        data.team,
        data.name,
        actor=actor_of(request),
        expires_at=data.expires_at,
        debug=data.debug,
        terms=checked_terms(data.allowed_models, data.allowed_paths, data.metadata),
    )
    return ShownKey(*made)


@post("/keys/{key_id:str}/rotate")
async def rotate_key(
    request: Request[Any, Any, Any], state: State, key_id: FromPath[str], overlap_seconds: FromQuery[float] = 0
) -> ShownKey:
    """A new key in place of an old one, with the same terms; the old one lives on for the overlap."""
    made = await admin(state).identity.rotate_key(
        key_id, overlap_seconds, actor=actor_of(request), teams=teams_of(request)
    )
    return ShownKey(*made)


@delete("/keys/{key_id:str}", status_code=200)
async def revoke_key(request: Request[Any, Any, Any], state: State, key_id: FromPath[str]) -> KeyInfo:
    """Ends a key, on all processes within a second."""
    return await admin(state).identity.revoke_key(key_id, actor=actor_of(request), teams=teams_of(request))
