"""A provider's own count, read over a socket, page by page."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from gateway.core.errors import InvalidRequest, NotFound, UpstreamFailed
from gateway.policy.models_file import UpstreamEntry
from gateway.upstream.organization import Accounts, Organization
from gateway.upstream.post import JsonPoster
from tests.fakes.offline_server import OfflineServer, offline_server
from tests.fakes.scripted_server import Visit, scripted

KEY = "sk-admin"


@pytest.fixture
def upstream() -> Iterator[OfflineServer]:
    with offline_server(key=KEY) as server:
        yield server


async def test_a_span_of_several_pages_comes_whole(upstream: OfflineServer) -> None:
    """The day with calls is on the third page of 31 days each."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"authorization": f"Bearer {KEY}"}
    httpx2.post(f"{upstream.base_url}/chat/completions", json=body, headers=headers).raise_for_status()
    [billed] = upstream.bill()["rows"]
    today = datetime.now(UTC).date()
    poster = JsonPoster()
    account = Organization(poster.get, upstream.base_url, KEY)
    try:
        found = await account.usage(today - timedelta(days=80), today + timedelta(days=1))
        costs = await account.costs(today - timedelta(days=80), today + timedelta(days=1))
    finally:
        await poster.close()
    [count] = [one for one in found if one.requests]
    assert (count.model, count.kind, count.tier) == ("gpt-4o-mini", "completions", "")
    assert (count.input_tokens, count.output_tokens) == (billed["prompt_tokens"], billed["completion_tokens"])
    assert len(costs) >= 81
    assert sum(costs.values()) == billed["prompt_tokens"] * 150 + billed["completion_tokens"] * 600


async def test_another_key_or_an_answer_that_makes_no_sense_is_the_upstreams_failure(upstream: OfflineServer) -> None:
    poster = JsonPoster()
    day = datetime.now(UTC).date()

    async def nonsense(visit: Visit) -> None:
        await visit.write(b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{"data": 12 }')
        visit.close()

    try:
        with pytest.raises(UpstreamFailed, match="answered 401"):
            await Organization(poster.get, upstream.base_url, "wrong").usage(day, day + timedelta(days=1))
        async with scripted(nonsense) as server:
            base = f"http://{server.origin.host}:{server.origin.port}/v1"
            with pytest.raises(UpstreamFailed):
                await Organization(poster.get, base, KEY).costs(day, day + timedelta(days=1))
    finally:
        await poster.close()


def test_an_account_needs_an_admin_key_that_is_there() -> None:
    entries = {
        "a": UpstreamEntry(base_url="http://127.0.0.1:1/v1"),
        "b": UpstreamEntry(base_url="http://127.0.0.1:1/v1", admin_key="env:ADMIN"),
    }
    accounts = Accounts(lambda: entries, {}, JsonPoster().get)
    with pytest.raises(NotFound, match="there are a, b"):
        accounts.of("c")
    with pytest.raises(InvalidRequest, match="has no admin_key"):
        accounts.of("a")
    with pytest.raises(InvalidRequest, match="ADMIN is not set"):
        accounts.of("b")
    assert Accounts(lambda: entries, {"ADMIN": "x"}, JsonPoster().get).of("b")
