"""The serving worker, asked by the official SDK over a socket: a tuned model answers, and otherwise than its base."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI

from gateway.tuning.publishing import NotPublished, publish, withdraw
from gateway.tuning.worker.folder import Folder, read_published
from gateway.tuning.worker.processes import start_worker
from gateway.upstream.fetch import Fetcher
from tests.fakes.trainers import QUESTIONS, chats
from tests.unit.tuning.worker.test_train import job, work

NAME = "ft:tiny:support::ftjob-served"
ASKED, ANSWER = next(iter(QUESTIONS.items()))


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return work(job(Folder(tmp_path_factory.mktemp("jobs") / "ftjob-served"), tiny_model, chats()))


@contextlib.contextmanager
def serving(root: Path, bases: dict[str, str]) -> Iterator[str]:
    """The server in a thread of this process; its base URL."""
    serve = pytest.importorskip("gateway.tuning.worker.serve", reason="serving needs the extra `train`")
    app = serve.Server(serve.Served(root, bases, serve.settle_torch(1)))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            deadline = time.monotonic() + 20
            while not server.started:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            thread.join(timeout=20)


@pytest.fixture(scope="module")
def base_url(trained: Folder, tiny_model: Path) -> Iterator[str]:
    with serving(trained.path.parent, {"tiny": str(tiny_model)}) as url:
        yield url


@pytest.fixture
def client(base_url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=base_url, api_key="none", max_retries=0) as made:
        yield made


def said(client: OpenAI, model: str, asked: str = ASKED, **more: object) -> str:
    reply = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": asked}],
        max_tokens=40,
        **more,  # type: ignore[call-overload]  # as a test has it
    )
    return str(reply.choices[0].message.content)


def test_a_tuned_model_answers_as_it_was_taught_and_its_base_as_before(client: OpenAI) -> None:
    for asked, answer in QUESTIONS.items():
        before = said(client, "tiny", asked)
        assert said(client, NAME, asked) == answer
        assert answer not in before
        assert said(client, "tiny", asked) == before


def test_models_are_listed_with_their_base(client: OpenAI, trained: Folder) -> None:
    listed = {model.id: model.model_extra or {} for model in client.models.list()}
    assert listed.keys() == {"tiny", NAME, *(saved.model for saved in trained.saved())}
    assert listed[NAME]["parent"] == "tiny"
    assert listed[NAME]["root"] == str(trained.adapter)
    assert client.models.retrieve(NAME).id == NAME
    with pytest.raises(NotFoundError):
        client.models.retrieve("ft:tiny:support::another")


def test_a_stream_says_the_same_and_its_usage(client: OpenAI) -> None:
    whole = client.chat.completions.create(model=NAME, messages=[{"role": "user", "content": ASKED}])
    chunks = list(
        client.chat.completions.create(
            model=NAME,
            messages=[{"role": "user", "content": ASKED}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    deltas = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(deltas) == whole.choices[0].message.content == ANSWER
    assert sum(map(bool, deltas)) > 1
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "stop"
    assert chunks[-1].usage == whole.usage
    assert whole.usage is not None
    assert whole.usage.completion_tokens > 1


def test_an_answer_ends_where_it_is_told_to(client: OpenAI) -> None:
    assert said(client, NAME, stop=["five"]) == ANSWER.partition("five")[0]
    messages = [{"role": "user", "content": ASKED}]
    short = client.chat.completions.create(model=NAME, messages=messages, max_tokens=2)  # type: ignore[arg-type]  # plain dicts
    assert short.choices[0].finish_reason == "length"
    assert ANSWER.startswith(str(short.choices[0].message.content))
    assert short.usage is not None
    assert short.usage.completion_tokens == 2


def test_a_seed_throws_the_same_dice(client: OpenAI) -> None:
    once, again = (said(client, "tiny", temperature=1.5, seed=3) for _ in range(2))
    assert once == again
    assert said(client, "tiny", temperature=1.5, seed=4) != once


def test_what_is_not_served_is_told_with_all_its_faults(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.chat.completions.create(
            model=NAME,
            messages=[{"role": "robot"}],  # type: ignore[typeddict-item]  # which is what is refused
            n=2,
            temperature=3,
        )
    assert all(text in refused.value.message for text in ("messages[0]", "n over 1", "temperature"))
    with pytest.raises(BadRequestError) as long:
        said(client, NAME, "word " * 400)
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(NotFoundError) as unknown:
        said(client, "ft:tiny:support::another")
    assert unknown.value.code == "model_not_found"


async def test_callers_who_leave_hold_up_nobody(base_url: str) -> None:
    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        for _ in range(3):
            stream = await client.chat.completions.create(
                model="tiny", messages=[{"role": "user", "content": "?"}], stream=True
            )
            await anext(aiter(stream))
            await stream.close()
        answers = await asyncio.gather(
            *(
                client.chat.completions.create(model=NAME, messages=[{"role": "user", "content": asked}])
                for asked in QUESTIONS
            )
        )
    assert [answer.choices[0].message.content for answer in answers] == list(QUESTIONS.values())


async def test_adapters_are_published_to_it_and_withdrawn_as_to_a_vllm(
    trained: Folder, tiny_model: Path, tmp_path: Path
) -> None:
    """Two replicas that know nothing of the jobs' folder; the second has the name already, for another adapter."""
    older = tmp_path / "older"
    shutil.copytree(trained.checkpoint(trained.saved()[0].step), older)
    with (
        serving(tmp_path / "one", {"tiny": str(tiny_model)}) as one,
        serving(tmp_path / "two", {"tiny": str(tiny_model)}) as two,
    ):
        fetcher = Fetcher(60)
        await publish(fetcher, [two], NAME, str(older), {})
        for _ in range(2):
            await publish(fetcher, [one, two], NAME, str(trained.adapter), {})
        for url in (one, two):
            with OpenAI(base_url=url, api_key="none", max_retries=0) as client:
                assert said(client, NAME) == ANSWER
                listed = {model.id: (model.model_extra or {})["root"] for model in client.models.list()}
                assert listed[NAME] == str(trained.adapter)
        with pytest.raises(NotPublished) as failed:
            await publish(fetcher, [one, two], "ft:another", str(tmp_path / "nothing"), {})
        assert failed.value.message.count("no adapter at") == 2
        for _ in range(2):
            await withdraw(fetcher, [one, two], NAME, {})
        with OpenAI(base_url=one, api_key="none", max_retries=0) as client:
            with pytest.raises(NotFoundError):
                said(client, NAME)
            assert ANSWER not in said(client, "tiny")
        await fetcher.close()


async def test_a_published_job_that_is_withdrawn_does_not_come_back(
    trained: Folder, tiny_model: Path, tmp_path: Path
) -> None:
    root = tmp_path / "jobs"
    shutil.copytree(trained.path.parent, root)
    with serving(root, {"tiny": str(tiny_model)}) as url:
        fetcher = Fetcher()
        await withdraw(fetcher, [url], NAME, {})
        assert NAME not in read_published(root)
        assert read_published(root)
        await fetcher.close()


def test_the_command_says_where_it_serves(trained: Folder, tiny_model: Path) -> None:
    """As an operator starts it, in a process of its own; it ends when it is told to."""
    log = trained.path.parent / "serve.log"
    arguments = ["serve", "--root", str(trained.path.parent), "--model", f"tiny={tiny_model}"]
    process = start_worker(None, arguments, log)
    try:
        deadline = time.monotonic() + 120
        while b"/v1\n" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        url = next(line for line in log.read_text().splitlines() if line.startswith("serving on ")).split()[-1]
        with OpenAI(base_url=url, api_key="none", max_retries=0) as client:
            assert said(client, NAME) == ANSWER
    finally:
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=60) in {0, -signal.SIGTERM}
