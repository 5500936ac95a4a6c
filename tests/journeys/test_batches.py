"""A team's batches with the official SDK: answered here as its calls, or by a provider at its batch rates."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import openai
import pytest
from openai.types import Batch

from tests.fakes.offline_server import OfflineServer, offline_server
from tests.fakes.running_gateway import POLICIES, UPSTREAM_KEY, RunningGateway, running_gateway, until

CHAT: Any = "/v1/chat/completions"
ENDED = {"completed", "failed", "expired", "cancelled"}
MODEL = "gpt-4.1-mini"
TEAMS = (
    *("batchers", "endpoints", "sloppy", "poor", "hesitant", "patient", "tidy"),
    *("bounded", "thrifty", "mixed", "fickle", "refused", "mine", "theirs", "mistaken"),
)


@pytest.fixture(scope="module")
def provider() -> Iterator[OfflineServer]:
    with offline_server(key=UPSTREAM_KEY, tuning_seconds=1.0) as server:
        yield server


@pytest.fixture(scope="module")
def batching(tmp_path_factory: pytest.TempPathFactory, provider: OfflineServer) -> Iterator[RunningGateway]:
    """Two workers, and two upstreams of which one has OpenAI's batch API: `gpt-4o-mini` lives there."""
    models = (POLICIES / "models.yaml").read_text()
    models = models.replace(
        "upstreams:\n",
        "upstreams:\n  batches:\n    base_url: env:UPSTREAM_URL\n    api_key: env:UPSTREAM_KEY\n"
        "    supports: {batches: true}\n",
    ).replace("gpt-4o-mini: {upstream: main}", "gpt-4o-mini: {upstream: batches}")
    folder = tmp_path_factory.mktemp("batches")
    with running_gateway(folder, provider.base_url, workers=2, files={"models.yaml": models}) as running:
        running.team("poor", monthly_budget_usd="0.0005")
        running.team("bounded", monthly_budget_usd="0.01")
        for team in TEAMS:
            running.key(team)
        # Both workers know the keys then; each asks the database every 0.4 seconds.
        time.sleep(1.0)
        yield running


def client_of(gateway: RunningGateway, team: str) -> openai.OpenAI:
    return gateway.client(team)


def line(custom_id: str, model: str = MODEL, url: str = CHAT, **body: Any) -> dict[str, Any]:
    asked = {"model": model, "messages": [{"role": "user", "content": f"Say {custom_id}"}], **body}
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": asked}


