"""Batches in both databases: one holder's at a time, each answer written once, files the same after a crash."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from gateway.batches.answers.store import AnswerStore
from gateway.batches.here import AT_ONCE
from gateway.batches.runner import MOST_FAILURES, Runner
from gateway.batches.store import BatchStore
from gateway.batches.values import Batch, Way
from gateway.core.answered import Answered, Ask
from gateway.core.call import Principal
from gateway.core.clock import Clock
from gateway.core.errors import UpstreamFailed
from gateway.core.page import PageAsked
from gateway.core.stored_file import StoredFile
from gateway.db.engine import Database
from gateway.files.store import FileStore
from gateway.upstream.upstreams import Upstream
from tests.fakes.calls import NOON

PRINCIPAL = msgspec.json.encode(Principal("support", "key_1", "tests")).decode()
ENDPOINT = "/v1/chat/completions"


def batch(number: int = 1, file_id: str = "file-sw1", **changed: Any) -> Batch:
    made = Batch(
        id=f"batch_sw{number:032x}",
        team="support",
        principal=PRINCIPAL,
        endpoint=ENDPOINT,
        input_file_id=file_id,
        status="validating",
        metadata="null",
        created_at=NOON + number,
        expires_at=NOON + 86_400,
        output_id=f"file-sw{number:032x}",
        error_id=f"file-sw{number + 1000:032x}",
    )
    return msgspec.structs.replace(made, **changed)


class Place:
    """What running batches needs, with a model that says what it was asked. asked: every body so far."""

    def __init__(self, database: Database) -> None:
        self.files = FileStore(database)
        self.store, self.answers = BatchStore(database), AnswerStore(database)
        self.now = NOON
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0
        self.go = asyncio.Event()
        self.go.set()
        self.status = 200
        self.breaks = False
        self.is_revoked = False

    def asking(self, principal: Principal) -> Ask:
        assert principal.team == "support"

        async def ask(path: str, body: bytes) -> Answered:
            assert path == ENDPOINT
            said = json.loads(body)["messages"][0]["content"]
            self.asked.append(said)
            if self.breaks:
                raise RuntimeError("a fault of ours")
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            await self.go.wait()
            self.at_once -= 1
            usage = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
            return Answered(self.status, json.dumps({"said": said, "usage": usage}).encode(), "req_1")

        return ask

    def is_good(self, batch: Batch) -> bool:
        assert batch.team == "support"
        return not self.is_revoked

    def way(self, principal: Principal, path: str, body: bytes) -> Way | None:
        del principal, path, body
        return None

    def fits(self, batch: Batch, most_nano_usd: int | None) -> bool:
        raise AssertionError((batch, most_nano_usd))

    async def same_there(self, batch: Batch, file_id: str, upstream_id: str) -> None:
        raise AssertionError((batch, file_id, upstream_id))

    def upstream(self, name: str) -> Upstream:
        raise UpstreamFailed(f"{name} is not here.")

    async def copied(self, upstream: str, file: StoredFile) -> str:
        raise UpstreamFailed(f"{upstream} is not here for {file.id}.")

    async def book_later(self, batch: Batch, upstream_id: str) -> None:
        raise AssertionError((batch, upstream_id))

    async def input(self, count: int) -> str:
        lines = [
            json.dumps(
                {
                    "custom_id": f"r{number}",
                    "method": "POST",
                    "url": ENDPOINT,
                    "body": {"model": "m", "messages": [{"role": "user", "content": f"r{number}"}]},
                }
            )
            for number in range(count)
        ]
        return (await self.files.add("support", "b.jsonl", "batch", "\n".join(lines).encode())).id

    def runner(self) -> Runner:
        return Runner(self.store, self.answers, self, Clock(wall=lambda: self.now))

    async def ended(self, identity: str) -> Batch:
        async with asyncio.timeout(20):
            while True:
                found = await self.store.find(identity)
                assert found is not None
                if found.has_ended:
                    return found
                await asyncio.sleep(0.02)

    async def lines(self, file_id: str) -> list[Any]:
        file = await self.files.find(file_id)
        assert file is not None
        return [json.loads(one) for one in (await self.files.content(file)).splitlines()]


@pytest.fixture
async def place(database: Database) -> Place:
    return Place(database)


@pytest.fixture
async def running(place: Place) -> AsyncIterator[Runner]:
    runner = place.runner()
    task = asyncio.create_task(runner.run())
    yield runner
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_batch_is_one_holders_until_its_hold_ends(place: Place) -> None:
    store = place.store
    for number in range(3):
        await store.create(batch(number))
    mine = await store.claim("me", NOON, 15, 2)
    assert [one.id for one in mine] == [batch(0).id, batch(1).id]
    assert [one.id for one in await store.claim("you", NOON, 15, 5)] == [batch(2).id]
    assert await store.claim("you", NOON + 14, 15, 5) == []
    assert await store.hold("me", [one.id for one in mine], NOON + 30) == {one.id: "validating" for one in mine}
    taken = await store.claim("you", NOON + 31, 15, 5)
    assert {one.id for one in taken} >= {one.id for one in mine}
    assert await store.hold("me", [mine[0].id], NOON + 60) == {}
    assert await store.change("me", mine[0].id, completed=9) is None
    assert not await store.end("me", mine[0].id, status="completed")
    await store.let_go("you")
    assert len(await store.claim("me", NOON + 32, 15, 5)) == 3


async def test_claims_at_once_give_a_batch_to_one(place: Place) -> None:
    for number in range(4):
        await place.store.create(batch(number))
    claims = await asyncio.gather(*(place.store.claim(f"holder {n}", NOON, 15, 4) for n in range(5)))
    ids = [one.id for claimed in claims for one in claimed]
    assert len(ids) == len(set(ids))


async def test_the_first_answer_of_a_line_stays(place: Place) -> None:
    answers = place.answers
    await asyncio.gather(*(answers.write("b", [(1, f'"{n}"')], are_errors=False) for n in range(5)))
    first = [line async for line in answers.lines("b", are_errors=False)]
    await answers.write("b", [(1, '"later"')], are_errors=True)
    await answers.write("b", [(2, '"refused"')], are_errors=True)
    assert [line async for line in answers.lines("b", are_errors=False)] == first
    counts = (await answers.counts(["b", "other"]))["b"]
    assert (counts.completed, counts.failed) == (1, 1)
    assert await answers.numbers("b") == {1, 2}


async def test_pages_are_cut_exactly(place: Place) -> None:
    for number in range(5):
        await place.store.create(batch(number))
    await place.store.create(batch(9, team="other"))
    seen: list[str] = []
    after = None
    for has_more in (True, True, False):
        page = await place.store.page("support", PageAsked(2, after=after))
        seen += [one.id for one in page.items]
        after = seen[-1]
        assert page.has_more is has_more
    assert seen == [batch(number).id for number in (4, 3, 2, 1, 0)]


@pytest.mark.usefixtures("running")
async def test_a_batch_runs_to_its_end_a_bounded_number_at_once(place: Place) -> None:
    place.go.clear()
    await place.store.create(batch(1, await place.input(30)))
    async with asyncio.timeout(10):
        while place.at_once < AT_ONCE:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)
    place.go.set()
    done = await place.ended(batch().id)
    assert (done.status, done.total, done.completed, done.failed) == ("completed", 30, 30, 0)
    assert place.most_at_once == AT_ONCE
    assert json.loads(done.usage)["total_tokens"] == 150
    lines = await place.lines(done.output_id)
    assert [one["custom_id"] for one in lines] == [f"r{number}" for number in range(30)]
    assert lines[3]["response"] == {
        "status_code": 200,
        "request_id": "req_1",
        "body": {"said": "r3", "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}},
    }
    assert await place.answers.numbers(done.id) == set()
    assert await place.files.find(done.error_id) is None


@pytest.mark.usefixtures("running")
async def test_a_batch_ends_with_the_key_that_made_it(place: Place) -> None:
    """What was being asked is answered and kept; nothing more is asked, and the batch says why."""
    place.go.clear()
    await place.store.create(batch(1, await place.input(30)))
    async with asyncio.timeout(10):
        while place.at_once < AT_ONCE:
            await asyncio.sleep(0.02)
    place.is_revoked = True
    place.go.set()
    done = await place.ended(batch().id)
    assert (done.status, done.completed, len(place.asked)) == ("cancelled", AT_ONCE, AT_ONCE)
    assert [fault["code"] for fault in json.loads(done.errors)] == ["invalid_api_key"]
    assert len(await place.lines(done.output_id)) == AT_ONCE
    assert done.cancelled_at is not None


@pytest.mark.usefixtures("running")
async def test_a_batch_whose_key_was_revoked_before_it_began_asks_nothing(place: Place) -> None:
    """Here and at a provider, which is not even looked for."""
    place.is_revoked = True
    await place.store.create(batch(1, await place.input(3)))
    begun = {"status": "in_progress", "in_progress_at": NOON, "upstream": "main"}
    await place.store.create(batch(2, await place.input(3), **begun))
    for number in (1, 2):
        done = await place.ended(batch(number).id)
        assert (done.status, place.asked) == ("cancelled", [])
        assert "revoked" in done.errors


async def test_whoever_takes_over_asks_what_has_no_answer_yet(place: Place) -> None:
    """The first process dies with lines in flight; these alone are asked again."""
    await place.store.create(batch(1, await place.input(20)))
    place.go.clear()
    first = asyncio.create_task(place.runner().run())
    async with asyncio.timeout(10):
        while place.at_once < AT_ONCE:
            await asyncio.sleep(0.02)
    for number in (1, 2, 3):
        line = json.dumps({"custom_id": f"r{number - 1}"})
        await place.answers.write(batch().id, [(number, line)], are_errors=False)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    before = len(place.asked)
    place.go.set()
    second = asyncio.create_task(place.runner().run())
    done = await place.ended(batch().id)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert sorted(place.asked[before:]) == sorted(f"r{number}" for number in range(3, 20))
    assert [one["custom_id"] for one in await place.lines(done.output_id)] == [f"r{number}" for number in range(20)]


@pytest.mark.usefixtures("running")
async def test_after_a_day_what_has_no_answer_is_told_so(place: Place) -> None:
    place.go.clear()
    await place.store.create(batch(1, await place.input(20)))
    async with asyncio.timeout(10):
        while place.at_once < AT_ONCE:
            await asyncio.sleep(0.02)
    place.now = NOON + 86_401
    place.go.set()
    done = await place.ended(batch().id)
    assert (done.status, done.completed, done.failed) == ("expired", AT_ONCE, 20 - AT_ONCE)
    errors = await place.lines(done.error_id)
    assert {one["error"]["code"] for one in errors} == {"batch_expired"}
    assert all(one["response"] is None for one in errors)


@pytest.mark.usefixtures("running")
async def test_an_input_file_that_goes_ends_its_batch_with_what_was_answered(place: Place) -> None:
    place.go.clear()
    # Two parts of a file: the second is read when the first has been asked.
    file_id = await place.input(12_000)
    await place.store.create(batch(1, file_id))
    async with asyncio.timeout(30):
        while place.at_once < AT_ONCE:
            await asyncio.sleep(0.02)
    await place.files.remove(file_id)
    place.now = NOON + 86_401
    place.go.set()
    done = await place.ended(batch().id)
    assert done.status == "failed"
    assert json.loads(done.errors)[0]["code"] == "input_file_not_found"
    assert done.completed == AT_ONCE
    assert len(await place.lines(done.output_id)) == AT_ONCE


async def test_finishing_again_after_a_crash_gives_the_same_files(place: Place) -> None:
    """What a dead process left of a file is replaced."""
    made = batch(1, await place.input(2), status="finalizing", ending="completed", in_progress_at=NOON, total=2)
    await place.store.create(made)
    for number in (1, 2):
        line = json.dumps({"custom_id": f"r{number}"})
        await place.answers.write(made.id, [(number, line)], are_errors=False)

    async def left() -> AsyncIterator[bytes]:
        yield b"half of a line"

    await place.files.write(StoredFile(made.output_id, "support", "x", "batch_output", 0, NOON), left())
    task = asyncio.create_task(place.runner().run())
    done = await place.ended(made.id)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert place.asked == []
    assert [one["custom_id"] for one in await place.lines(done.output_id)] == ["r1", "r2"]
    assert done.usage == ""


@pytest.mark.usefixtures("running")
async def test_a_provider_that_is_never_heard_of_again_ends_its_batch(place: Place) -> None:
    """A day for the batch and a day of asking."""
    made = batch(1, await place.input(2), status="in_progress", in_progress_at=NOON, total=2, upstream="gone")
    await place.store.create(made)
    await asyncio.sleep(0.3)
    found = await place.store.find(made.id)
    assert found is not None
    assert found.status == "in_progress"
    place.now = NOON + 2 * 86_400 + 60
    done = await place.ended(made.id)
    assert done.status == "failed"
    assert json.loads(done.errors)[0]["code"] == "batch_lost"


@pytest.mark.usefixtures("running")
async def test_a_fault_of_ours_does_not_ask_the_same_lines_for_ever(place: Place) -> None:
    place.breaks = True
    made = batch(1, await place.input(1))
    await place.store.create(made)
    async with asyncio.timeout(30):
        while not (found := await place.store.find(made.id)) or not found.has_ended:
            await asyncio.sleep(0.1)
            # Its hold ends by the clock.
            place.now += 10
    assert found.status == "failed"
    assert json.loads(found.errors)[0]["code"] == "internal_error"
    assert len(place.asked) == MOST_FAILURES
