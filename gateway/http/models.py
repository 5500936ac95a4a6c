"""GET /v1/models: the names that a caller may send, our own and the upstream's."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import date
from typing import Any

import msgspec

from gateway.core.call import Inbound, Principal
from gateway.core.clock import Clock
from gateway.core.errors import ModelNotFound, RouteNotFound
from gateway.identity.keys import KeyRing
from gateway.identity.permitted import names_model
from gateway.pipeline import Pipeline
from gateway.policy.catalogue import ANY, AUTO, COLLECTION, Catalogue, open_to
from gateway.policy.ends import End
from gateway.relay import Caller
from gateway.upstream.faults import TransportError
from gateway.upstream.port import Deadlines, Lease, Outgoing
from gateway.upstream.upstreams import Upstreams

# An upstream's list changes when it releases a model; asking at every call would make it a dependency.
HELD_SECONDS = 60.0
DEADLINES = Deadlines(connect_seconds=2, first_byte_seconds=3, between_seconds=3, total_seconds=5)
LONGEST_LIST = 4 * 1024 * 1024


class Model(msgspec.Struct, omit_defaults=True):
    """A model as OpenAI lists it. shutdown_date: of a line's champion, when it is known."""

    id: str
    object: str = ""
    created: int = 0
    owned_by: str = ""
    shutdown_date: str | None = None


# Told (upstream, id -> day) of what an upstream's list says of ends; that is asked for callers alone.
Heard = Callable[[str, Mapping[str, str]], Awaitable[None]]


class Models:
    """Lists models. The upstream's own list is added when `*` lets its names through."""

    def __init__(self, keys: KeyRing, pipeline: Pipeline, upstreams: Upstreams, clock: Clock, heard: Heard) -> None:
        self._keys = keys
        self._pipeline = pipeline
        self._upstreams = upstreams
        self._clock = clock
        self._heard = heard
        self._held: tuple[float, str, list[dict[str, Any]]] | None = None
        self._asking = asyncio.Lock()

    async def serve(self, inbound: Inbound, caller: Caller) -> None:
        """Answers the list or one model. Raises 401, ModelNotFound (404)."""
        principal = self._keys.principal(inbound, self._clock.wall())
        catalogue = self._pipeline.policy.catalogue
        name = inbound.path.removeprefix("/v1/models").removeprefix("/")
        if not name and inbound.path.endswith("/"):
            raise RouteNotFound(f"Unknown request URL: GET {inbound.path}.")
        known = own_models(catalogue, principal)
        foreign = await self._foreign(catalogue)
        listed = [
            *known,
            *(model for model in foreign if model.get("id") not in {own["id"] for own in known}),
        ]
        listed = [model for model in listed if _open(catalogue, principal, str(model.get("id", "")))]
        body: object
        if not name:
            body = {"object": "list", "data": listed}
        else:
            found = next((model for model in listed if model.get("id") == name), None)
            body = found or (version_of(catalogue, name) if _open(catalogue, principal, name) else None)
            if body is None:
                message = f"The model {name!r} does not exist or you do not have access to it."
                raise ModelNotFound(message, param="model")
        headers = ((b"content-type", b"application/json"), (b"x-request-id", inbound.request_id.encode()))
        await caller.whole(200, headers, msgspec.json.encode(body))

    async def _foreign(self, catalogue: Catalogue) -> list[dict[str, Any]]:
        entry = catalogue.models.models.get(ANY)
        if entry is None:
            return []
        async with self._asking:
            now = self._clock.monotonic()
            if self._held is None or self._held[1] != entry.upstream or now - self._held[0] > HELD_SECONDS:
                found = await self._ask(entry.upstream)
                # A list that could not be had is asked for again at the next call; the old one serves meanwhile.
                if found is None:
                    return self._held[2] if self._held is not None and self._held[1] == entry.upstream else []
                self._held = (now, entry.upstream, found)
                await self._heard(entry.upstream, shutdowns_of(found))
            return self._held[2]

    async def _ask(self, name: str) -> list[dict[str, Any]] | None:
        upstream = self._upstreams.named(name)
        outgoing = Outgoing("GET", b"/models", (*upstream.headers, (b"accept", b"application/json")), b"")
        try:
            reply = await upstream.transport.send(upstream.origin, outgoing, DEADLINES, Lease())
            body = b""
            while len(body) < LONGEST_LIST and (more := await reply.read()):
                body += more
        except TransportError:
            return None
        if reply.status != 200:
            return None
        try:
            listed = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError):
            return None
        data = listed.get("data") if isinstance(listed, dict) else None
        return [model for model in data if isinstance(model, dict)] if isinstance(data, list) else None


def own_models(catalogue: Catalogue, principal: Principal) -> list[dict[str, Any]]:
    """What this gateway adds for a team: `auto`, lines, permitted collections, and the models it names."""
    created = int(time.time()) // 86400 * 86400
    models = [Model(id=AUTO, object="model", created=created, owned_by="switchyard")]
    for name, line in catalogue.models.lines.items():
        if not open_to(line.teams, principal.team):
            continue
        ends = catalogue.end_of_version(name, line.champion)
        models.append(Model(name, "model", created, "switchyard", _day(ends)))
    permitted = [name for name in catalogue.knowledge.collections if catalogue.readable(name, principal.team)]
    models += [Model(COLLECTION + name, "model", created, "switchyard") for name in permitted]
    named = {
        name: entry
        for name, entry in catalogue.models.models.items()
        if name != ANY and open_to(entry.teams, principal.team)
    }
    for name, entry in named.items():
        ends = catalogue.ends.of(entry.id or name, entry.upstream)
        models.append(Model(name, "model", created, entry.upstream, _day(ends)))
    for alias, target in catalogue.models.aliases.items():
        collection = target.removeprefix(COLLECTION)
        if collection == target or collection in permitted:
            models.append(Model(alias, "model", created, "switchyard"))
    return [msgspec.to_builtins(model) for model in models]


def _open(catalogue: Catalogue, principal: Principal, name: str) -> bool:
    """Whether a name may be told of: an upstream's list has what was trained for other teams too."""
    return names_model(principal, name) and not catalogue.is_closed(name, principal.team)


def shutdowns_of(listed: list[dict[str, Any]]) -> dict[str, str]:
    """The days on which an upstream's list says that models end, by id; what is no day says nothing."""
    found = {}
    for model in listed:
        name, day = model.get("id"), model.get("shutdown_date")
        if isinstance(name, str) and isinstance(day, str) and _is_day(day):
            found[name] = day
    return found


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def version_of(catalogue: Catalogue, name: str) -> dict[str, Any] | None:
    """A version of a line under a name that callers may send but no list shows; None for any other name."""
    if not catalogue.knows_line(name):
        return None
    ends = _day(catalogue.end_of(name))
    return dict(msgspec.to_builtins(Model(name, "model", int(time.time()) // 86400 * 86400, "switchyard", ends)))


def _day(end: End | None) -> str | None:
    return None if end is None else end.day.isoformat()
