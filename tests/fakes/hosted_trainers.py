"""Providers that train, as their APIs answer: each a function over its own small state, which the clock moves on."""

import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.core.clock import Clock
from gateway.offline.exchange import Refusal
from gateway.offline.resources import Ask, Resources
from gateway.policy.models_file import UpstreamEntry
from gateway.tuning.contract import Source
from gateway.upstream.asking import ask
from gateway.upstream.transport import Http1Transport
from gateway.upstream.upstreams import Upstream, Upstreams
from tests.fakes.api_server import Answer, ApiServer, Asked, in_json, serving

KEY = "sk-of-the-provider"
SPAN_SECONDS = 0.8
NO_MODEL = "another-model"


class HostedMeans:
    """What a hosted trainer is given: one upstream, and copies of files there, each made once."""

    def __init__(self, url: str) -> None:
        self.transport = Http1Transport()
        upstreams = Upstreams({"http1": self.transport}, {"KEY": KEY}, Clock())
        self._upstream = upstreams.build({"there": UpstreamEntry(base_url=url, api_key="env:KEY")})["there"]
        self._copies: dict[str, str] = {}
        self.environment: Mapping[str, str] = {}
        self.folder = self.policies = Path()
        self.asks: Any = None

    def upstream(self, name: str) -> Upstream:
        assert name == "there"
        return self._upstream

    async def copied(self, upstream: str, source: Source, purpose: str) -> str:
        from_us = source.file.id
        if from_us not in self._copies:
            content = b"".join([part async for part in source.read()])
            form = (
                b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n%b\r\n--b\r\ncontent-disposition: '
                b'form-data; name="file"; filename="f.jsonl"\r\n\r\n%b\r\n--b--\r\n' % (purpose.encode(), content)
            )
            self._copies[from_us] = await posted(self.upstream(upstream), "/files", form)
        return self._copies[from_us]


async def posted(upstream: Upstream, target: str, form: bytes) -> str:
    """The id of what a form made there."""
    status, answer = await ask(upstream, "POST", target, form, "multipart/form-data; boundary=b")
    assert status < 300, answer
    return str(json.loads(answer)["id"])


Answering = Callable[[Asked], Answer]


@asynccontextmanager
async def hosted(answer: Answering, prefix: str) -> AsyncIterator[tuple[ApiServer, HostedMeans]]:
    """A provider on a port, and what a trainer needs to reach it. Who brings no key is let in nowhere."""

    def guarded(asked: Asked) -> Answer:
        if asked.headers.get("authorization") != f"Bearer {KEY}":
            return in_json({"error": {"message": "No key."}}, 401)
        return answer(asked)

    async with serving(guarded) as server:
        means = HostedMeans(server.url + prefix)
        try:
            yield server, means
        finally:
            await means.transport.close()


def openai() -> Answering:
    """OpenAI's own API, as the bundled upstream has it; it trains no model of the name NO_MODEL."""
    resources = Resources(Clock(), SPAN_SECONDS)

    def answer(asked: Asked) -> Answer:
        ask = Ask(id="", query=dict(asked.query), body=asked.body, content_type=asked.headers.get("content-type", ""))
        if asked.path.endswith("/jobs") and asked.method == "POST" and json.loads(asked.body)["model"] == NO_MODEL:
            return in_json({"error": {"message": "No such model.", "param": "model"}}, 400)
        try:
            found = resources.answer(asked.method, asked.path, ask)
        except Refusal as refusal:
            return in_json(refusal.body, refusal.status)
        return Answer(found) if isinstance(found, bytes) else in_json(found)

    return answer