def start(client: openai.OpenAI, lines: list[Any], endpoint: Any = CHAT, **settings: Any) -> Batch:
    content = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines).encode()
    file = client.files.create(file=("batch.jsonl", content), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", **settings)


def ended(client: openai.OpenAI, batch: Batch, seconds: float = 30) -> Batch:
    def look() -> Batch | None:
        found = client.batches.retrieve(batch.id)
        return found if found.status in ENDED else None

    return until(look, seconds, what=f"the end of {batch.id}")


def read(client: openai.OpenAI, file_id: str | None) -> dict[str, Any]:
    """The lines of an output or error file by their custom ids, none of which stands there twice."""
    assert file_id is not None
    lines = [json.loads(one) for one in client.files.content(file_id).content.splitlines()]
    found = {one["custom_id"]: one for one in lines}
    assert len(found) == len(lines)
    return found


def counted(batch: Batch) -> tuple[int, int, int]:
    assert batch.request_counts is not None
    return batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed


class TestHere:
    def test_lines_are_answered_as_calls_of_their_team(self, batching: RunningGateway) -> None:
        """Policy, sources, lines and refusals as ever; one row a line, which says that a batch made it."""
        client = client_of(batching, "batchers")
        asked = [line("plain"), line("auto", "auto"), line("docs", "kb/help-centre"), line("tuned", "tone")]
        asked.append(line("missing", "missing-model"))
        batch = start(client, asked, metadata={"task": "night"})
        assert batch.status == "validating"
        done = ended(client, batch)
        assert (done.status, counted(done), done.metadata) == ("completed", (5, 4, 1), {"task": "night"})
        answers = read(client, done.output_file_id)
        assert answers.keys() == {"plain", "auto", "docs", "tuned"}
        for answer in answers.values():
            assert answer["error"] is None
            assert answer["response"]["status_code"] == 200
            assert answer["response"]["request_id"]
            assert answer["response"]["body"]["choices"][0]["message"]["content"]
        (refused,) = read(client, done.error_file_id).values()
        assert (refused["custom_id"], refused["response"]["status_code"]) == ("missing", 404)
        assert refused["response"]["body"]["error"]["code"] == "model_not_found"
        rows = until(lambda: [r for r in batching.rows("team = 'batchers'") if r["outcome"] == "ok"], what="rows")
        rows = batching.rows("team = 'batchers' AND outcome = 'ok'")
        assert len(rows) == 4
        assert all('"purpose":"batch"' in row["metadata"].replace(" ", "") for row in rows)
        assert {row["path"] for row in rows} == {"direct", "rag", "fine_tuned"}
        assert done.usage is not None
        used = [answer["response"]["body"]["usage"] for answer in answers.values()]
        assert done.usage.input_tokens == sum(one["prompt_tokens"] for one in used)
        assert done.usage.output_tokens == sum(one["completion_tokens"] for one in used)
        assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens

    @pytest.mark.parametrize(
        ("endpoint", "body"),
        [
            ("/v1/responses", {"model": MODEL, "input": "Count to 3"}),
            ("/v1/completions", {"model": MODEL, "prompt": "Count to 3"}),
            ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "one"}),
            ("/v1/moderations", {"model": "omni-moderation-latest", "input": "one"}),
        ],
    )
    def test_every_endpoint_of_batches_is_served(self, batching: RunningGateway, endpoint: str, body: Any) -> None:
        client = client_of(batching, "endpoints")
        done = ended(client, start(client, [{**line("a", url=endpoint), "body": body}], endpoint))
        assert (done.status, counted(done)) == ("completed", (1, 1, 0)), done
        assert read(client, done.output_file_id)["a"]["response"]["body"]

    def test_everything_that_is_wrong_with_a_file_is_told_at_once(self, batching: RunningGateway) -> None:
        client = client_of(batching, "sloppy")
        bad: list[Any] = [
            line("one"),
            "{broken",
            {**line("two"), "method": "GET"},
            {**line("three"), "url": "/v1/embeddings"},
            line("one"),
            {"method": "POST", "url": CHAT, "body": {}},
            line("streamed", stream=True),
            "",
            "[]",
        ]
        done = ended(client, start(client, bad))
        assert (done.status, done.output_file_id) == ("failed", None)
        assert done.failed_at is not None
        assert done.errors is not None
        assert [(one.line, one.code, one.param) for one in done.errors.data or []] == [
            (2, "invalid_json_line", None),
            (3, "invalid_method", "method"),
            (4, "invalid_url", "url"),
            (5, "duplicate_custom_id", "custom_id"),
            (6, "missing_required_parameter", "custom_id"),
            (6, "missing_required_parameter", "body.model"),
            (7, "invalid_request", "body.stream"),
            (9, "invalid_json_line", None),
        ]
        assert batching.rows("team = 'sloppy'") == []

    def test_a_spent_budget_refuses_lines_and_not_the_batch(self, batching: RunningGateway) -> None:
        client = client_of(batching, "poor")
        done = ended(client, start(client, [line(f"r{n}", max_tokens=400) for n in range(6)]))
        assert done.status == "completed"
        total, completed, failed = counted(done)
        assert completed + failed == total == 6
        assert failed > 0
        for refused in read(client, done.error_file_id).values():
            assert refused["response"]["status_code"] == 429
            assert refused["response"]["body"]["error"]["code"] == "insufficient_quota"

    def test_what_is_not_wanted_any_more_is_not_asked(self, batching: RunningGateway, provider: OfflineServer) -> None:
        """Cancelled in the middle: what was answered is in the output file, and counts."""
        client = client_of(batching, "hesitant")
        provider.lay(model="gpt-4.1", delay_ms=300)
        try:
            batch = start(client, [line(f"r{n}", "gpt-4.1") for n in range(100)])
            until(lambda: counted(client.batches.retrieve(batch.id))[1] >= 8 or None, 20, what="some answers")
            assert client.batches.cancel(batch.id).status == "cancelling"
            done = ended(client, batch)
        finally:
            provider.reset()
        assert (done.status, done.error_file_id) == ("cancelled", None)
        total, completed, failed = counted(done)
        assert (total, failed) == (100, 0)
        assert 8 <= completed < 100
        assert len(read(client, done.output_file_id)) == completed
        with pytest.raises(openai.ConflictError):
            client.batches.cancel(batch.id)

    def test_an_upstream_that_stumbles_is_asked_again(self, batching: RunningGateway, provider: OfflineServer) -> None:
        client = client_of(batching, "patient")
        provider.lay(times=4, model="gpt-4.1-nano", status=503)
        done = ended(client, start(client, [line("a", "gpt-4.1-nano")]))
        assert counted(done) == (1, 1, 0)
        assert provider.faults() == []

    def test_output_ends_when_its_team_says(self, batching: RunningGateway) -> None:
        client = client_of(batching, "tidy")
        expires: Any = {"anchor": "created_at", "seconds": 3600}
        done = ended(client, start(client, [line("a")], output_expires_after=expires))
        assert done.output_file_id is not None
        file = client.files.retrieve(done.output_file_id)
        assert (file.purpose, file.filename) == ("batch_output", f"{done.id}_output.jsonl")
        assert file.expires_at == file.created_at + 3600
        assert file.bytes == len(client.files.content(file.id).content)
        assert file.id in [one.id for one in client.files.list(purpose="batch_output")]


