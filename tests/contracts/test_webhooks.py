"""Messages in both databases, told to a real receiver: once for a fact, again after a failure, never for a rollback."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.errors import Conflict, NotFound
from gateway.db.engine import Database
from gateway.db.schema import upgrade
from gateway.ledger.webhooks.delivery import MOST_TRIES, Messenger, signing_keys
from gateway.ledger.webhooks.store import WebhookStore
from gateway.upstream.post import JsonPoster
from tests.fakes.books import Hands
from tests.fakes.running_gateway import free_port
from tests.fakes.scripted_server import ScriptedServer, Visit, says, scripted

KEY = b"k" * 32
KEYS = signing_keys("whsec_" + base64.b64encode(KEY).decode())
BODY = json.dumps({"type": "budget.threshold", "data": {"team": "süd", "used": 0.8}})
TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"


def answer(status: int) -> bytes:
    return b"HTTP/1.1 %d Status\r\nContent-Length: 0\r\n\r\n" % status


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'books.db'}"
    made: str = request.getfixturevalue("postgres").fresh()
    return made


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = Database(url)
    await upgrade(opened)
    yield opened
    await opened.close()


@pytest.fixture
def store(database: Database) -> WebhookStore:
    return WebhookStore(database)


@pytest.fixture
async def poster() -> AsyncIterator[JsonPoster]:
    made = JsonPoster()
    yield made
    await made.close()


@pytest.fixture
def hands() -> Hands:
    """A clock a little ahead of the machine's, so that what was just added is due."""
    return Hands(wall=time.time() + 5)


@pytest.fixture
def messenger(store: WebhookStore, poster: JsonPoster, hands: Hands) -> Messenger:
    return Messenger(store, poster.status, KEYS, lambda: hands.wall)


async def add(database: Database, fact: str, server: ScriptedServer | int) -> None:
    port = server if isinstance(server, int) else server.origin.port
    async with database.session() as session:
        await WebhookStore(database).add(session, fact, f"http://127.0.0.1:{port}/hook", BODY)


def headers(visit: Visit) -> dict[str, str]:
    lines = visit.head.decode().split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if value}


async def test_a_message_arrives_whole_and_signed(database: Database, messenger: Messenger) -> None:
    async with scripted(says(TAKEN)) as receiver:
        await add(database, "fact", receiver)
        assert await messenger.send_due() == 1
        (visit,) = receiver.visits
    told = headers(visit)
    assert visit.head.startswith(b"POST /hook HTTP/1.1\r\n")
    assert visit.body.decode() == BODY
    content = f"{told['webhook-id']}.{told['webhook-timestamp']}.".encode() + visit.body
    digest = base64.b64encode(hmac.new(KEY, content, hashlib.sha256).digest()).decode()
    assert told["webhook-signature"] == f"v1,{digest}"
    (kept,) = await messenger.store.newest()
    assert (kept.id, kept.state, kept.tries, kept.fault) == (told["webhook-id"], "delivered", 1, "")


async def test_one_fact_is_told_once_by_however_many_workers(url: str, database: Database, poster: JsonPoster) -> None:
    """Each adds the same facts and sends what is due; each message arrives once."""
    workers = [Database(url) for _ in range(4)]
    hands = Hands(wall=time.time() + 5)
    async with scripted(says(TAKEN)) as receiver:

        async def work(worker: Database) -> None:
            for number in range(10):
                await add(worker, f"fact {number}", receiver)
            messenger = Messenger(WebhookStore(worker), poster.status, KEYS, lambda: hands.wall)
            while await messenger.send_due():
                pass

        await asyncio.gather(*(work(worker) for worker in workers))
        for worker in workers:
            await add(worker, "fact 3", receiver)
            await worker.close()
        ids = [headers(visit)["webhook-id"] for visit in receiver.visits]
    assert len(ids) == len(set(ids)) == 10
    assert {one.state for one in await WebhookStore(database).newest()} == {"delivered"}


async def test_a_fact_that_is_rolled_back_is_told_to_nobody(database: Database, messenger: Messenger) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with database.session() as session:
            await messenger.store.add(session, "fact", "http://127.0.0.1:9/hook", BODY)
            raise ZeroDivisionError
    assert await messenger.send_due() == 0
    assert await messenger.store.newest() == []


