import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.core.errors import AccountingUnavailable
from gateway.ledger.durable import Durable
from gateway.ledger.journal import Journal
from gateway.ledger.records import Intent, frame
from tests.fakes.calls import closed


def intent(number: int) -> Intent:
    return Intent(closed(number))


async def test_nothing_is_waited_for_when_the_journal_is_enough(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert Durable(journal).waits is False
    journal.close()


async def test_an_intent_waits_for_the_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path, durability="fsync")
    durable = Durable(journal)
    assert durable.waits is True
    for number in range(20):
        journal.append(intent(number))
    await asyncio.gather(*(durable.settled(intent(number)) for number in range(20)))
    journal.close()


async def test_a_disk_that_cannot_sync_is_a_503(tmp_path: Path) -> None:
    journal = Journal(tmp_path, durability="fsync")
    reader, writer = os.pipe()
    kept, journal._file = journal._file, writer  # a pipe takes bytes and cannot be synced
    try:
        with pytest.raises(AccountingUnavailable, match="disk") as caught:
            await Durable(journal).settled(intent(1))
        assert caught.value.status == 503
    finally:
        journal._file = kept
        journal.close()
        os.close(reader)
        os.close(writer)


class Database:
    """Keeps intents, a group at a time."""

    def __init__(self) -> None:
        self.groups: list[dict[str, bytes]] = []
        self.fault: Exception | None = None
        self.permits = asyncio.Semaphore(1000)

    async def intend(self, records: Mapping[str, bytes]) -> None:
        await self.permits.acquire()
        if self.fault is not None:
            raise self.fault
        self.groups.append(dict(records))


async def test_intents_that_come_together_go_to_the_database_together(tmp_path: Path) -> None:
    journal, database = Journal(tmp_path, durability="database"), Database()
    durable = Durable(journal, database.intend)
    database.permits = asyncio.Semaphore(0)
    waiting = [asyncio.create_task(durable.settled(intent(number))) for number in range(50)]
    await asyncio.sleep(0)
    database.permits.release()
    database.permits.release()
    await asyncio.gather(*waiting)
    assert len(database.groups) == 2
    assert {key: value for group in database.groups for key, value in group.items()} == {
        intent(number).event.id: frame(intent(number)) for number in range(50)
    }
    journal.close()


async def test_a_database_that_is_away_fails_the_whole_group_and_not_the_next(tmp_path: Path) -> None:
    journal, database = Journal(tmp_path, durability="database"), Database()
    durable = Durable(journal, database.intend)
    database.fault = ConnectionRefusedError()
    results = await asyncio.gather(*(durable.settled(intent(number)) for number in range(9)), return_exceptions=True)
    assert {type(result) for result in results} == {AccountingUnavailable}
    database.fault = None
    await durable.settled(intent(10))
    journal.close()


async def test_a_leader_who_is_cancelled_leaves_no_follower_believing_that_it_is_safe(tmp_path: Path) -> None:
    journal, database = Journal(tmp_path, durability="database"), Database()
    durable = Durable(journal, database.intend)
    database.permits = asyncio.Semaphore(0)
    first = asyncio.create_task(durable.settled(intent(0)))
    await asyncio.sleep(0)
    leader = asyncio.create_task(durable.settled(intent(1)))
    follower = asyncio.create_task(durable.settled(intent(2)))
    await asyncio.sleep(0)
    database.permits.release()
    await first
    await asyncio.sleep(0)
    leader.cancel()
    await asyncio.gather(leader, return_exceptions=True)
    assert len(database.groups) == 1
    with pytest.raises(AccountingUnavailable):
        await follower
    journal.close()
