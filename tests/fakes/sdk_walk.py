"""Every method of the official SDK's files, uploads, fine-tuning, evals and batches, called over a socket.

Runs under either major of the SDK, and imports nothing but it: `python sdk_walk.py BASE_URL KEY` prints a report in
JSON. What comes back is read from the raw bytes against the SDK's own types, strictly.
"""

import asyncio
import inspect
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
from pydantic import BaseModel, ValidationError

ROOTS = ("files", "uploads", "fine_tuning", "evals", "batches")
VIEWS = frozenset({"with_raw_response", "with_streaming_response"})
KEYS = {"message", "type", "param", "code"}
MODEL = "gpt-4o-mini-2024-07-18"
PATIENCE_SECONDS = 40.0
# Pages of two: every list that is walked has more of them than one.
PAGE = 2
LIST_KEYS = {"object", "data", "has_more"}


def chats(count: int = 20) -> bytes:
    """A training file."""
    return b"".join(
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"Question {number}"},
                    {"role": "assistant", "content": f"The answer to question {number}"},
                ]
            }
        ).encode()
        + b"\n"
        for number in range(count)
    )


def requests(count: int = 3, model: str = "gpt-4.1-mini") -> bytes:
    """The input of a batch."""
    return b"".join(
        json.dumps(
            {
                "custom_id": f"r{number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": model, "messages": [{"role": "user", "content": f"Count to {number + 1}"}]},
            }
        ).encode()
        + b"\n"
        for number in range(count)
    )


def resources(client: Any) -> Iterator[tuple[str, Any]]:
    """Resources below ROOTS by their dotted names."""

    def below(resource: Any, name: str) -> Iterator[tuple[str, Any]]:
        yield name, resource
        for part in sorted(dir(type(resource))):
            static = inspect.getattr_static(type(resource), part)
            if not part.startswith("_") and part not in VIEWS and not inspect.isfunction(static):
                yield from below(getattr(resource, part), f"{name}.{part}")

    for root in ROOTS:
        yield from below(getattr(client, root), root)


def methods(client: Any) -> set[str]:
    """Every public method of those resources: what this version of the SDK can be asked for."""
    return {
        f"{name}.{part}"
        for name, resource in resources(client)
        for part in dir(type(resource))
        if not part.startswith("_") and inspect.isfunction(inspect.getattr_static(type(resource), part))
    }