async def test_a_receiver_that_fails_is_told_again_later_with_the_same_id(
    database: Database, messenger: Messenger, hands: Hands
) -> None:
    answers = [answer(500), answer(302), TAKEN]

    async def script(visit: Visit) -> None:
        await visit.write(answers.pop(0))

    async with scripted(script) as receiver:
        await add(database, "fact", receiver)
        assert await messenger.send_due() == 1
        assert await messenger.send_due() == 0
        (kept,) = await messenger.store.newest()
        assert (kept.state, kept.fault) == ("waiting", "The receiver answered 500.")
        assert kept.due_at is not None
        assert 4 <= kept.due_at - hands.wall <= 6
        hands.turn(7)
        assert await messenger.send_due() == 1
        hands.turn(20)
        assert await messenger.send_due() == 1
        assert len({headers(visit)["webhook-id"] for visit in receiver.visits}) == 1
        assert len({headers(visit)["webhook-timestamp"] for visit in receiver.visits}) == 3
        hands.turn(1_000_000)
        assert await messenger.send_due() == 0
    (kept,) = await messenger.store.newest()
    assert (kept.state, kept.tries) == ("delivered", 3)


async def test_a_receiver_that_is_not_there_is_told_when_it_is(
    database: Database, messenger: Messenger, hands: Hands
) -> None:
    port = free_port()
    await add(database, "fact", port)
    await messenger.send_due()
    (kept,) = await messenger.store.newest()
    assert "cannot be reached" in kept.fault
    async with scripted(says(TAKEN), port=port):
        hands.turn(7)
        assert await messenger.send_due() == 1
    assert [one.state for one in await messenger.store.newest()] == ["delivered"]


async def test_who_answers_410_is_left_alone(database: Database, messenger: Messenger, hands: Hands) -> None:
    async with scripted(says(answer(410))) as receiver:
        await add(database, "fact", receiver)
        await messenger.send_due()
        hands.turn(1_000_000)
        assert await messenger.send_due() == 0
    (kept,) = await messenger.store.newest(undelivered=True)
    assert (kept.state, kept.tries) == ("given up", 1)
    assert "410" in kept.fault


async def test_after_its_last_try_a_message_waits_for_a_person(
    database: Database, messenger: Messenger, hands: Hands
) -> None:
    async with scripted(says(answer(503))) as receiver:
        await add(database, "fact", receiver)
        for _ in range(MOST_TRIES):
            assert await messenger.send_due() == 1
            hands.turn(100_000)
        assert await messenger.send_due() == 0
        (kept,) = await messenger.store.newest()
        assert (kept.state, kept.tries) == ("given up", MOST_TRIES)
        again = await messenger.store.retry(kept.id)
        assert (again.state, again.tries) == ("waiting", 0)
        receiver.script = says(TAKEN)
        assert await messenger.send_due() == 1
    with pytest.raises(Conflict, match="not sent a second time"):
        await messenger.store.retry(kept.id)
    with pytest.raises(NotFound):
        await messenger.store.retry("msg_unknown")


async def test_a_worker_that_dies_while_telling_leaves_it_to_another(
    database: Database, messenger: Messenger, hands: Hands
) -> None:
    """Claimed and never answered for: due again after a minute, and not before."""
    async with scripted(says(TAKEN)) as receiver:
        await add(database, "fact", receiver)
        (stale,) = await messenger.store.claim(hands.wall, 60, 20)
        assert await messenger.send_due() == 0
        hands.turn(61)
        assert await messenger.send_due() == 1
        await messenger.store.failed(stale, "late", hands.wall)
        assert await messenger.send_due() == 0
        assert len(receiver.visits) == 1


async def test_without_a_secret_nothing_is_sent_and_everything_waits(
    database: Database, store: WebhookStore, poster: JsonPoster, hands: Hands
) -> None:
    async with scripted(says(TAKEN)) as receiver:
        await add(database, "fact", receiver)
        async with asyncio.timeout(5):
            await Messenger(store, poster.status, (), lambda: hands.wall).run()
        assert receiver.visits == []
    assert [one.state for one in await store.newest()] == ["waiting"]


async def test_old_messages_are_forgotten_and_those_that_are_due_are_not(
    database: Database, messenger: Messenger, hands: Hands
) -> None:
    async with scripted(says(TAKEN)) as receiver:
        await add(database, "told", receiver)
        await messenger.send_due()
        await add(database, "due", receiver)
        assert await messenger.store.forget(hands.wall) == 1
    assert [one.state for one in await messenger.store.newest()] == ["waiting"]
