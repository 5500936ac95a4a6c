"""Whatever stands in a body, it is answered or refused in OpenAI's shape."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.offline.chat import answer_chat
from gateway.offline.completions import answer_completion
from gateway.offline.embeddings import answer_embeddings
from gateway.offline.exchange import Refusal
from gateway.offline.requests import (
    ChatRequest,
    CompletionRequest,
    EmbeddingsRequest,
    Message,
    Part,
    ResponsesRequest,
    prompt_tokens_of,
    read_request,
)
from gateway.offline.responses import answer_responses
from gateway.offline.work import Work

ENDPOINTS: list[tuple[type[Any], Callable[..., Work]]] = [
    (ChatRequest, answer_chat),
    (CompletionRequest, answer_completion),
    (ResponsesRequest, answer_responses),
    (EmbeddingsRequest, answer_embeddings),
]
WORDS = """
    role user content type text function name parameters tools tool_choice required properties
    items anyOf allOf $ref # enum const minItems maximum multipleOf string object array integer
    json_schema schema format pattern
""".split()  # noqa: SIM905 -- a list of words
SCALAR = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.sampled_from(WORDS)
JSON = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)
TOOL = st.fixed_dictionaries({"type": st.just("function"), "name": JSON, "function": JSON, "parameters": JSON})
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "messages": st.just([{"role": "user", "content": "function"}]) | JSON,
    "input": st.just("hello") | JSON,
    "prompt": st.just("hello") | JSON,
    "stream": st.booleans() | JSON,
    "tools": st.lists(TOOL, max_size=2) | JSON,
    "tool_choice": st.just("required") | JSON,
    "response_format": st.fixed_dictionaries({"type": st.just("json_schema"), "json_schema": JSON}) | JSON,
    "text": st.fixed_dictionaries({"format": JSON}) | JSON,
    "n": st.integers(0, 3) | JSON,
    "stop": JSON,
    "logprobs": JSON,
    "dimensions": st.integers(0, 64) | JSON,
    "encoding_format": JSON,
}


@pytest.mark.parametrize(("shape", "answer"), ENDPOINTS, ids=lambda one: one.__name__)
@given(fields=st.fixed_dictionaries({"model": st.just("m")}, optional=FIELDS))
def test_any_json_object_is_answered_or_refused(
    shape: type[Any], answer: Callable[..., Work], fields: dict[str, Any]
) -> None:
    try:
        work = answer(read_request(msgspec.json.encode(_narrow(fields)), shape), with_usage=True)
    except Refusal:
        return
    assert work.prompt_tokens >= 0
    assert msgspec.json.encode(work.whole)
    if work.stream is not None:
        assert sum(event.tokens for event in work.stream) == work.completion_tokens


def test_a_refusal_names_the_field() -> None:
    with pytest.raises(Refusal) as caught:
        read_request(b'{"model":"m","messages":[{"role":1}]}', ChatRequest)
    assert caught.value.body["error"]["param"] == "messages[0].role"


def test_a_prompt_counts_its_words_its_messages_its_images_and_its_tools() -> None:
    messages = [
        Message(role="system", content="Be short."),
        Message(role="user", content=[Part(type="text", text="Look here"), Part(type="image_url")]),
    ]
    assert prompt_tokens_of(messages, None) == 3 + (4 + 3) + (4 + 2 + 85)
    assert prompt_tokens_of(messages, [{"type": "function"}]) == 3 + (4 + 3) + (4 + 2 + 85) + 11


def _narrow(value: Any) -> Any:
    """The same value with integers that the test's own encoder can write."""
    if isinstance(value, dict):
        return {key: _narrow(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_narrow(inner) for inner in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value)
    return value
