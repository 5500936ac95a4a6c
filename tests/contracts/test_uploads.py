"""Uploads in both databases: whole or not at all, whoever asks at the same time."""

import asyncio
import hashlib
import time

import pytest

from gateway.core.errors import Conflict, InvalidRequest
from gateway.core.ids import new_id
from gateway.db.engine import Database
from gateway.files.store import PART_BYTES, FileStore
from gateway.files.uploads.store import Upload, Uploads

CONTENT = bytes(range(256)) * (PART_BYTES // 256) + b"the rest of it"


def upload(size: int = len(CONTENT), ends_in: float = 60.0) -> Upload:
    now = time.time()
    return Upload(new_id("upload"), "support", "t.jsonl", "fine-tune", "text/jsonl", size, now, now + ends_in)


async def opened(uploads: Uploads, made: Upload) -> Upload:
    await uploads.add(made)
    return made


async def test_parts_become_a_file_in_the_order_that_is_named(database: Database) -> None:
    uploads, files = Uploads(database), FileStore(database)
    made = await opened(uploads, upload())
    second = await uploads.add_part(made, CONTENT[700_000:])
    first = await uploads.add_part(made, CONTENT[:700_000])
    file = await uploads.complete(made, [first.id, second.id], hashlib.md5(CONTENT).hexdigest())
    assert await files.content(file) == CONTENT
    found = await uploads.find(made.id)
    assert found is not None
    assert (found.status, found.file_id) == ("completed", file.id)


async def test_a_part_past_the_announced_size_is_refused(database: Database) -> None:
    uploads = Uploads(database)
    made = await opened(uploads, upload(size=10))
    await uploads.add_part(made, b"12345678")
    with pytest.raises(InvalidRequest):
        await uploads.add_part(made, b"901")
    await uploads.add_part(made, b"90")


@pytest.mark.parametrize("fault", ["size", "md5", "unknown", "twice"])
async def test_what_does_not_fit_together_leaves_the_upload_open(database: Database, fault: str) -> None:
    uploads = Uploads(database)
    made = await opened(uploads, upload(len(CONTENT) + (fault == "size")))
    part = await uploads.add_part(made, CONTENT)
    ids = {"unknown": [part.id, "part_none"], "twice": [part.id, part.id]}.get(fault, [part.id])
    with pytest.raises(InvalidRequest):
        await uploads.complete(made, ids, "0" * 32 if fault == "md5" else None)
    assert await FileStore(database).named("support", "fine-tune", "t.jsonl") is None
    found = await uploads.find(made.id)
    assert found is not None
    assert found.status == "pending"


async def test_of_those_who_complete_at_once_one_makes_the_file(database: Database) -> None:
    uploads = Uploads(database)
    made = await opened(uploads, upload())
    part = await uploads.add_part(made, CONTENT)

    async def complete() -> bool:
        try:
            await uploads.complete(made, [part.id], None)
        except Conflict:
            return False
        return True

    assert sum(await asyncio.gather(*(complete() for _ in range(4)))) == 1


async def test_an_upload_that_is_over_takes_nothing_and_is_swept(database: Database) -> None:
    uploads = Uploads(database)
    late = await opened(uploads, upload(ends_in=-1))
    with pytest.raises(Conflict):
        await uploads.add_part(late, b"x")
    cancelled = await opened(uploads, upload())
    await uploads.add_part(cancelled, b"x")
    assert (await uploads.cancel(cancelled)).status == "cancelled"
    with pytest.raises(Conflict):
        await uploads.add_part(cancelled, b"x")
    found = await uploads.find(late.id)
    assert found is not None
    assert found.status == "expired"
    assert await uploads.sweep(time.time()) == 1
    assert await uploads.sweep(time.time()) == 0
