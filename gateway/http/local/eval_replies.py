"""Evals, runs and output items as OpenAI's objects.

Where the official types want a number and nothing is known, 0 stands on the wire, and a key of ours beside it says so.
"""

from typing import Any

import msgspec

from gateway.http.local.graders import errors_object, summed
from gateway.http.local.replies import Json
from gateway.tuning.evals.evaluating import read_outcome
from gateway.tuning.evals.values import Eval, Outcome, OutputItem, Progress, Result, Run, Tally
from gateway.tuning.graders.graded import ModelUsage

NO_ERROR: Json = {"code": "", "message": ""}


def eval_object(made: Eval) -> Json:
    """An eval; its schema is the one of a row: the item, and the sample where the eval says that there is one."""
    config = msgspec.json.decode(made.data_source_config)
    properties: Json = {"item": config["item_schema"]}
    if config.get("include_sample_schema"):
        properties["sample"] = {"type": "object"}
    return {
        "id": made.id,
        "object": "eval",
        "created_at": int(made.created_at),
        "name": made.name,
        "data_source_config": {
            "type": config["type"],
            "schema": {"type": "object", "properties": properties, "required": list(properties)},
        },
        "testing_criteria": msgspec.Raw(made.testing_criteria.encode()),
        "metadata": msgspec.Raw(made.metadata.encode()),
    }


def run_object(run: Run, made: Eval, progress: Progress, report_url: str) -> Json:
    """A run. `total` counts evaluated items, as the API has it; `item_count`, which is ours, all of them."""
    counts = {name: progress.by_status.get(status, 0) for name, status in COUNTED.items()}
    return {
        "id": run.id,
        "object": "eval.run",
        "eval_id": run.eval_id,
        "created_at": int(run.created_at),
        "name": run.name,
        "model": run.model,
        "status": run.status,
        "data_source": msgspec.Raw(run.data_source.encode()),
        "metadata": msgspec.Raw(run.metadata.encode()),
        "error": {"code": run.error_code, "message": run.error_message},
        "report_url": report_url,
        "result_counts": {**counts, "total": sum(counts.values())},
        "item_count": run.item_count,
        "per_model_usage": [_model_object(one) for one in progress.tallies if one.kind == "model"],
        "per_testing_criteria_results": _criteria(made, progress),
    }


COUNTED = {"passed": "pass", "failed": "fail", "errored": "error"}


def _criteria(made: Eval, progress: Progress) -> list[Json]:
    sums = {int(one.name): one for one in progress.tallies if one.kind == "criterion"}
    told = []
    for number, criterion in enumerate(msgspec.json.decode(made.testing_criteria)):
        one = sums.get(number, Tally("criterion", ""))
        told.append({"testing_criteria": criterion["name"], "passed": one.passed, "failed": one.failed})
    return told


def _model_object(one: Tally) -> Json:
    return {
        "model_name": one.name,
        "invocation_count": one.invocations,
        "prompt_tokens": one.prompt_tokens,
        "completion_tokens": one.completion_tokens,
        "cached_tokens": one.cached_tokens,
        "total_tokens": one.prompt_tokens + one.completion_tokens,
        "unmetered_count": one.unmetered,
    }


def item_object(item: OutputItem, run: Run) -> Json:
    """An evaluated item with its sample and what each criterion said."""
    outcome = read_outcome(item.outcome)
    return {
        "id": item.id,
        "object": "eval.run.output_item",
        "created_at": int(item.created_at),
        "eval_id": run.eval_id,
        "run_id": run.id,
        "status": item.status,
        "datasource_item_id": item.number,
        "datasource_item": msgspec.Raw(item.item.encode()),
        "results": [_result_object(one) for one in outcome.results],
        "sample": _sample_object(item, run, outcome),
    }


def _result_object(one: Result) -> Json:
    told: Json = {"name": one.name, "type": one.type, "score": one.score, "passed": one.passed}
    if one.said is not None or one.usage:
        used = summed(one.usage)
        told["sample"] = {"output": one.said, "usage": [_usage_object(each) for each in used]}
    if not one.errors.is_empty:
        told["errors"] = errors_object(one.errors)
    return told


def _sample_object(item: OutputItem, run: Run, outcome: Outcome) -> Json:
    sampled = outcome.sampled
    given = msgspec.json.decode(item.given) if item.given else {}
    namespace = sampled.namespace if sampled is not None and sampled.namespace else given
    params = msgspec.json.decode(run.data_source).get("sampling_params") or {}
    usage = sampled.usage if sampled is not None else None
    error = sampled.error if sampled is not None else None
    return {
        "input": [_turn(turn) for turn in (sampled.input if sampled is not None else [])],
        "output": _output(namespace),
        "finish_reason": sampled.finish_reason if sampled is not None else "",
        "model": usage.model if usage is not None else run.model,
        "seed": params.get("seed") or 0,
        "temperature": params.get("temperature") or (0.0 if "temperature" in params else 1.0),
        "top_p": params.get("top_p") or 1.0,
        "max_completion_tokens": params.get("max_completion_tokens") or 0,
        "usage": _usage_object(usage),
        "error": NO_ERROR if error is None else {"code": error[0], "message": error[1]},
    }


def _output(namespace: Any) -> list[Json]:
    text = namespace.get("output_text")
    if text is None:
        return []
    return [{"role": "assistant", "content": text if isinstance(text, str) else _json(text)}]


def _turn(turn: Any) -> Json:
    content = turn.get("content")
    return {"role": turn.get("role", ""), "content": content if isinstance(content, str) else _json(content)}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _usage_object(usage: ModelUsage | None) -> Json:
    prompt = usage.prompt_tokens if usage is not None else None
    completion = usage.completion_tokens if usage is not None else None
    cached = usage.cached_tokens if usage is not None else None
    return {
        "prompt_tokens": prompt or 0,
        "completion_tokens": completion or 0,
        "cached_tokens": cached or 0,
        "total_tokens": (prompt or 0) + (completion or 0),
        "is_known": prompt is not None,
    }