class TestAtAProvider:
    def test_plain_lines_go_there_and_are_booked_once_at_batch_rates(
        self, batching: RunningGateway, provider: OfflineServer
    ) -> None:
        client = client_of(batching, "thrifty")
        begun = provider.bill()["count"]
        batch = start(client, [line(f"r{n}", "gpt-4o-mini") for n in range(5)], metadata={"task": "night"})
        done = ended(client, batch)
        assert (done.status, counted(done), done.model) == ("completed", (5, 5, 0), "gpt-4o-mini")
        assert provider.bill()["count"] == begun
        answers = read(client, done.output_file_id)
        assert answers.keys() == {f"r{n}" for n in range(5)}
        with openai.OpenAI(base_url=provider.base_url, api_key=UPSTREAM_KEY) as direct:
            (there,) = [one for one in direct.batches.list() if (one.metadata or {}).get("switchyard_batch") == done.id]
            assert there.output_file_id is not None
            theirs = direct.files.content(there.output_file_id).content
        assert client.files.content(str(done.output_file_id)).content == theirs
        with closing(sqlite3.connect(batching.data / "gateway.db", timeout=10)) as database:
            query = "SELECT upstream, upstream_id FROM file_copies WHERE file_id = ?"
            # By that the list of files does not tell of the provider's own beside ours.
            assert list(database.execute(query, (done.output_file_id,))) == [("batches", there.output_file_id)]
        rows = until(lambda: batching.rows("call_id = ?", there.id), 20, what="the batch's row")
        (row,) = rows
        assert (row["team"], row["endpoint"], row["service_tier"]) == ("thrifty", "batch", "batch")
        assert done.usage is not None
        assert (row["input_tokens"], row["output_tokens"]) == (done.usage.input_tokens, done.usage.output_tokens)
        assert json.loads(row["metadata"]) == {"task": "night", "purpose": "batch"}
        assert len(batching.rows("team = 'thrifty'")) == 1

    def test_a_file_with_one_line_for_us_is_answered_here_whole(self, batching: RunningGateway) -> None:
        client = client_of(batching, "mixed")
        done = ended(client, start(client, [line("plain", "gpt-4o-mini"), line("tuned", "tone")]))
        assert counted(done) == (2, 2, 0)
        rows = until(lambda: r if len(r := batching.rows("team = 'mixed'")) == 2 else None, what="two rows")
        assert {row["endpoint"] for row in rows} == {"chat"}

    def test_a_hard_budget_that_might_not_hold_them_has_lines_asked_here(self, batching: RunningGateway) -> None:
        """There nobody could refuse the ones that do not fit."""
        client = client_of(batching, "bounded")
        done = ended(client, start(client, [line(f"r{n}", "gpt-4o-mini", max_tokens=50_000) for n in range(2)]))
        assert done.status == "completed"
        assert counted(done)[0] == 2
        rows = batching.rows("team = 'bounded' AND endpoint = 'batch'")
        assert rows == []

    def test_cancelling_is_passed_on(self, batching: RunningGateway, provider: OfflineServer) -> None:
        client = client_of(batching, "fickle")
        batch = start(client, [line("a", "gpt-4o-mini")])
        client.batches.cancel(batch.id)
        assert ended(client, batch).status == "cancelled"
        with openai.OpenAI(base_url=provider.base_url, api_key=UPSTREAM_KEY) as direct:
            there = [one for one in direct.batches.list() if (one.metadata or {}).get("switchyard_batch") == batch.id]
        assert {one.status for one in there} <= {"cancelled"}

    def test_a_provider_that_refuses_loses_nothing(self, batching: RunningGateway, provider: OfflineServer) -> None:
        """Its lines are answered here then, at the usual rates."""
        client = client_of(batching, "refused")
        provider.lay(times=1, path="/v1/batches", status=400)
        provider.lay(times=1, path="/v1/batches", status=400)
        done = ended(client, start(client, [line("a", "gpt-4o-mini")]))
        assert (done.status, counted(done)) == ("completed", (1, 1, 0))
        assert provider.faults() == []
        rows = until(lambda: batching.rows("team = 'refused'"), what="the row")
        assert [row["endpoint"] for row in rows] == ["chat"]


