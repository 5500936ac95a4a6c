"""A help centre and a website beside a folder: what is edited there is in the next answers, and in the status."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.fakes.api_server import Answer, Asked, serving
from tests.fakes.offline_server import OfflineServer
from tests.fakes.places.website_place import WebsitePlace
from tests.fakes.places.zendesk_place import ZendeskPlace
from tests.fakes.running_gateway import RunningGateway, running_gateway, until


@contextlib.contextmanager
def in_a_thread(answer: Callable[[Asked], Answer]) -> Iterator[str]:
    """A place on a loop of its own; its URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> tuple[str, contextlib.AsyncExitStack]:
        stack = contextlib.AsyncExitStack()
        return (await stack.enter_async_context(serving(answer))).url, stack

    url, stack = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield url
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture
def site() -> Iterator[WebsitePlace]:
    place = WebsitePlace()
    place.write({"hours": "The desk opens at seven fifteen."})
    with in_a_thread(place.answer) as place.url:
        yield place


@pytest.fixture
def centre() -> Iterator[ZendeskPlace]:
    place = ZendeskPlace()
    place.write({"warranty": "The warranty lasts four winters.", "margins": "Margins are thirty percent."})
    place.more = {"margins": {"user_segment_id": 3}}
    with in_a_thread(place.answer) as place.url:
        yield place


@pytest.fixture
def running(
    tmp_path: Path, upstream: OfflineServer, site: WebsitePlace, centre: ZendeskPlace
) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path, upstream.base_url, environment={"SCRIPTED_URL": "http://127.0.0.1:9/v1"}) as gateway:
        written = gateway.policies / "knowledge.yaml"
        sources = (
            "  shop:\n    teams: ['*']\n    model: gpt-4.1-mini\n    sources:\n"
            f"      - {{kind: website, url: '{site.url}', every: 1s, requests_per_second: 100}}\n"
            f"      - {{kind: zendesk, url: '{centre.url}', every: 1s, restricted: [agents]}}\n"
        )
        written.write_text(written.read_text().replace("collections:\n", f"collections:\n{sources}", 1))
        yield gateway


def answered(gateway: RunningGateway, question: str, team: str = "support") -> str:
    client = gateway.client(team)
    with contextlib.suppress(openai.APIStatusError):  # the collection is not there yet
        reply = client.chat.completions.create(model="kb/shop", messages=[{"role": "user", "content": question}])
        return reply.choices[0].message.content or ""
    return ""


def test_remote_sources_answer_stay_fresh_and_keep_what_is_restricted(
    running: RunningGateway, site: WebsitePlace, centre: ZendeskPlace
) -> None:
    def has(question: str, words: str) -> Callable[[], bool | None]:
        return lambda: words in answered(running, question) or None

    until(has("When does the desk open?", "seven fifteen"), 20, what="the website")
    until(has("How long does the warranty last?", "four winters"), 20, what="the help centre")
    site.write({"hours": "The desk opens at nine forty."})
    until(has("When does the desk open?", "nine forty"), 20, what="the edit")
    assert "seven fifteen" not in answered(running, "When does the desk open?")
    assert "thirty percent" not in answered(running, "What are the margins?")
    running.team("agents")
    assert "thirty percent" in answered(running, "What are the margins?", "agents")
    done = running.cli("knowledge", "status")
    assert done.returncode == 0
    assert "website" in done.stdout
    assert site.url in done.stdout
    fresh: dict[Any, float] = running.metrics()
    labels = [dict(labels) for (name, labels) in fresh if "freshness" in name]
    assert any(site.url in str(one) for one in labels), labels
