"""The tool `file_search`: read, and taken out of what goes upstream where it was resolved here."""

from typing import Any

import msgspec
import pytest

from gateway.core.call import Call
from gateway.core.errors import InvalidRequest
from gateway.wire.file_search import without_stores
from tests.fakes.calls import read

TOOL = {"type": "file_search", "vector_store_ids": ["vs_1", "vs_2"]}
FUNCTION = {"type": "function", "function": {"name": "look"}}


def chat(**more: Any) -> Call:
    return read({"model": "m", "messages": [{"role": "user", "content": "Where?"}], **more})


def sent(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(call.inbound.body)
    return found


def test_a_call_without_the_tool_asks_for_nothing() -> None:
    assert chat(tools=[FUNCTION]).file_search is None
    assert chat(metadata={"a": '"file_search"'}).file_search is None
    assert chat(tools=[{"type": "file_search"}]).file_search is None


def test_all_that_the_tool_says_is_read() -> None:
    tool = TOOL | {
        "filters": {"type": "eq", "key": "a", "value": 1},
        "max_num_results": 5,
        "ranking_options": {"score_threshold": 0.4, "hybrid_search": {"embedding_weight": 2, "text_weight": 1}},
    }
    body: dict[str, object] = {
        "model": "m",
        "input": "Where?",
        "tools": [tool],
        "include": ["file_search_call.results"],
    }
    found = read(body, "/v1/responses").file_search
    assert found is not None
    assert (found.stores, found.limit, found.threshold) == (("vs_1", "vs_2"), 5, 0.4)
    assert (found.weights, found.wants_results) == ((2.0, 1.0), True)
    assert msgspec.json.decode(found.filters) == tool["filters"]


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"max_num_results": 99}, r"tools[0].max_num_results"),
        ({"ranking_options": {"score_threshold": 7}}, "tools[0].ranking_options.score_threshold"),
        ({"vector_store_ids": "vs_1"}, "tools[0].vector_store_ids"),
    ],
)
def test_what_it_cannot_say_is_named(wrong: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        chat(tools=[TOOL | wrong])
    assert refused.value.param == param


def test_what_is_searched_here_does_not_go_upstream() -> None:
    call = without_stores(chat(tools=[TOOL], tool_choice="required", parallel_tool_calls=True), ("vs_1", "vs_2"))
    assert sent(call).keys() == {"model", "messages"}
    assert not call.has_tools


def test_other_tools_and_other_stores_stay() -> None:
    call = without_stores(chat(tools=[FUNCTION, TOOL], tool_choice="auto"), ("vs_1",))
    assert sent(call)["tools"] == [FUNCTION, TOOL | {"vector_store_ids": ["vs_2"]}]
    assert sent(call)["tool_choice"] == "auto"
    assert call.file_search is not None
    assert call.file_search.stores == ("vs_1",)


def test_results_are_not_asked_for_where_nothing_searches() -> None:
    include = ["file_search_call.results", "message.output_text.logprobs"]
    body: dict[str, object] = {"model": "m", "input": "Where?", "tools": [TOOL], "include": include}
    call = without_stores(read(body, "/v1/responses"), ("vs_1", "vs_2"))
    assert sent(call)["include"] == include[1:]


NEAR = {"filters": {"type": "eq", "key": "a", "value": 1}}
FAR = {"filters": {"type": "eq", "key": "a", "value": 2}}
KEEN = {"ranking_options": {"score_threshold": 0.4}}


@pytest.mark.parametrize(
    ("first", "second", "param"),
    [
        (NEAR, FAR, "tools[2].filters"),
        ({}, NEAR, "tools[2].filters"),
        (NEAR, {}, "tools[2].filters"),
        (KEEN, {}, "tools[2].ranking_options"),
    ],
)
def test_tools_that_want_different_things_of_one_search_are_refused(
    first: dict[str, object], second: dict[str, object], param: str
) -> None:
    call = chat(tools=[TOOL | first, FUNCTION, TOOL | second])
    with pytest.raises(InvalidRequest) as refused:
        without_stores(call, ("vs_1",))
    assert refused.value.param == param


def test_tools_that_want_the_same_are_one_search() -> None:
    same = {"filters": dict(reversed(NEAR["filters"].items())), "ranking_options": {"score_threshold": 0}}
    other = {"vector_store_ids": ["vs_2"], "max_num_results": 30}
    found = without_stores(chat(tools=[TOOL | NEAR, TOOL | same | other]), ("vs_1", "vs_2")).file_search
    assert found is not None
    assert (msgspec.json.decode(found.filters), found.limit) == (NEAR["filters"], 30)


def test_the_filters_of_a_providers_store_are_its_own_affair() -> None:
    foreign = TOOL | FAR | {"vector_store_ids": ["vs_9"]}
    call = without_stores(chat(tools=[foreign, TOOL | NEAR]), ("vs_1", "vs_2"))
    assert sent(call)["tools"] == [foreign]
    assert call.file_search is not None
    assert msgspec.json.decode(call.file_search.filters) == NEAR["filters"]


def test_a_call_that_wants_no_tool_used_searches_nothing() -> None:
    call = without_stores(chat(tools=[TOOL, FUNCTION], tool_choice="none"), ("vs_1", "vs_2"))
    assert call.file_search is None
    assert sent(call)["tools"] == [FUNCTION]


def test_nobody_is_made_to_use_a_tool_that_is_gone() -> None:
    call = chat(tools=[FUNCTION, TOOL], tool_choice={"type": "file_search"})
    assert "tool_choice" not in sent(without_stores(call, ("vs_1", "vs_2")))
    assert sent(without_stores(call, ("vs_1",)))["tool_choice"] == {"type": "file_search"}
