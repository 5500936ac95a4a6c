"""Evals and graders through the official SDK: made, run in the background, paged, canceled, booked to the team."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import openai
import pydantic
import pytest
from openai.types import (
    EvalCreateResponse,
    EvalDeleteResponse,
    EvalListResponse,
    EvalRetrieveResponse,
    EvalUpdateResponse,
)
from openai.types.evals import (
    RunCancelResponse,
    RunCreateResponse,
    RunDeleteResponse,
    RunListResponse,
    RunRetrieveResponse,
)
from openai.types.evals.runs import OutputItemListResponse, OutputItemRetrieveResponse
from openai.types.fine_tuning.alpha import GraderRunResponse, GraderValidateResponse

from tests.fakes.running_gateway import RunningGateway, until

SCHEMA = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["question", "answer"],
}
EQUAL: Any = {
    "type": "string_check",
    "name": "same words",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}
JUDGE: Any = {
    "type": "score_model",
    "name": "judge",
    "model": "gpt-4.1-mini",
    "range": [1, 5],
    "pass_threshold": 1,
    "input": [{"role": "user", "content": "Rate {{sample.output_text}} against {{item.answer}}"}],
}
LIKE: Any = {
    "type": "text_similarity",
    "name": "like it",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "evaluation_metric": "rouge_l",
    "pass_threshold": 0.5,
}
PROMPT: Any = {"type": "template", "template": [{"role": "user", "content": "{{item.question}}"}]}
ENDED = {"completed", "failed", "canceled"}


@pytest.fixture(scope="module")
def client(gateway: RunningGateway) -> openai.OpenAI:
    return gateway.client("assessors")


@pytest.fixture
def made(client: openai.OpenAI) -> Iterator[EvalCreateResponse]:
    one = create(client, [EQUAL, JUDGE, LIKE])
    yield one
    with contextlib.suppress(openai.NotFoundError):
        client.evals.delete(one.id)


def create(client: openai.OpenAI, criteria: list[Any], **more: Any) -> EvalCreateResponse:
    config: Any = {"type": "custom", "item_schema": SCHEMA, "include_sample_schema": True}
    return client.evals.create(data_source_config=config, testing_criteria=criteria, **more)


def inline(*rows: dict[str, Any]) -> Any:
    return {"type": "jsonl", "source": {"type": "file_content", "content": list(rows)}}


def row(question: str, answer: str, said: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"item": {"question": question, "answer": answer}}
    return made if said is None else made | {"sample": {"output_text": said}}


def ended(client: openai.OpenAI, eval_id: str, run_id: str) -> RunRetrieveResponse:
    def look() -> RunRetrieveResponse | None:
        run = client.evals.runs.retrieve(run_id, eval_id=eval_id)
        return run if run.status in ENDED else None

    return until(look, 30, what="the end of a run")


def strictly(kind: type[pydantic.BaseModel], raw: Any) -> None:
    """The reply is of its official type, strictly: no number as a text, and every required key there."""
    kind.model_validate_json(raw.text, strict=True)


class TestRuns:
    def test_a_file_is_answered_graded_counted_and_booked(
        self, gateway: RunningGateway, client: openai.OpenAI, made: EvalCreateResponse
    ) -> None:
        rows = [
            row(f"Question {number}?", f'[offline rehearsal] You wrote: "Question {number}?"') for number in range(4)
        ]
        rows.append(row("Question 9?", "Something else entirely, at length"))
        content = "\n".join(json.dumps(one) for one in rows).encode()
        file = client.files.create(file=("set.jsonl", content), purpose="user_data")
        source: Any = {
            "type": "completions",
            "model": "gpt-4.1-mini",
            "input_messages": PROMPT,
            "source": {"type": "file_id", "id": file.id},
            "sampling_params": {"temperature": 0.5, "max_completion_tokens": 64, "seed": 7},
        }
        begun = client.evals.runs.create(made.id, data_source=source, name="first")
        assert begun.status == "queued"
        # What is evaluated is what the file held when the run began.
        client.files.delete(file.id)
        run = ended(client, made.id, begun.id)
        assert run.status == "completed", run
        counts = run.result_counts
        assert (counts.total, counts.passed, counts.failed, counts.errored) == (5, 4, 1, 0)
        by_name = {one.testing_criteria: (one.passed, one.failed) for one in run.per_testing_criteria_results}
        assert by_name == {"same words": (4, 1), "judge": (5, 0), "like it": (4, 1)}
        (used,) = run.per_model_usage
        # The five answers and the five judgements of them.
        assert (used.run_model_name, used.invocation_count) == ("gpt-4.1-mini", 10)
        rows_booked = gateway.rows_of("assessors", 10)
        assert {one["outcome"] for one in rows_booked} == {"ok"}
        assert sum(one["input_tokens"] for one in rows_booked) == used.prompt_tokens
        assert sum(one["output_tokens"] for one in rows_booked) == used.completion_tokens
        report = gateway.admin("GET", "/admin/usage?team=assessors&by=metadata.purpose")
        assert [line["group"] for line in report["lines"]] == [{"metadata.purpose": "evaluation"}]
        items = list(client.evals.runs.output_items.list(begun.id, eval_id=made.id, limit=2))
        assert [item.datasource_item_id for item in items] == [0, 1, 2, 3, 4]
        assert [item.status for item in items] == ["pass"] * 4 + ["fail"]
        first = items[0]
        assert first.sample.output[0].content == '[offline rehearsal] You wrote: "Question 0?"'
        assert first.sample.input[0].content == "Question 0?"
        assert (first.sample.temperature, first.sample.seed, first.sample.max_completion_tokens) == (0.5, 7, 64)
        assert [(one.name, one.score) for one in first.results] == [("same words", 1), ("judge", 1), ("like it", 1)]
        again = client.evals.runs.output_items.retrieve(first.id, eval_id=made.id, run_id=begun.id)
        assert again.model_dump() == first.model_dump()
        failed = client.evals.runs.output_items.list(begun.id, eval_id=made.id, status="fail")
        assert [item.datasource_item_id for item in failed] == [4]

    def test_every_reply_is_of_its_official_type(self, client: openai.OpenAI, made: EvalCreateResponse) -> None:
        evals, runs = client.evals.with_raw_response, client.evals.runs.with_raw_response
        config: Any = {"type": "custom", "item_schema": SCHEMA}
        strictly(
            EvalCreateResponse,
            evals.create(data_source_config=config, testing_criteria=[EQUAL, JUDGE, LIKE], metadata={"a": "b"}),
        )
        strictly(EvalRetrieveResponse, evals.retrieve(made.id))
        strictly(EvalUpdateResponse, evals.update(made.id, name="renamed", metadata={"set": "gold"}))
        for one in json.loads(evals.list(order="desc", order_by="updated_at", limit=5).text)["data"]:
            EvalListResponse.model_validate_json(json.dumps(one), strict=True)
        source = inline(row("Q", "A", "A"))
        begun = runs.create(made.id, data_source=source, metadata={"why": "types"})
        strictly(RunCreateResponse, begun)
        run_id = begun.parse().id
        ended(client, made.id, run_id)
        strictly(RunRetrieveResponse, runs.retrieve(run_id, eval_id=made.id))
        for one in json.loads(runs.list(made.id, status="completed").text)["data"]:
            RunListResponse.model_validate_json(json.dumps(one), strict=True)
        items = client.evals.runs.output_items.with_raw_response
        (item,) = json.loads(items.list(run_id, eval_id=made.id).text)["data"]
        OutputItemListResponse.model_validate_json(json.dumps(item), strict=True)
        strictly(OutputItemRetrieveResponse, items.retrieve(item["id"], eval_id=made.id, run_id=run_id))
        strictly(RunCancelResponse, runs.cancel(run_id, eval_id=made.id))
        strictly(RunDeleteResponse, runs.delete(run_id, eval_id=made.id))
        strictly(EvalDeleteResponse, evals.delete(made.id))
        with pytest.raises(openai.NotFoundError):
            client.evals.retrieve(made.id)

    def test_responses_are_sampled_and_messages_may_stand_in_the_item(self, client: openai.OpenAI) -> None:
        made = client.evals.create(
            data_source_config={"type": "custom", "item_schema": {"type": "object"}, "include_sample_schema": True},
            testing_criteria=[EQUAL | {"reference": 'You wrote: "{{item.q}}"', "operation": "like"}],
        )
        rows = [{"item": {"q": "Hello", "turns": [{"role": "user", "content": "Hello"}]}}]
        content: Any = {"type": "file_content", "content": rows}
        for kind in ("responses", "completions"):
            for messages in (
                {"type": "item_reference", "item_reference": "item.turns"},
                {"type": "template", "template": [{"role": "user", "content": "{{item.q}}"}]},
            ):
                source: Any = {"type": kind, "model": "gpt-4.1-mini", "source": content, "input_messages": messages}
                begun = client.evals.runs.create(made.id, data_source=source)
                run = ended(client, made.id, begun.id)
                assert (run.status, run.result_counts.passed) == ("completed", 1), (kind, messages)
        assert len(list(client.evals.runs.list(made.id, limit=1))) == 4
        client.evals.delete(made.id)

    def test_a_label_is_asked_for_and_an_unknown_model_is_an_error_of_its_items(self, client: openai.OpenAI) -> None:
        label: Any = {
            "type": "label_model",
            "name": "mood",
            "model": "gpt-4.1-mini",
            "input": [{"role": "user", "content": "Which mood is {{item.question}}?"}],
            "labels": ["good", "bad"],
            "passing_labels": ["good"],
        }
        closed = JUDGE | {"model": "closed-model", "name": "nobody"}
        made = create(client, [label])
        begun = client.evals.runs.create(made.id, data_source=inline(row("Q", "A")))
        assert ended(client, made.id, begun.id).result_counts.passed == 1
        client.evals.delete(made.id)
        asked = client.fine_tuning.alpha.graders.run(grader=closed, model_sample="x", item={"answer": "a"})
        assert asked.metadata.errors.api_model_grader_server_error
        assert asked.reward == 0

    def test_a_run_that_is_canceled_stays_so(self, client: openai.OpenAI, made: EvalCreateResponse) -> None:
        rows = [row(f"Count to {2000 + number}", "x") for number in range(300)]
        content: Any = {"type": "file_content", "content": rows}
        source: Any = {"type": "completions", "model": "gpt-4.1-mini", "source": content, "input_messages": PROMPT}
        begun = client.evals.runs.create(made.id, data_source=source)
        canceled = client.evals.runs.cancel(begun.id, eval_id=made.id)
        assert canceled.status == "canceled"
        before = canceled.result_counts.total
        assert before < 300
        later = client.evals.runs.create(made.id, data_source=inline(row("Q", "A", "A")))
        assert ended(client, made.id, later.id).status == "completed"
        after = client.evals.runs.retrieve(begun.id, eval_id=made.id)
        assert (after.status, after.result_counts.total) == ("canceled", before)
        listed = client.evals.runs.list(made.id, status="canceled")
        assert [run.id for run in listed] == [begun.id]

    def test_a_spent_budget_ends_the_run_and_says_so(self, gateway: RunningGateway) -> None:
        client = gateway.client("paupers")
        made = create(client, [JUDGE])
        # A budget of a thousandth of a cent: some calls fit, forty do not.
        gateway.admin("PUT", "/admin/teams/paupers/budget", {"monthly_budget_usd": "0.0005"})
        content: Any = {"type": "file_content", "content": [row(f"Question {n}", "x") for n in range(40)]}
        source: Any = {"type": "completions", "model": "gpt-4.1-mini", "source": content, "input_messages": PROMPT}
        begun = client.evals.runs.create(made.id, data_source=source)
        run = ended(client, made.id, begun.id)
        assert (run.status, run.error.code) == ("failed", "insufficient_quota")
        assert "paupers" in run.error.message
        assert run.result_counts.total < 40

    def test_a_key_that_may_not_use_the_model_gets_errors_and_no_answers(self, gateway: RunningGateway) -> None:
        client = gateway.client(key=gateway.key("bound", fresh=True, allowed_models=["gpt-4o-mini"]))
        made = create(client, [EQUAL])
        content: Any = {"type": "file_content", "content": [row("Question", "x")]}
        source: Any = {"type": "completions", "model": "gpt-4.1-mini", "source": content, "input_messages": PROMPT}
        begun = client.evals.runs.create(made.id, data_source=source)
        assert ended(client, made.id, begun.id).result_counts.errored == 1
        (item,) = client.evals.runs.output_items.list(begun.id, eval_id=made.id)
        assert (item.status, item.sample.error.code) == ("error", "not_permitted")


class TestFaults:
    def test_every_fault_of_an_eval_is_told_at_once(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            create(
                client, [EQUAL | {"operation": "equals"}, JUDGE | {"range": [5, 1]}, {"type": "python", "name": "p"}]
            )
        told = str(caught.value)
        assert caught.value.param == "testing_criteria[0].operation"
        for place in ("testing_criteria[0].operation", "testing_criteria[1].range", "testing_criteria[2].source"):
            assert place in told

    def test_an_item_schema_that_is_none_is_refused(self, client: openai.OpenAI) -> None:
        config: Any = {"type": "custom", "item_schema": {"type": "text"}}
        with pytest.raises(openai.BadRequestError, match="no JSON Schema") as caught:
            client.evals.create(data_source_config=config, testing_criteria=[EQUAL])
        assert caught.value.param == "data_source_config.item_schema"

    def test_every_fault_of_the_data_is_told_with_its_line(
        self, client: openai.OpenAI, made: EvalCreateResponse
    ) -> None:
        content = b'{"item": {"question": 1, "answer": "a"}}\n\nnonsense\n{"item": {"question": "q"}}\n'
        file = client.files.create(file=("set.jsonl", content), purpose="user_data")
        source: Any = {"type": "jsonl", "source": {"type": "file_id", "id": file.id}}
        with pytest.raises(openai.BadRequestError) as caught:
            client.evals.runs.create(made.id, data_source=source)
        told = str(caught.value)
        for fault in (
            "line 1: item.question: 1 is not of type 'string'",
            "line 1: sample.output_text is named and there is no sample",
            "line 3: is no JSON",
            "line 4: item: 'answer' is a required property",
        ):
            assert fault in told
        assert list(client.evals.runs.list(made.id)) == []

    def test_logs_are_refused_in_words(self, client: openai.OpenAI, made: EvalCreateResponse) -> None:
        config: Any = {"type": "logs", "metadata": {"usecase": "chat"}}
        with pytest.raises(openai.BadRequestError, match="not kept here"):
            client.evals.create(data_source_config=config, testing_criteria=[EQUAL])
        source: Any = {
            "type": "completions",
            "source": {"type": "stored_completions"},
            "model": "m",
            "input_messages": PROMPT,
        }
        with pytest.raises(openai.BadRequestError, match="not kept here"):
            client.evals.runs.create(made.id, data_source=source)

    def test_a_body_that_cannot_be_kept_is_refused(self, gateway: RunningGateway, made: EvalCreateResponse) -> None:
        for path in ("/v1/evals", f"/v1/evals/{made.id}", f"/v1/evals/{made.id}/runs"):
            for body in (
                b"[]",
                b"{",
                b'{"name": "\\ud800"}',
                b'{"name": "\\u0000"}',
                b'{"x": 1e400}',
                b"\xff",
                b"[" * 5_000,
            ):
                reply = gateway.post(path, body, "assessors")
                assert reply.status_code == 400, (path, body)
        for path in ("/v1/evals/x/y", f"/v1/evals/{made.id}/y", f"/v1/evals/{made.id}/runs/z", "/v1/evals/x"):
            assert gateway.post(path, b"{}", "assessors").status_code == 404
        listed = (
            "/v1/evals?limit=0",
            "/v1/evals?order_by=size",
            "/v1/evals?after=nobody",
            f"/v1/evals/{made.id}/runs?status=x",
        )
        for path in listed:
            reply = gateway.http.get(path, headers={"authorization": f"Bearer {gateway.key('assessors')}"})
            assert reply.status_code == 400, path

    def test_another_team_sees_nothing(
        self, gateway: RunningGateway, client: openai.OpenAI, made: EvalCreateResponse
    ) -> None:
        begun = client.evals.runs.create(made.id, data_source=inline(row("Q", "A", "A")))
        stranger = gateway.client("strangers")
        for look in (
            lambda: stranger.evals.retrieve(made.id),
            lambda: stranger.evals.delete(made.id),
            lambda: stranger.evals.runs.retrieve(begun.id, eval_id=made.id),
            lambda: stranger.evals.runs.output_items.list(begun.id, eval_id=made.id),
        ):
            with pytest.raises(openai.NotFoundError):
                look()
        assert list(stranger.evals.list()) == []

    def test_lists_are_cut_exactly(self, gateway: RunningGateway) -> None:
        client = gateway.client("pagers")
        ids = [create(client, [EQUAL]).id for _ in range(5)]
        assert [one.id for one in client.evals.list(limit=2)] == ids
        assert [one.id for one in client.evals.list(limit=2, order="desc")] == ids[::-1]
        assert not client.evals.list(limit=5).has_more
        assert client.evals.list(limit=4).has_more
        client.evals.update(ids[0], name="touched")
        assert [one.id for one in client.evals.list(order_by="updated_at", limit=2)] == [*ids[1:], ids[0]]


class TestGraders:
    async def test_run_and_validate_answer_in_their_official_types(self, gateway: RunningGateway) -> None:
        client = gateway.async_client("assessors")
        graders = client.fine_tuning.alpha.graders.with_raw_response
        multi: Any = {
            "type": "multi",
            "name": "both",
            "graders": LIKE | {"name": "closeness"},
            "calculate_output": "min(closeness, 1) * 2 ^ 2",
        }
        strictly(GraderValidateResponse, await graders.validate(grader=multi))
        raw = await graders.run(grader=multi, model_sample="five days", item={"answer": "five days"})
        strictly(GraderRunResponse, raw)
        told = raw.parse()
        assert (told.reward, told.sub_rewards, told.metadata.type) == (4.0, {"closeness": 1.0}, "multi")
        judged = await client.fine_tuning.alpha.graders.run(grader=JUDGE, model_sample="x", item={"answer": "y"})
        assert judged.reward == 1
        assert judged.metadata.sampled_model_name == "gpt-4.1-mini"
        assert (judged.metadata.token_usage or 0) > 0
        unknown = await client.fine_tuning.alpha.graders.run(grader=EQUAL, model_sample="x", item={})
        assert unknown.metadata.errors.invalid_variable_error
        assert "item.answer" in (unknown.metadata.errors.model_extra or {})["details"]

    def test_programs_and_addresses_are_refused(self, client: openai.OpenAI) -> None:
        graders: list[Any] = [
            {"type": "python", "name": "p", "source": "def grade(sample, item): return 1"},
            {"type": "endpoint", "name": "e", "url": "https://example.com"},
        ]
        for grader in graders:
            with pytest.raises(openai.BadRequestError, match="not run here"):
                client.fine_tuning.alpha.graders.run(grader=grader, model_sample="x")
