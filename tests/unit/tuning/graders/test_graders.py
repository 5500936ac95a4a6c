"""Each grader: its score, its flags, and what it asks of a model."""

import json
from typing import Any

import pytest

from gateway.core.answered import Answered
from gateway.core.errors import InvalidRequest
from gateway.core.json_value import Json
from gateway.tuning.graders.graded import Graded
from gateway.tuning.graders.template import Subject, sample_of
from gateway.tuning.graders.written import grade, read_grader

TURN: dict[str, Json] = {"role": "user", "content": "Rate {{sample.output_text}}"}
SCORE: dict[str, Json] = {"type": "score_model", "name": "s", "model": "judge", "input": [TURN]}
LABEL: dict[str, Json] = {
    "type": "label_model",
    "name": "l",
    "model": "judge",
    "input": [TURN],
    "labels": ["good", "bad"],
    "passing_labels": ["good"],
}
CHECK: dict[str, Json] = {
    "type": "string_check",
    "name": "c",
    "input": "{{sample.output_text}}",
    "reference": "{{item.a}}",
    "operation": "eq",
}


class Model:
    """Says what it is told to, and remembers what it was asked."""

    def __init__(self, said: str | None = None, status: int = 200, **message: Json) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._message = {"role": "assistant", "content": said, **message}
        self._status = status

    async def ask(self, path: str, body: bytes) -> Answered:
        self.asked.append((path, json.loads(body)))
        if self._status != 200:
            error = {"message": "the upstream is away", "type": "t", "param": None, "code": "upstream_failed"}
            return Answered(self._status, json.dumps({"error": error}).encode())
        if path == "/v1/embeddings":
            data = [{"embedding": vector} for vector in ([3.0, 4.0], [4.0, 3.0])]
            told = {"data": data, "model": "embedder", "usage": {"prompt_tokens": 6, "total_tokens": 6}}
            return Answered(200, json.dumps(told).encode())
        usage = {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15}
        choice = {"index": 0, "message": self._message, "finish_reason": "stop"}
        return Answered(200, json.dumps({"model": "judge-1", "choices": [choice], "usage": usage}).encode())


async def graded(written: Json, model: Model | None = None, said: str = "five days", item: Json = None) -> Graded:
    grader = read_grader(json.dumps(written).encode())
    return await grade(grader, Subject(item or {"a": "Five Days"}, sample_of(said)), (model or Model()).ask)


@pytest.mark.parametrize(
    ("operation", "said", "score"),
    [
        ("eq", "Five Days", 1),
        ("eq", "five days", 0),
        ("ne", "five days", 1),
        ("ne", "Five Days", 0),
        ("like", "in Five Days or so", 1),
        ("like", "in five days", 0),
        ("ilike", "in FIVE DAYS", 1),
        ("ilike", "in five", 0),
    ],
)
async def test_string_check(operation: str, said: str, score: float) -> None:
    found = await graded(CHECK | {"operation": operation}, said=said)
    assert (found.score, found.passed) == (score, bool(score))


async def test_a_score_is_asked_for_with_its_range_and_clamped_to_it() -> None:
    model = Model('{"steps": [], "result": 9.5}')
    written = SCORE | {"range": [1, 5], "sampling_params": {"max_completions_tokens": 99, "seed": 4}}
    found = await graded(written, model)
    assert (found.score, found.passed, found.usage[0].prompt_tokens) == (5, True, 11)
    ((path, body),) = model.asked
    assert (path, body["model"], body["max_completion_tokens"], body["seed"]) == (
        "/v1/chat/completions",
        "judge",
        99,
        4,
    )
    assert body["messages"][1] == {"role": "user", "content": "Rate five days"}
    assert "from 1 to 5" in body["messages"][0]["content"]
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["result"] == {"type": "number", "minimum": 1, "maximum": 5}


@pytest.mark.parametrize(
    "said", ["five", '{"result": "high"}', '{"result": true}', '{"steps": []}', "[1]", "", '{"result": 1e999}']
)
async def test_what_is_no_number_is_0_with_its_flag(said: str) -> None:
    found = await graded(SCORE, Model(said))
    assert (found.score, found.passed, found.errors.model_grader_parse_error) == (0, False, True)
    assert found.usage[0].completion_tokens == 4


async def test_a_refusal_and_a_failure_have_flags_of_their_own() -> None:
    refused = await graded(SCORE, Model(None, refusal="I will not"))
    assert refused.errors.model_grader_refusal_error
    away = await graded(SCORE, Model(status=502))
    assert away.errors.model_grader_server_error
    assert "upstream_failed" in (away.errors.model_grader_server_error_details or "")


async def test_the_threshold_is_the_graders_or_the_middle() -> None:
    said = Model('{"steps": [], "result": 0.5}')
    assert (await graded(SCORE, said)).passed
    assert not (await graded(SCORE | {"pass_threshold": 0.6}, said)).passed


@pytest.mark.parametrize(("said", "score", "flag"), [("good", 1, 0), ("bad", 0, 0), ("ugly", 0, 1)])
async def test_a_label_passes_when_it_is_among_the_passing(said: str, score: float, flag: int) -> None:
    model = Model(json.dumps({"steps": [], "result": said}))
    found = await graded(LABEL, model)
    assert (found.score, found.errors.model_grader_parse_error) == (score, flag)
    schema = model.asked[0][1]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["result"]["enum"] == ["good", "bad"]


