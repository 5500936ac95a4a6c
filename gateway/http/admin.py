"""/admin: the REST twin of the command line, for holders of the admin key."""

import asyncio
import hmac
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, get, post, put
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers.base import BaseRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody

from gateway.core.errors import BadConfiguration, GatewayError, InvalidRequest, MissingKey, NotFound, NotPermitted
from gateway.core.money import nano_from_usd
from gateway.explained import explain_call, explain_record
from gateway.identity.store import IdentityStore, KeyInfo, Team
from gateway.ledger.records import DecisionRecord
from gateway.ledger.report import UsageReport, usage_report
from gateway.ledger.store import LedgerStore
from gateway.pipeline import Pipeline
from gateway.policy.explain import Explained
from gateway.policy.load import Texts, load
from gateway.policy.written_call import CallEntry

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class NewTeam(msgspec.Struct, forbid_unknown_fields=True):
    """What makes a team. monthly_budget_usd: exact text such as "40.00"; without it there is no limit."""

    name: Name
    title: str = ""
    monthly_budget_usd: str | None = None


class NewBudget(msgspec.Struct, forbid_unknown_fields=True):
    """A team's monthly budget in USD as exact text; null lifts it."""

    monthly_budget_usd: str | None


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    """What makes a key. expires_at: Unix seconds. debug: may ask for `x-gateway-debug`."""

    team: str
    name: Name
    expires_at: float | None = None
    debug: bool = False


class ShownKey(msgspec.Struct):
    """A new key: `key` is its text, shown this once."""

    key: str
    info: KeyInfo


class ToldDecision(msgspec.Struct):
    """A recorded decision, and the same decided again under the policy of then, in words.

    explained: None when that policy is not kept, or this version cannot read it any more; `not_explained` says why.
    """

    record: DecisionRecord
    explained: Explained | None
    not_explained: str | None = None


class Admin:
    """What the handlers need; one per app, under `state.admin`."""

    def __init__(self, identity: IdentityStore, books: LedgerStore, pipeline: Pipeline, admin_key: str | None) -> None:
        self.identity = identity
        self.books = books
        self.pipeline = pipeline
        self.admin_key = admin_key


def require_admin(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    """Lets in the admin key and nothing else. Raises MissingKey (401), NotPermitted (403)."""
    admin: Admin = connection.app.state.admin
    kind, _, given = connection.headers.get("authorization", "").partition(" ")
    if admin.admin_key is None:
        raise NotPermitted("No GATEWAY_ADMIN_KEY is set, so /admin is closed.")
    if kind.lower() != "bearer" or not given.strip():
        raise MissingKey("Send the admin key as `Authorization: Bearer <key>`.")
    if not hmac.compare_digest(given.strip().encode(), admin.admin_key.encode()):
        raise NotPermitted("This is not the admin key.")


@get("/teams")
async def list_teams(state: State) -> list[Team]:
    """All teams."""
    return await _admin(state).identity.teams()


@post("/teams")
async def create_team(state: State, data: JSONBody[NewTeam]) -> Team:
    """A new team."""
    return await _admin(state).identity.create_team(data.name, data.title, _nano(data.monthly_budget_usd))


@put("/teams/{team:str}/budget")
async def set_budget(state: State, team: FromPath[str], data: JSONBody[NewBudget]) -> Team:
    """Sets or lifts a team's monthly budget."""
    return await _admin(state).identity.set_budget(team, _nano(data.monthly_budget_usd))


@get("/keys")
async def list_keys(state: State, team: FromQuery[str | None] = None) -> list[KeyInfo]:
    """Keys, never their text."""
    return await _admin(state).identity.keys(team)


@post("/keys")
async def create_key(state: State, data: JSONBody[NewKey]) -> ShownKey:
    """A new key, shown this once."""
    made = await _admin(state).identity.create_key(data.team, data.name, expires_at=data.expires_at, debug=data.debug)
    return ShownKey(*made)


@post("/keys/{key_id:str}/rotate")
async def rotate_key(state: State, key_id: FromPath[str], overlap_seconds: FromQuery[float] = 0) -> ShownKey:
    """A new key in place of an old one, which lives on for the overlap."""
    return ShownKey(*await _admin(state).identity.rotate_key(key_id, overlap_seconds))


@delete("/keys/{key_id:str}", status_code=200)
async def revoke_key(state: State, key_id: FromPath[str]) -> KeyInfo:
    """Ends a key, on all processes within a second."""
    return await _admin(state).identity.revoke_key(key_id)


@get("/usage")
async def usage(
    state: State,
    by: FromQuery[str] = "team",
    since: FromQuery[str | None] = None,
    until: FromQuery[str | None] = None,
    team: FromQuery[str | None] = None,
) -> UsageReport:
    """Tokens and cost. by: groups with commas between them."""
    groups = [name for name in by.split(",") if name]
    return await usage_report(state.money.reports, groups, since, until, team)


@get("/decisions/{decision_id:str}")
async def decision(state: State, decision_id: FromPath[str]) -> ToldDecision:
    """A recorded decision, by its id or its call's; it arrives within a second of the call."""
    admin = _admin(state)
    record = await admin.books.decision(decision_id)
    if record is None:
        raise NotFound(f"There is no decision {decision_id!r}.")
    policy = admin.pipeline.policy
    try:
        if policy.hash != record.policy_hash:
            files = await admin.books.policy_files(record.policy_hash)
            if files is None:
                return ToldDecision(record, None, f"The policy {record.policy_hash!r} is not kept.")
            policy = (await asyncio.to_thread(load, Texts("policies as they were", files))).policy
        return ToldDecision(record, explain_record(policy, record))
    except (BadConfiguration, GatewayError) as fault:
        return ToldDecision(record, None, str(fault))


@post("/explain", status_code=200)
async def explain_written(state: State, data: JSONBody[CallEntry]) -> Explained:
    """Where a call would go and why, without sending it. What it leaves open of the signals is looked up."""
    pipeline = _admin(state).pipeline
    return await explain_call(pipeline.policy, data, pipeline.clock.wall(), pipeline.paths.lookups)


def _admin(state: State) -> Admin:
    admin: Admin = state.admin
    return admin


def _nano(usd: str | None) -> int | None:
    if usd is None:
        return None
    try:
        if Decimal(usd) < 0:
            raise InvalidRequest(f"monthly_budget_usd is {usd!r}; it must be 0 or more.", param="monthly_budget_usd")
        return nano_from_usd(usd)
    except (ValueError, InvalidOperation):
        message = f"monthly_budget_usd is {usd!r}; it must be an amount in USD."
        raise InvalidRequest(message, param="monthly_budget_usd") from None


admin_router = Router(
    "/admin",
    route_handlers=[
        list_teams,
        create_team,
        set_budget,
        list_keys,
        create_key,
        rotate_key,
        revoke_key,
        usage,
        decision,
        explain_written,
    ],
    guards=[require_admin],
    tags=["admin"],
)
