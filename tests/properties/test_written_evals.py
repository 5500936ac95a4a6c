"""Whatever JSON is sent as a grader, an eval or a run: it is read, or refused in words; nothing else comes of it."""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest
from gateway.tuning.evals.data_source import read_new_run
from gateway.tuning.evals.written import read_new_eval
from gateway.tuning.graders.written import read_grader

KEYS = [
    "type",
    "name",
    "input",
    "reference",
    "operation",
    "graders",
    "calculate_output",
    "model",
    "labels",
    "passing_labels",
    "range",
    "role",
    "content",
    "data_source",
    "source",
    "input_messages",
    "template",
    "testing_criteria",
    "data_source_config",
    "item_schema",
    "metadata",
]
WORDS = [
    "string_check",
    "text_similarity",
    "score_model",
    "label_model",
    "multi",
    "python",
    "endpoint",
    "custom",
    "logs",
    "jsonl",
    "completions",
    "responses",
    "file_content",
    "file_id",
    "template",
    "item_reference",
    "input_text",
    "user",
    "{{item.x}}",
    "{{",
    "a + b",
    "eq",
]
_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=5)
)
_json = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=25,
)


def told(read: Callable[[bytes], object], body: bytes) -> str:
    """What comes of reading it, in words."""
    try:
        read(body)
    except InvalidRequest as fault:
        return fault.message
    return "read"


@given(_json)
def test_any_json_is_read_or_refused(written: Any) -> None:
    for read in (read_grader, read_new_eval, read_new_run):
        assert told(read, json.dumps(written).encode())


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for read in (read_grader, read_new_eval, read_new_run):
        assert told(read, body)