class Walk:
    """Calls methods by name, and reads what came as strictly as it can be read."""

    def __init__(self, base_url: str, key: str) -> None:
        self.bodies: list[tuple[str, bytes]] = []
        hooks: dict[str, list[Callable[..., Any]]] = {"response": [self._heard]}
        http = openai.DefaultHttpxClient(event_hooks=hooks)
        self.client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=30, http_client=http)
        self._resources = dict(resources(self.client))
        self.called: dict[str, int] = {}
        self.replies = 0
        self.faults: list[str] = []

    def _heard(self, response: Any) -> None:
        response.read()
        self.bodies.append((f"{response.request.method} {response.request.url.path}", response.content))

    def call(self, name: str, /, *arguments: Any, **named: Any) -> Any:
        """One call. Of a list everything, page by page, as a list."""
        place, _, method = name.rpartition(".")
        before = len(self.bodies)
        value = getattr(self._resources[place], method)(*arguments, **named)
        # A list is walked to its end by the SDK itself, with `has_more` and the last element's id.
        is_list = hasattr(value, "iter_pages")
        found = list(value) if is_list else value
        self.called[name] = self.called.get(name, 0) + 1
        for where, body in self.bodies[before:]:
            self.replies += 1
            self.read_strictly(name, where, body, found if is_list else value, is_list=is_list)
        return found

    def read_strictly(self, name: str, where: str, body: bytes, value: Any, *, is_list: bool) -> None:
        """Notes what is wrong with a reply's bytes. value: what the SDK made of them; of a list its items."""
        try:
            if is_list:
                page = json.loads(body)
                missing = LIST_KEYS - page.keys()
                if missing:
                    self.faults.append(f"{name}: {where} has no {sorted(missing)}")
                for item in page["data"]:
                    type(value[0]).model_validate_json(json.dumps(item), strict=True)
            elif isinstance(value, BaseModel) and name != "files.wait_for_processing" and "chunked" not in name:
                type(value).model_validate_json(body, strict=True)
            elif not body:
                self.faults.append(f"{name}: {where} answered nothing")
        except (ValidationError, ValueError, KeyError, IndexError) as fault:
            self.faults.append(f"{name}: {where}: {type(fault).__name__}: {str(fault)[:400]}")

    def refused(self, kind: type[openai.APIStatusError], name: str, /, *arguments: Any, **named: Any) -> None:
        """The call must be refused so, with all four keys."""
        place, _, method = name.rpartition(".")
        before = len(self.bodies)
        try:
            value = getattr(self._resources[place], method)(*arguments, **named)
            if hasattr(value, "iter_pages"):
                list(value)
        except openai.APIStatusError as error:
            if not isinstance(error, kind):
                self.faults.append(f"{name}: refused as {type(error).__name__}, not {kind.__name__}")
        else:
            self.faults.append(f"{name}: not refused, though it should be ({kind.__name__})")
        for where, body in self.bodies[before:]:
            self.replies += 1
            error_body = json.loads(body).get("error", {})
            if set(error_body) != KEYS:
                self.faults.append(f"{name}: {where}: an error has the keys {sorted(error_body)}")

    def expect(self, holds: object, told: str) -> None:
        """Notes a fault where it does not."""
        if not holds:
            self.faults.append(told)

    def until(self, look: Callable[[], Any], told: str) -> Any:
        """The first true value. Raises TimeoutError."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            found = look()
            if found:
                return found
            time.sleep(0.05)
        raise TimeoutError(told)


def walk_files(walk: Walk) -> None:
    """Files, and uploads in parts."""
    made = [
        walk.call("files.create", file=(f"walk-{number}.jsonl", chats()), purpose="fine-tune") for number in range(3)
    ]
    expires: Any = {"anchor": "created_at", "seconds": 3600}
    ending = walk.call("files.create", file=("e.jsonl", chats()), purpose="fine-tune", expires_after=expires)
    walk.expect(ending.expires_at == ending.created_at + 3600, "files.create: expires_at is not an hour on")
    told = walk.call("files.retrieve", made[0].id)
    walk.expect(told == made[0], "files.retrieve: not what files.create gave")
    walk.expect(walk.call("files.content", made[0].id).content == chats(), "files.content: other bytes")
    if hasattr(type(walk.client.files), "retrieve_content"):
        walk.call("files.retrieve_content", made[0].id)
    walk.call("files.wait_for_processing", made[0].id)
    listed = walk.call("files.list", purpose="fine-tune", limit=PAGE, order="asc")
    ids = [one.id for one in listed]
    walk.expect(len(ids) == len(set(ids)), "files.list: a file twice")
    walk.expect({one.id for one in made} <= set(ids), "files.list: a file is missing")
    walk.expect(len(walk.call("files.list")) >= len(ids), "files.list without a purpose has less")
    gone = walk.call("files.delete", made[2].id)
    walk.expect(gone.deleted and gone.id == made[2].id, "files.delete: not deleted")
    walk.refused(openai.NotFoundError, "files.retrieve", made[2].id)
    walk.refused(openai.BadRequestError, "files.create", file=("x", b"x"), purpose="poetry")

    content = chats(40)
    upload = walk.call(
        "uploads.create", bytes=len(content), filename="big.jsonl", mime_type="application/jsonl", purpose="fine-tune"
    )
    parts = [
        walk.call("uploads.parts.create", upload.id, data=content[start : start + 1000])
        for start in range(0, len(content), 1000)
    ]
    done = walk.call("uploads.complete", upload.id, part_ids=[part.id for part in parts])
    walk.expect(done.file is not None and done.file.bytes == len(content), "uploads.complete: not the whole file")
    other = walk.call(
        "uploads.create", bytes=10, filename="none.jsonl", mime_type="application/jsonl", purpose="fine-tune"
    )
    walk.expect(walk.call("uploads.cancel", other.id).status == "cancelled", "uploads.cancel: not cancelled")
    walk.refused(openai.ConflictError, "uploads.complete", other.id, part_ids=[])
    chunked = walk.call(
        "uploads.upload_file_chunked",
        file=content,
        filename="chunked.jsonl",
        bytes=len(content),
        mime_type="application/jsonl",
        purpose="fine-tune",
        part_size=1500,
    )
    walk.expect(chunked.file is not None, "uploads.upload_file_chunked: no file")


def walk_jobs(walk: Walk) -> None:
    """Jobs from a file to a model, and who may call it."""
    file = walk.call("files.create", file=("training.jsonl", chats()), purpose="fine-tune")
    method: Any = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}
    label = {"walk": file.id}
    job = walk.call("fine_tuning.jobs.create", model=MODEL, training_file=file.id, method=method, metadata=label)
    more = [walk.call("fine_tuning.jobs.create", model=MODEL, training_file=file.id, metadata=label) for _ in range(3)]
    state = "fine_tuning.jobs.retrieve"
    walk.call("fine_tuning.jobs.cancel", more[0].id)
    walk.until(lambda: walk.call(state, more[0].id).status == "cancelled", "a cancelled job")
    walk.until(lambda: walk.call(state, more[1].id).status in {"running", "queued"}, "a job to pause")
    walk.call("fine_tuning.jobs.pause", more[1].id)
    walk.until(lambda: walk.call(state, more[1].id).status == "queued", "a paused job")
    walk.until(lambda: _resumed(walk, more[1].id), "a job that goes on")
    listed = walk.call("fine_tuning.jobs.list", limit=PAGE, metadata=label)
    walk.expect([one.id for one in listed] == [one.id for one in reversed([job, *more])], "jobs.list: other jobs")
    done = walk.until(lambda: _ended(walk, job.id), "the end of a job")
    walk.expect(done.status == "succeeded" and done.trained_tokens, f"the job: {done.status} {done.error}")
    paged = [one.id for one in walk.call("fine_tuning.jobs.list_events", job.id, limit=PAGE)]
    whole = [one.id for one in walk.call("fine_tuning.jobs.list_events", job.id, limit=100)]
    walk.expect(paged == whole and len(whole) > PAGE, "jobs.list_events: pages are not the whole")
    points = walk.call("fine_tuning.jobs.checkpoints.list", job.id, limit=1)
    walk.expect(len(points) == 2, f"jobs.checkpoints.list: {len(points)} of 2 epochs")
    model = str(done.fine_tuned_model)
    given = [
        walk.call("fine_tuning.checkpoints.permissions.create", model, project_ids=[team])[0]
        for team in ("readers", "writers", "others")
    ]
    walk.call("fine_tuning.checkpoints.permissions.retrieve", model)
    permitted = walk.call("fine_tuning.checkpoints.permissions.list", model, limit=PAGE)
    walk.expect(len(permitted) == len(given), "permissions.list: not all of them")
    walk.call("fine_tuning.checkpoints.permissions.delete", given[0].id, fine_tuned_model_checkpoint=model)
    walk.refused(openai.NotFoundError, state, "ftjob-sw" + "0" * 32)
    walk.refused(openai.BadRequestError, "fine_tuning.jobs.cancel", job.id)
    walk.refused(openai.BadRequestError, "fine_tuning.jobs.create", model=MODEL, training_file="file-sw" + "0" * 32)


def _ended(walk: Walk, job: str) -> Any:
    found = walk.call("fine_tuning.jobs.retrieve", job)
    return found if found.status in {"succeeded", "failed", "cancelled"} else None


def _resumed(walk: Walk, job: str) -> bool:
    """A pause is told to the trainer first; until then there is nothing to resume."""
    try:
        walk.call("fine_tuning.jobs.resume", job)
    except openai.BadRequestError:
        return False
    return True


def walk_evals(walk: Walk) -> None:
    """Graders, and evals with their runs."""
    grader: Any = {
        "type": "string_check",
        "name": "same",
        "input": "{{sample.output_text}}",
        "reference": "{{item.answer}}",
        "operation": "eq",
    }
    run = walk.call("fine_tuning.alpha.graders.run", grader=grader, model_sample="a", item={"answer": "a"})
    walk.expect(run.reward == 1.0, "graders.run: not 1")
    walk.call("fine_tuning.alpha.graders.validate", grader=grader)
    walk.refused(openai.BadRequestError, "fine_tuning.alpha.graders.validate", grader={"type": "poetry"})
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    config: Any = {"type": "custom", "item_schema": schema, "include_sample_schema": True}
    evals = [
        walk.call("evals.create", name=f"walk {number}", data_source_config=config, testing_criteria=[grader])
        for number in range(3)
    ]
    made = evals[0]
    walk.call("evals.retrieve", made.id)
    walk.expect(walk.call("evals.update", made.id, name="renamed").name == "renamed", "evals.update: not renamed")
    listed = {one.id for one in walk.call("evals.list", limit=PAGE)}
    walk.expect({one.id for one in evals} <= listed, "evals.list: one is missing")
    rows = [{"item": {"answer": text}, "sample": {"output_text": "a"}} for text in "aaab"]
    source: Any = {"type": "jsonl", "source": {"type": "file_content", "content": rows}}
    runs = [walk.call("evals.runs.create", made.id, data_source=source, name=f"run {number}") for number in range(3)]
    walk.call("evals.runs.cancel", runs[2].id, eval_id=made.id)

    def over() -> Any:
        found = walk.call("evals.runs.retrieve", runs[0].id, eval_id=made.id)
        return found if found.status in {"completed", "failed"} else None

    counts = walk.until(over, "the end of a run").result_counts
    walk.expect((counts.passed, counts.failed) == (3, 1), f"evals.runs: counted {counts}")
    walk.expect(len(walk.call("evals.runs.list", made.id, limit=PAGE)) == 3, "evals.runs.list: not all of them")
    where: Any = {"eval_id": made.id}
    items = walk.call("evals.runs.output_items.list", runs[0].id, **where, limit=PAGE)
    walk.expect(len({item.id for item in items}) == 4, "output_items.list: not all of them")
    walk.call("evals.runs.output_items.retrieve", items[0].id, run_id=runs[0].id, **where)
    walk.call("evals.runs.delete", runs[1].id, **where)
    walk.refused(openai.NotFoundError, "evals.runs.retrieve", runs[1].id, **where)
    walk.call("evals.delete", made.id)
    walk.refused(openai.NotFoundError, "evals.retrieve", made.id)


def walk_batches(walk: Walk) -> None:
    """Batches from a file to a file."""
    file = walk.call("files.create", file=("batch.jsonl", requests()), purpose="batch")
    asked: Any = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    made = [walk.call("batches.create", **asked, metadata={"number": str(number)}) for number in range(2)]
    # Long enough that it has not ended when it is to be cancelled.
    long = walk.call("files.create", file=("long.jsonl", requests(2_000)), purpose="batch")
    made.append(walk.call("batches.create", **{**asked, "input_file_id": long.id}))
    walk.call("batches.cancel", made[2].id)

    def over() -> Any:
        found = walk.call("batches.retrieve", made[0].id)
        return found if found.status in {"completed", "failed", "expired"} else None

    done = walk.until(over, "the end of a batch")
    counts = done.request_counts
    walk.expect(
        done.status == "completed" and counts is not None and (counts.total, counts.completed) == (3, 3),
        f"the batch: {done.status} {counts} {done.errors}",
    )
    lines = walk.call("files.content", str(done.output_file_id)).content.splitlines()
    walk.expect({json.loads(line)["custom_id"] for line in lines} == {"r0", "r1", "r2"}, "the batch: other lines")
    listed = [one.id for one in walk.call("batches.list", limit=PAGE)]
    walk.expect({one.id for one in made} <= set(listed), "batches.list: one is missing")
    walk.expect(len(listed) == len(set(listed)), "batches.list: one twice")
    bad: Any = {**asked, "endpoint": "/v1/poetry"}
    walk.refused(openai.BadRequestError, "batches.create", **bad)
    walk.refused(openai.NotFoundError, "batches.retrieve", "batch_sw" + "0" * 32)


async def walk_async(base_url: str, key: str) -> list[str]:
    """A few of them with the asynchronous client; gives faults."""
    faults = []
    async with openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=30) as client:
        file = await client.files.create(file=("async.jsonl", chats()), purpose="fine-tune")
        job = await client.fine_tuning.jobs.create(model=MODEL, training_file=file.id)
        jobs = [one.id async for one in client.fine_tuning.jobs.list(limit=PAGE)]
        if len(jobs) != len(set(jobs)) or job.id not in jobs:
            faults.append("async fine_tuning.jobs.list: not every job once")
        await client.fine_tuning.jobs.cancel(job.id)
        files = [one.id async for one in client.files.list(purpose="fine-tune", limit=PAGE)]
        if len(files) != len(set(files)) or file.id not in files:
            faults.append("async files.list: not every file once")
        source = await client.files.create(file=("batch.jsonl", requests(1)), purpose="batch")
        batch = await client.batches.create(
            input_file_id=source.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        if batch.id not in [one.id async for one in client.batches.list(limit=PAGE)]:
            faults.append("async batches.list: the batch is missing")
        grader: Any = {"type": "string_check", "name": "same", "input": "a", "reference": "a", "operation": "eq"}
        config: Any = {"type": "custom", "item_schema": {"type": "object"}}
        made = await client.evals.create(name="async", data_source_config=config, testing_criteria=[grader])
        if made.id not in [one.id async for one in client.evals.list(limit=PAGE)]:
            faults.append("async evals.list: the eval is missing")
    return faults


def run(base_url: str, key: str) -> dict[str, Any]:
    """The report: how many methods there are, which were not called, and every fault."""
    walk = Walk(base_url, key)
    for part in (walk_files, walk_jobs, walk_evals, walk_batches):
        try:
            part(walk)
        except (openai.OpenAIError, TimeoutError) as fault:
            walk.faults.append(f"{part.__name__}: {type(fault).__name__}: {fault}")
    there = methods(walk.client)
    walk.faults += asyncio.run(walk_async(base_url, key))
    return {
        "version": openai.__version__,
        "methods": sorted(there),
        "not_called": sorted(there - walk.called.keys()),
        "calls": sum(walk.called.values()),
        "replies": walk.replies,
        "faults": walk.faults,
    }


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], sys.argv[2])))
