"""`file_search` tools: what a call asks to have searched, and the call without what was searched here."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gateway.core.call import Call, FileSearch
from gateway.core.errors import InvalidRequest
from gateway.wire.json_object import edited, read_object

NAME = b'"file_search"'
KIND = "file_search"
RESULTS = "file_search_call.results"
USUAL_RESULTS = 20
MOST_STORES = 10


class _Weights(msgspec.Struct):
    embedding_weight: Annotated[float, Meta(ge=0)]
    text_weight: Annotated[float, Meta(ge=0)]


class _Ranking(msgspec.Struct):
    score_threshold: Annotated[float, Meta(ge=0, le=1)] = 0.0
    hybrid_search: _Weights | None = None


class _Tool(msgspec.Struct):
    """Chat has no such tool of its own; what servers that offer one take stands flat, as in Responses."""

    type: str = ""
    vector_store_ids: list[str] | None = None
    filters: Any = None
    max_num_results: Annotated[int, Meta(ge=1, le=50)] = USUAL_RESULTS
    ranking_options: _Ranking | None = None


_tools = msgspec.json.Decoder(list[msgspec.Raw])
_kind = msgspec.json.Decoder(_Tool)


class _Typed(msgspec.Struct):
    type: Any = None


_typed = msgspec.json.Decoder(_Typed)


def file_search_of(tools: msgspec.Raw, include: object = None) -> FileSearch | None:
    """What the call's `file_search` tools ask for; None without one. Several are taken together.

    Worth asking only where NAME stands in the body. Raises InvalidRequest (400) for a tool that says something it
    cannot.
    """
    found = [tool for _, tool in _searches(tools)]
    stores = tuple(dict.fromkeys(store for tool in found for store in tool.vector_store_ids or ()))
    if not stores:
        return None
    if len(stores) > MOST_STORES:
        raise InvalidRequest(f"file_search names {len(stores)} vector stores; at most {MOST_STORES}.", param="tools")
    return _together(found, stores, wants_results=isinstance(include, list) and RESULTS in include)


def _searches(tools: msgspec.Raw) -> list[tuple[int, _Tool]]:
    """The `file_search` tools of a list with their places."""
    return [(place, _read(raw, place)) for place, raw in enumerate(_listed(tools)) if _is_search(raw)]


def _together(tools: list[_Tool], stores: tuple[str, ...], *, wants_results: bool) -> FileSearch:
    """One search for several tools, by the terms of the first and the largest number of results."""
    ranking = tools[0].ranking_options or _Ranking()
    weights = ranking.hybrid_search
    return FileSearch(
        stores=stores,
        filters=_filters(tools[0]),
        limit=max(tool.max_num_results for tool in tools),
        threshold=ranking.score_threshold,
        weights=None if weights is None else (weights.embedding_weight, weights.text_weight),
        wants_results=wants_results,
    )


def _filters(tool: _Tool) -> bytes:
    return msgspec.json.encode(tool.filters, order="sorted") if tool.filters else b""


def _require_same(tools: list[tuple[int, _Tool]]) -> None:
    """There is one search for all: what only one of them wants would be dropped, or hold for the others too."""
    _, first = tools[0]
    for place, tool in tools[1:]:
        if _filters(tool) != _filters(first):
            word, what = "filters", "one set of filters"
        elif (tool.ranking_options or _Ranking()) != (first.ranking_options or _Ranking()):
            word, what = "ranking_options", "one set of ranking options"
        else:
            continue
        raise InvalidRequest(
            f"Only {what} per call is served here; this tool's differ from those of another file_search tool.",
            param=f"tools[{place}].{word}",
        )


def without_stores(call: Call, searched: tuple[str, ...]) -> Call:
    """The call as it goes upstream when these stores are searched here: without them, and without an empty tool.

    call.file_search is afterwards what the tools that name them ask for; None when `tool_choice` wants no tool used.
    Raises InvalidRequest (400) for tools that want different things of the one search.
    """
    if call.file_search is None:
        return call
    body = call.inbound.body
    fields = read_object(body)
    ours = [one for one in _searches(fields["tools"]) if set(one[1].vector_store_ids or ()).intersection(searched)]
    is_off = bytes(fields.get("tool_choice", b"")).strip() == b'"none"'
    mine: FileSearch | None = None
    if ours and not is_off:
        _require_same(ours)
        mine = _together([tool for _, tool in ours], searched, wants_results=call.file_search.wants_results)
    kept: list[msgspec.Raw] = []
    for raw in _listed(fields["tools"]):
        if not _is_search(raw):
            kept.append(raw)
            continue
        foreign = [store for store in _kind.decode(raw).vector_store_ids or () if store not in searched]
        if foreign:
            kept.append(msgspec.Raw(edited(bytes(raw), {"vector_store_ids": foreign})))
    body = edited(body, {"tools": kept}) if kept else _toolless(body)
    if not any(map(_is_search, kept)):
        body = _unforced(_without_results(body))
    inbound = msgspec.structs.replace(call.inbound, body=body)
    return msgspec.structs.replace(call, inbound=inbound, file_search=mine, has_tools=bool(kept))


def _toolless(body: bytes) -> bytes:
    """Without the list of tools, and what is only allowed beside one."""
    fields = read_object(body)
    for name in ("tools", "tool_choice", "parallel_tool_calls", "max_tool_calls"):
        fields.pop(name, None)
    return edited(b"{}", fields)


def _unforced(body: bytes) -> bytes:
    """Without a `tool_choice` that insists on the search: it is done."""
    choice = read_object(body).get("tool_choice")
    if choice is None or not _is_search(choice):
        return body
    fields = read_object(body)
    del fields["tool_choice"]
    return edited(b"{}", fields)


def _without_results(body: bytes) -> bytes:
    fields = read_object(body)
    if "include" not in fields:
        return body
    wanted = msgspec.json.decode(fields["include"])
    rest = [one for one in wanted if one != RESULTS] if isinstance(wanted, list) else wanted
    return body if rest == wanted else edited(body, {"include": rest})


def _listed(tools: msgspec.Raw) -> list[msgspec.Raw]:
    try:
        return _tools.decode(tools)
    except (msgspec.DecodeError, RecursionError):
        return []  # Judging what is not understood is the upstream's part.


def _is_search(raw: msgspec.Raw) -> bool:
    try:
        return bool(_typed.decode(raw).type == KIND)
    except (msgspec.DecodeError, RecursionError):
        return False


def _read(raw: msgspec.Raw, place: int) -> _Tool:
    try:
        return _kind.decode(raw)
    except msgspec.ValidationError as fault:
        message, _, where = str(fault).partition(" - at ")
        param = f"tools[{place}]" + where.strip("`").removeprefix("$")
        raise InvalidRequest(f"Invalid tool: {message}.", param=param) from None
