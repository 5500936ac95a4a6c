"""What the contract suites run over."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import uvloop

from gateway.db.engine import Database
from gateway.db.schema import upgrade
from gateway.upstream.httpx_transport import HttpxTransport
from gateway.upstream.port import Transport
from gateway.upstream.transport import Http1Transport

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    """The transports promise the same on both loops; no other contract depends on the loop."""
    factories: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    if item.path.name.startswith("test_transport"):
        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture(params=[Http1Transport, HttpxTransport], ids=["http1", "httpx"])
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    """Each implementation; closed after the test, with nothing left open."""
    made: Transport = request.param()
    yield made
    await made.close()
    assert made.active_count == 0


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """Each kind, at the newest schema; closed after the test."""
    if request.param == "sqlite":
        opened = Database(f"sqlite+aiosqlite:///{tmp_path / 'books.db'}")
    else:
        opened = Database(await request.getfixturevalue("postgres").migrated())
    await upgrade(opened)
    yield opened
    await opened.close()