class TestWhose:
    def test_another_teams_batch_does_not_exist(self, batching: RunningGateway) -> None:
        mine, theirs = client_of(batching, "mine"), client_of(batching, "theirs")
        done = ended(mine, start(mine, [line("a")]))
        for look in (theirs.batches.retrieve, theirs.batches.cancel):
            with pytest.raises(openai.NotFoundError):
                look(done.id)
        assert done.id not in [one.id for one in theirs.batches.list()]
        with pytest.raises(openai.NotFoundError):
            theirs.files.content(str(done.output_file_id))
        with pytest.raises(openai.BadRequestError, match="No such File"):
            theirs.batches.create(input_file_id=done.input_file_id, endpoint=CHAT, completion_window="24h")

    @pytest.mark.parametrize(
        ("settings", "param"),
        [
            ({"endpoint": "/v1/poetry"}, "endpoint"),
            ({"completion_window": "1h"}, "completion_window"),
            ({"metadata": {"k": "v" * 513}}, "metadata.k"),
            ({"output_expires_after": {"anchor": "created_at", "seconds": 5}}, "output_expires_after"),
            ({"input_file_id": "file-sw" + "0" * 32}, "input_file_id"),
        ],
    )
    def test_what_cannot_be_is_refused_with_its_place(
        self, batching: RunningGateway, settings: Any, param: str
    ) -> None:
        client = batching.client("mistaken")
        file = client.files.create(file=("b.jsonl", json.dumps(line("a")).encode()), purpose="batch")
        asked: Any = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
        with pytest.raises(openai.BadRequestError) as caught:
            client.batches.create(**asked | settings)
        assert caught.value.param == param

    def test_a_file_for_something_else_is_no_batch(self, batching: RunningGateway) -> None:
        client = batching.client("mistaken")
        file = client.files.create(file=("b.jsonl", b"{}"), purpose="user_data")
        with pytest.raises(openai.BadRequestError, match="purpose"):
            client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
