"""Publishing to vLLM, whose replies are scripted: what counts is what it lists afterwards."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from gateway.tuning.publishing import NotPublished, keep_published, publish, withdraw
from gateway.tuning.worker.folder import finished_adapters
from gateway.tuning.worker.folder import publish as publish_here
from gateway.tuning.worker.job import Published
from gateway.upstream.fetch import Fetcher
from tests.fakes.scripted_server import ScriptedServer, Visit, scripted

NAME, PATH = "ft:tiny:support::1", "/adapters/1"
Answer = Callable[["Vllm", dict[str, object]], tuple[int, object]]


class Vllm:
    """One replica. loads, unloads: how it answers when asked to, and what it does to what it lists."""

    def __init__(self, loads: Answer, unloads: Answer, listed: dict[str, str] | None = None) -> None:
        self.listed = dict(listed or {})
        self.asked: list[tuple[str, dict[str, object]]] = []
        self._answers = {"load_lora_adapter": loads, "unload_lora_adapter": unloads}

    async def __call__(self, visit: Visit) -> None:
        path = visit.head.split(b" ")[1].decode().removeprefix("/v1/")
        status, body = 200, {"data": [{"id": name, "root": root} for name, root in self.listed.items()]}
        if path in self._answers:
            asked = json.loads(visit.body)
            self.asked.append((path, asked))
            status, body = self._answers[path](self, asked)  # type: ignore[assignment]  # a text or an object
        text = body if isinstance(body, str) else json.dumps(body)
        await visit.write(f"HTTP/1.1 {status} Said\r\ncontent-length: {len(text)}\r\n\r\n{text}".encode())


def takes(replica: Vllm, asked: dict[str, object]) -> tuple[int, object]:
    replica.listed[str(asked["lora_name"])] = str(asked["lora_path"])
    return 200, "Success: LoRA adapter added."


def drops(replica: Vllm, asked: dict[str, object]) -> tuple[int, object]:
    replica.listed.pop(str(asked["lora_name"]))
    return 200, "Success: LoRA adapter removed."


def is_raced(replica: Vllm, asked: dict[str, object]) -> tuple[int, object]:
    """Another gateway has had it loaded between the look and the request."""
    takes(replica, asked)
    return 400, {"error": {"message": "The lora adapter has already been loaded.", "type": "InvalidUserInput"}}


def was_gone(replica: Vllm, asked: dict[str, object]) -> tuple[int, object]:
    drops(replica, asked)
    return 404, {"error": {"message": "The lora adapter cannot be found.", "type": "NotFoundError"}}


def forgets(_: Vllm, __: dict[str, object]) -> tuple[int, object]:
    return 200, "Success"


def says_no(_: Vllm, __: dict[str, object]) -> tuple[int, object]:
    return 400, {"object": "error", "message": "The LoRA rank 64 is greater than max_lora_rank 16.", "code": 400}


def knows_no_route(_: Vllm, __: dict[str, object]) -> tuple[int, object]:
    return 404, {"detail": "Not Found"}


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    made = Fetcher(10)
    yield made
    await made.close()


def url(server: ScriptedServer) -> str:
    return f"http://127.0.0.1:{server.origin.port}/v1"


async def on(replica: Vllm, act: Callable[[str], Awaitable[None]]) -> Vllm:
    async with scripted(replica) as server:
        await act(url(server))
    return replica


async def test_every_replica_is_asked_once_and_looked_at(fetcher: Fetcher) -> None:
    one, two = Vllm(takes, drops), Vllm(takes, drops)
    async with scripted(one) as first, scripted(two) as second:
        urls = [url(first), f"{url(second)}/"]
        for _ in range(2):
            await publish(fetcher, urls, NAME, PATH, {"authorization": "Bearer a-key"})
        assert one.asked == two.asked == [("load_lora_adapter", {"lora_name": NAME, "lora_path": PATH})]
        assert all(b"bearer a-key" in visit.head.lower() for visit in first.visits)
        for _ in range(2):
            await withdraw(fetcher, urls, NAME, {})
        assert one.asked[1:] == two.asked[1:] == [("unload_lora_adapter", {"lora_name": NAME})]
        assert not one.listed


async def test_another_adapter_under_the_name_is_replaced_in_its_place(fetcher: Fetcher) -> None:
    replica = await on(Vllm(takes, drops, {NAME: "/adapters/0"}), lambda at: publish(fetcher, [at], NAME, PATH, {}))
    assert replica.asked == [("load_lora_adapter", {"lora_name": NAME, "lora_path": PATH, "load_inplace": True})]
    assert replica.listed == {NAME: PATH}


async def test_what_another_gateway_did_meanwhile_is_done(fetcher: Fetcher) -> None:
    await on(Vllm(is_raced, drops), lambda at: publish(fetcher, [at], NAME, PATH, {}))
    await on(Vllm(takes, was_gone, {NAME: PATH}), lambda at: withdraw(fetcher, [at], NAME, {}))


@pytest.mark.parametrize(
    ("replica", "says"),
    [
        (Vllm(forgets, drops), "does not list"),
        (Vllm(says_no, drops), "max_lora_rank 16"),
        (Vllm(knows_no_route, drops), "--enable-lora"),
        (Vllm(says_no, drops, {NAME: "/adapters/0"}), "max_lora_rank 16"),
    ],
    ids=["forgets", "refuses", "has no route", "keeps the other"],
)
async def test_a_replica_that_does_not_serve_it_is_a_fault(fetcher: Fetcher, replica: Vllm, says: str) -> None:
    with pytest.raises(NotPublished) as failed:
        await on(replica, lambda at: publish(fetcher, [at], NAME, PATH, {}))
    assert says in failed.value.message
    assert failed.value.status == 502


async def test_a_replica_that_keeps_it_is_a_fault(fetcher: Fetcher) -> None:
    with pytest.raises(NotPublished) as failed:
        await on(Vllm(takes, forgets, {NAME: PATH}), lambda at: withdraw(fetcher, [at], NAME, {}))
    assert "still lists" in failed.value.message


async def test_all_faults_are_told_and_the_others_are_served(fetcher: Fetcher) -> None:
    good, bad = Vllm(takes, drops), Vllm(says_no, drops)
    async with scripted(good) as one, scripted(bad) as two, scripted(good) as closed:
        gone = url(closed)
    async with scripted(good) as one, scripted(bad) as two:
        with pytest.raises(NotPublished) as failed:
            await publish(fetcher, [gone, url(one), url(two)], NAME, PATH, {})
    assert gone in failed.value.message
    assert url(two) in failed.value.message
    assert url(one) not in failed.value.message
    assert good.listed == {NAME: PATH}


async def test_a_replica_that_was_restarted_is_given_what_it_forgot(fetcher: Fetcher, tmp_path: Path) -> None:
    """And one adapter that is refused keeps no other from being published."""
    for job, name in (("1", NAME), ("2", "ft:tiny:support::2"), ("1", f"{NAME}:ckpt-step-3")):
        publish_here(tmp_path, Published(name, "tiny", "models/tiny", f"ftjob-{job}/adapter"))

    def adapters() -> dict[str, str]:
        found = finished_adapters(tmp_path, "/shared/jobs/")
        return {"ft:refused": "", **found}

    def only_paths(of: Vllm, asked: dict[str, object]) -> tuple[int, object]:
        return takes(of, asked) if asked["lora_path"] else says_no(of, asked)

    replica = Vllm(only_paths, drops)
    wanted = {NAME: "/shared/jobs/ftjob-1/adapter", "ft:tiny:support::2": "/shared/jobs/ftjob-2/adapter"}
    async with scripted(replica) as server:
        for _ in range(2):
            task = asyncio.create_task(keep_published(fetcher, [url(server)], adapters, {}))
            await server.until(lambda: replica.listed == wanted)
            task.cancel()
            await asyncio.wait([task])
            replica.listed.clear()  # it starts anew
