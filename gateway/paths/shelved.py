"""Calls that name vector stores or files of ours: what is kept here is looked up here, the rest goes upstream."""

from typing import Protocol

import msgspec

from gateway.core.call import Call, Principal
from gateway.core.decision import Arm
from gateway.core.errors import ModelNotFound, NotFound
from gateway.core.ids import MADE
from gateway.knowledge.written_filter import filter_of
from gateway.wire.file_parts import Content, file_ids_of, with_contents
from gateway.wire.file_search import without_stores

COLLECTION = "kb/"
# A vector store asked as a model.
MADE_MODEL = COLLECTION + MADE


class Shelved(Protocol):
    """What is kept here, by id."""

    async def searchable(self, ids: tuple[str, ...], principal: Principal) -> tuple[str, ...]:
        """Those of the vector stores that are ours. Raises NotFound (404) for one of another team."""
        ...

    async def contents(self, ids: tuple[str, ...], principal: Principal) -> dict[str, Content]:
        """Those of the files that are ours. Raises NotFound (404) for one of another team."""
        ...


async def looked_up(
    call: Call, principal: Principal, arms: tuple[Arm, ...], shelf: Shelved
) -> tuple[Call, tuple[Arm, ...]]:
    """The call without what is looked up here, and arms that look it up.

    Raises InvalidRequest (400) for a filter that says nothing and for tools that want different ones, NotFound (404),
    NotPermitted (403).
    """
    if call.model.startswith(MADE_MODEL):
        await _require(call.model.removeprefix(COLLECTION), principal, shelf)
    named = file_ids_of(call)
    contents = await shelf.contents(named, principal) if named else {}
    if contents:
        call = with_contents(call, contents)
    if call.file_search is None:
        return call, arms
    found = await shelf.searchable(call.file_search.stores, principal)
    if not found:
        return msgspec.structs.replace(call, file_search=None), arms
    call = without_stores(call, found)
    if call.file_search is None:
        return call, arms
    if call.file_search.filters:
        filter_of(msgspec.json.decode(call.file_search.filters), "tools.filters")
    return call, tuple(_searching(arm, found) for arm in arms)


async def _require(store: str, principal: Principal, shelf: Shelved) -> None:
    """Raises ModelNotFound (404) for a vector store that does not exist, or not for this team."""
    try:
        found = await shelf.searchable((store,), principal)
    except NotFound:
        found = ()
    if not found:
        raise ModelNotFound(
            f"The model {COLLECTION + store!r} does not exist or you do not have access to it.", param="model"
        )


def _searching(arm: Arm, stores: tuple[str, ...]) -> Arm:
    """The arm with these among its collections; one that found nothing answers as it would have without."""
    on_no_match = arm.on_no_match if arm.path == "rag" else "direct"
    collections = (*arm.collections, *(store for store in stores if store not in arm.collections))
    return msgspec.structs.replace(arm, path="rag", collections=collections, on_no_match=on_no_match)