def azure() -> Answering:
    """The same below `/openai/v1`, with Azure's words for a job and its ids of tuned models, and without metadata."""
    plain = openai()
    words = {b'"queued"': b'"notRunning"', b'"cancelled"': b'"canceled"'}

    def answer(asked: Asked) -> Answer:
        asked.path = asked.path.removeprefix("/openai")
        asked.query = [pair for pair in asked.query if not pair[0].startswith("metadata")]
        if asked.method == "POST" and asked.path.endswith("/jobs"):
            asked.body = json.dumps({k: v for k, v in json.loads(asked.body).items() if k != "metadata"}).encode()
        found = plain(asked)
        if "/fine_tuning" in asked.path:
            body = re.sub(rb'"ft:([^":]+):offline:([^":]*):(\w+)', rb'"\1.ft-\3-\2', found.body)
            for ours, theirs in words.items():
                body = body.replace(ours, theirs)
            found.body = body
        return found

    return answer


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _form(asked: Asked) -> dict[str, bytes]:
    boundary = asked.headers["content-type"].partition("boundary=")[2].encode()
    found = {}
    for part in asked.body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        found[name] = content.removesuffix(b"\r\n")
    return found


def _bad_line(content: bytes) -> str | None:
    for number, line in enumerate(content.splitlines(), 1):
        try:
            json.loads(line)
        except ValueError:
            return f"Line {number} is not JSON."
    return None


@dataclass
class _Job:
    id: str
    asked: dict[str, Any]
    fault: str | None
    epochs: int
    began: float = field(default_factory=time.time)
    cancelled: float | None = None

    @property
    def share(self) -> float:
        return ((self.cancelled or time.time()) - self.began) / SPAN_SECONDS

    @property
    def done(self) -> int:
        """Epochs that are done."""
        return 0 if self.fault else max(0, min(self.epochs, int(self.share * self.epochs)))

    def word(self, queued: str, running: str, failed: str, completed: str, cancelled: str) -> str:
        if self.cancelled is not None:
            return cancelled
        if self.share < 0.2:
            return queued
        if self.fault:
            return failed
        return running if self.share < 1 else completed


def together() -> Answering:
    """Together's `/v1/fine-tunes` and `/v1/files`."""
    files: dict[str, tuple[str, bytes]] = {}
    jobs: dict[str, _Job] = {}

    def described(job: _Job) -> dict[str, Any]:
        return {
            "id": job.id,
            "status": job.word("queued", "running", "error", "completed", "cancelled"),
            "model_output_name": f"acme/{job.asked['model']}-{job.asked['suffix']}-{job.id[-4:]}",
            "n_epochs": job.epochs,
            "batch_size": job.asked.get("batch_size", "max"),
            "learning_rate": 1e-5,
            "created_at": _stamp(job.began),
            "updated_at": _stamp(job.cancelled or min(time.time(), job.began + SPAN_SECONDS)),
            "token_count": 1234,
        }

    def events(job: _Job) -> list[dict[str, Any]]:
        told = [("JOB_PENDING", "Fine tune request created", "Info", 0.0)]
        status = described(job)["status"]
        if status != "queued":
            told.append(("JOB_START", "Job started", "Info", 0.2))
        for epoch in range(1, job.done + 1):
            told.append(("EPOCH_COMPLETE", f"Epoch {epoch} is complete", "Info", 0.2 + 0.7 * epoch / job.epochs))
            told.append(("CHECKPOINT_SAVE", f"Checkpoint {epoch}", "Info", 0.201 + 0.7 * epoch / job.epochs))
        ends = {"error": ("JOB_ERROR", job.fault or "", "Error", 0.21), "completed": ("JOB_COMPLETE", "", "Info", 1.0)}
        told += [ends[status]] if status in ends else []
        made = [
            {"object": "fine-tune-event", "type": kind, "message": text, "level": level, "created_at": _stamp(at)}
            | ({"step": int(text.split()[1]) * 10} if kind == "CHECKPOINT_SAVE" else {})
            for kind, text, level, at in ((k, t, lv, job.began + s * SPAN_SECONDS) for k, t, lv, s in told)
        ]
        # In no order that could be relied on.
        return made[::-1]

    def create(body: dict[str, Any]) -> Answer:
        if body["model"] == NO_MODEL:
            return in_json({"error": {"message": "No such model."}}, 400)
        job = _Job(f"ft-{len(jobs):04d}", body, _bad_line(files[body["training_file"]][1]), body.get("n_epochs", 1))
        jobs[job.id] = job
        return in_json(described(job))

    def answer(asked: Asked) -> Answer:
        path = asked.path.removeprefix("/v1")
        if path == "/files":
            return in_json({"data": [{"id": one, "filename": name} for one, (name, _) in files.items()]})
        if path == "/files/upload":
            form = _form(asked)
            identity = f"file-there-{len(files)}"
            files[identity] = (form["file_name"].decode(), form["file"])
            return in_json({"id": identity, "filename": form["file_name"].decode()})
        if path == "/fine-tunes" and asked.method == "POST":
            return create(json.loads(asked.body))
        if path == "/fine-tunes":
            return in_json({"data": [described(job) for job in jobs.values()]})
        job = jobs.get(path.split("/")[2])
        if job is None:
            return in_json({"error": {"message": "Not found."}}, 404)
        if path.endswith("/events"):
            return in_json({"data": events(job)})
        if path.endswith("/cancel"):
            if described(job)["status"] not in {"queued", "running"}:
                return in_json({"error": {"message": "It has ended."}}, 400)
            job.cancelled = time.time()
        return in_json(described(job))

    return answer


