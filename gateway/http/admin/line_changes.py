"""/admin of changes of model lines: the twins of `gateway tuning create|add|promote|rollback|canary`."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, delete, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody
from pydantic import ValidationError

from gateway.core.errors import InvalidRequest
from gateway.http.access import actor_of, require_team
from gateway.http.admin.lines import registry_of, require_owner
from gateway.http.admin.needs import Name
from gateway.policy.models_file import SuccessorEntry
from gateway.registry import MARGIN, NewVersion, Promotion
from gateway.tuning.lines.values import Line, Version

Reason = Annotated[str, msgspec.Meta(max_length=1_000)]


class NewLine(msgspec.Struct, forbid_unknown_fields=True):
    """A line with its first version. teams: who may call it beside its owner."""

    name: Name
    owner: Name
    version: NewVersion
    teams: list[str] = []


class NewChampion(msgspec.Struct, forbid_unknown_fields=True):
    """Which version is to be champion. force: also against the gate, which is noted."""

    version: int
    force: bool = False
    margin: Annotated[float, msgspec.Meta(ge=0, le=1)] = MARGIN
    reason: Reason = ""


class NewCanary(msgspec.Struct, forbid_unknown_fields=True):
    """Which version answers a share of the champion's calls; version null ends it."""

    version: int | None
    share: float = 0.0
    reason: Reason = ""


class NewSuccessor(msgspec.Struct, forbid_unknown_fields=True):
    """As `successor:` in models.yaml; path null is none."""

    path: Literal["fine_tuned", "rag", "direct"] | None
    line: str | None = None
    model: str | None = None
    collections: list[str] = []


class Why(msgspec.Struct, forbid_unknown_fields=True):
    """Why something is done."""

    reason: Reason = ""


@post("/lines")
async def create_line(request: Request[Any, Any, Any], state: State, data: JSONBody[NewLine]) -> Line:
    """A new line with its first version."""
    require_team(request, data.owner)
    return await registry_of(state).create(data.name, data.owner, data.version, actor_of(request), tuple(data.teams))


@post("/lines/{line:str}/successor", status_code=200)
async def set_successor(
    request: Request[Any, Any, Any], state: State, line: FromPath[Name], data: JSONBody[NewSuccessor]
) -> Line:
    """Says where a line's calls go once it has ended."""
    require_owner(request, (await registry_of(state).one(line)).line, changes=True)
    try:
        entry = None if data.path is None else SuccessorEntry.model_validate(msgspec.to_builtins(data))
    except ValidationError as fault:
        raise InvalidRequest(str(fault.errors()[0]["msg"])) from None
    return await registry_of(state).succeed(line, entry, actor_of(request))


@delete("/lines/{line:str}", status_code=200)
async def remove_line(request: Request[Any, Any, Any], state: State, line: FromPath[Name]) -> Line:
    """Takes a line out of the registry."""
    require_owner(request, (await registry_of(state).one(line)).line, changes=True)
    return await registry_of(state).remove(line, actor_of(request))


@post("/lines/{line:str}/versions")
async def add_version(
    request: Request[Any, Any, Any], state: State, line: FromPath[Name], data: JSONBody[NewVersion]
) -> Version:
    """Adds a version, which no call goes to yet."""
    require_owner(request, (await registry_of(state).one(line)).line, changes=True)
    return await registry_of(state).add(line, data, actor_of(request))


@post("/lines/{line:str}/promote", status_code=200)
async def promote_line(
    request: Request[Any, Any, Any], state: State, line: FromPath[Name], data: JSONBody[NewChampion]
) -> Promotion:
    """Makes a version the champion, if it passes the gate."""
    require_owner(request, (await registry_of(state).one(line)).line, changes=True)
    return await registry_of(state).promote(
        line, data.version, actor_of(request), is_forced=data.force, margin=data.margin, reason=data.reason
    )


@post("/lines/{line:str}/rollback", status_code=200)
async def rollback_line(
    request: Request[Any, Any, Any], state: State, line: FromPath[Name], data: JSONBody[Why]
) -> Line:
    """Brings the champion of before back."""
    require_owner(request, (await registry_of(state).one(line)).line, changes=True)
    return await registry_of(state).rollback(line, actor_of(request), data.reason)


@post("/lines/{line:str}/canary", status_code=200)
async def set_canary(
    request: Request[Any, Any, Any], state: State, line: FromPath[Name], data: JSONBody[NewCanary]
) -> Line:
    """Has a version answer a share of the champion's calls."""
    require_owner(request, (await registry_of(state).one(line)).line, changes=True)
    return await registry_of(state).canary(line, data.version, data.share, actor_of(request), data.reason)