async def test_cosine_asks_an_embedder() -> None:
    written = CHECK | {"type": "text_similarity", "evaluation_metric": "cosine", "pass_threshold": 0.9}
    del written["operation"]
    model = Model()
    found = await graded(written, model)
    assert found.score == pytest.approx(0.96)
    assert found.passed
    assert model.asked[0][1]["input"] == ["five days", "Five Days"]
    assert (found.usage[0].model, found.usage[0].prompt_tokens) == ("embedder", 6)


async def test_a_multi_grader_calculates_and_hands_its_parts_flags_on() -> None:
    multi: Json = {
        "type": "multi",
        "name": "m",
        "graders": {"exact": CHECK, "judged": SCORE},
        "calculate_output": "0.25 * exact + 0.75 * judged",
    }
    found = await graded(multi, Model('{"result": 0.5}'), said="Five Days")
    assert (found.score, dict(found.parts)) == (0.625, {"exact": 1, "judged": 0.5})
    unreadable = await graded(multi, Model("?"), said="Five Days")
    assert (unreadable.score, unreadable.errors.model_grader_parse_error) == (0.25, True)
    divided: dict[str, Json] = {
        "type": "multi",
        "name": "m",
        "graders": {"exact": CHECK},
        "calculate_output": "1 / exact",
    }
    assert (await graded(divided)).errors.formula_parse_error


FORM: dict[str, Json] = {
    "type": "object",
    "properties": {
        "days": {"type": "integer"},
        "kind": {"enum": ["card", "cash"]},
        "tags": {"items": {"type": "string"}},
    },
    "required": ["days"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ('{"days": 5}', 1),
        ('{"days": 5, "kind": "cash", "tags": ["a"]}', 1),
        ('{"days": 5.5}', 0),
        ('{"days": true}', 0),
        ('{"kind": "card"}', 0),
        ('{"days": 5, "kind": "gold"}', 0),
        ('{"days": 5, "tags": [1]}', 0),
        ('{"days": 5, "more": 1}', 0),
        ("[]", 0),
        ("five days", 0),
        ("", 0),
    ],
)
async def test_an_answer_has_the_form_or_has_it_not(said: str, score: float) -> None:
    written: Json = {"type": "json_schema", "name": "f", "input": "{{sample.output_text}}", "json_schema": FORM}
    found = await graded(written, said=said)
    assert (found.score, found.passed, found.errors.is_empty) == (score, bool(score), True)


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"properties": {"a": {"pattern": "(?=x)y"}}}, r"pattern '\(\?=x\)y' cannot be checked here"),
        ({"unevaluatedProperties": False}, "unevaluatedProperties cannot be checked here"),
        ({"type": "text"}, "no JSON Schema"),
    ],
)
def test_a_form_that_nobody_would_check_is_refused(schema: Json, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told) as caught:
        read_grader(json.dumps({"type": "json_schema", "name": "f", "input": "x", "json_schema": schema}).encode())
    assert caught.value.param == "grader.json_schema"


async def test_an_image_and_a_sound_go_to_the_judge_as_parts() -> None:
    content: Json = [
        "Look:",
        {"type": "input_image", "image_url": "{{item.url}}", "detail": "low"},
        {"type": "input_audio", "input_audio": {"data": "{{item.sound}}", "format": "wav"}},
    ]
    model = Model('{"result": 1}')
    await graded(
        SCORE | {"input": [{"role": "user", "content": content}]},
        model,
        item={"url": "https://x/y.png", "sound": "QQ=="},
    )
    assert model.asked[0][1]["messages"][1]["content"] == [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
    ]


@pytest.mark.parametrize(
    ("written", "param"),
    [
        (CHECK | {"operation": "neq"}, "grader.operation"),
        (CHECK | {"reference": "{{item"}, "grader.reference"),
        (CHECK | {"pass_treshold": 1}, "grader.pass_treshold"),
        (CHECK | {"name": 1}, "grader.name"),
        (SCORE | {"range": [2]}, "grader.range"),
        (SCORE | {"input": []}, "grader.input"),
        (SCORE | {"input": [{"role": "boss", "content": "x"}]}, "grader.input[0].role"),
        (SCORE | {"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "grader.input[0].content[0]"),
        (LABEL | {"passing_labels": ["fine"]}, "grader"),
        ({"type": "multi", "name": "m", "graders": {"min": CHECK}, "calculate_output": "1"}, "grader"),
        ({"type": "multi", "name": "m", "graders": {"a": CHECK}, "calculate_output": "a + b"}, "grader"),
        ({"type": "multi", "name": "m", "graders": {"a": CHECK}, "calculate_output": "a +"}, "grader.calculate_output"),
        ({"type": "python", "name": "p", "source": "x"}, "grader.source"),
        ({"type": "nothing", "name": "p"}, "grader"),
        ([], "grader"),
    ],
)
def test_a_grader_that_cannot_be_is_refused_at_its_place(written: Json, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_grader(json.dumps(written).encode())
    assert caught.value.param == param


def test_every_fault_is_told() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_grader(json.dumps({"type": "string_check", "input": "{{x}}", "operation": "is", "extra": 1}).encode())
    for place in ("grader.name", "grader.input", "grader.reference", "grader.operation", "grader.extra"):
        assert f"{place}: " in caught.value.message