def fireworks() -> Answering:
    """Fireworks' control API below `/v1/accounts/acme`. A dataset is ready when it is looked at a second time."""
    datasets: dict[str, dict[str, Any]] = {}
    jobs: dict[str, _Job] = {}
    words = ("PENDING", "RUNNING", "FAILED", "COMPLETED", "CANCELLED")

    def described(job: _Job) -> dict[str, Any]:
        return {
            "name": f"accounts/acme/supervisedFineTuningJobs/{job.id}",
            "displayName": job.asked["displayName"],
            "state": job.word(*(f"JOB_STATE_{word}" for word in words)),
            "status": {"code": "INTERNAL" if job.fault else "OK", "message": job.fault or ""},
            "outputModel": job.asked["outputModel"],
            "epochs": job.epochs,
            "learningRate": 1e-4,
            "createTime": _stamp(job.began),
            "updateTime": _stamp(job.cancelled or min(time.time(), job.began + SPAN_SECONDS)),
            "completedTime": None,
            "jobProgress": {"percent": int(job.share * 100), "epoch": job.done},
        }

    def dataset(asked: Asked, path: str) -> Answer:
        if asked.method == "POST" and path == "/datasets":
            identity = json.loads(asked.body)["datasetId"]
            datasets[identity] = {"state": "UPLOADING", "content": b""}
            return in_json({"state": "UPLOADING"})
        identity = path.removeprefix("/datasets/").removesuffix(":upload")
        if identity not in datasets:
            return in_json({"code": 5, "message": "not found"}, 404)
        if path.endswith(":upload"):
            datasets[identity] = {"state": "READY", "content": _form(asked)["file"]}
        return in_json({"state": datasets[identity]["state"]})

    def create(body: dict[str, Any]) -> Answer:
        if body["baseModel"].endswith(NO_MODEL):
            return in_json({"code": 3, "message": "base model not found"}, 400)
        content = datasets[body["dataset"].rpartition("/")[2]]["content"]
        job = _Job(f"job{len(jobs):03d}", body, _bad_line(content), body.get("epochs", 1))
        jobs[job.id] = job
        return in_json(described(job))

    def page(asked: Asked) -> Answer:
        start = int(asked.one("pageToken", "0"))
        # One a page: whoever looks for a job must go through them all.
        some = list(jobs.values())[start : start + 1]
        token = str(start + 1) if start + 1 < len(jobs) else ""
        return in_json({"supervisedFineTuningJobs": [described(job) for job in some], "nextPageToken": token})

    def answer(asked: Asked) -> Answer:
        path = asked.path.removeprefix("/v1/accounts/acme")
        if path.startswith("/datasets"):
            return dataset(asked, path)
        if path == "/supervisedFineTuningJobs":
            return create(json.loads(asked.body)) if asked.method == "POST" else page(asked)
        identity, _, verb = path.rpartition("/")[2].partition(":")
        job = jobs.get(identity)
        if job is None:
            return in_json({"code": 5, "message": "not found"}, 404)
        if verb == "cancel":
            if job.cancelled or job.share >= 1:
                return in_json({"code": 9, "message": "it has ended"}, 400)
            job.cancelled = time.time()
        return in_json(described(job))

    return answer
