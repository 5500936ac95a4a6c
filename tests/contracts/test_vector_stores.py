"""What is known of uploaded files and vector stores, on both databases."""

import time
from dataclasses import dataclass

import pytest

from gateway.core.errors import InvalidRequest, NotFound
from gateway.core.page import PageAsked
from gateway.db.engine import Database
from gateway.files.store import PART_BYTES, FileStore
from gateway.knowledge.chunks import Chunking
from gateway.knowledge.vector_stores.loads.store import StoreFiles
from gateway.knowledge.vector_stores.store import VectorStores
from gateway.knowledge.vector_stores.values import DAY_SECONDS, Counts, FileToPut, StoreFile, VectorStore

NOW = 1_800_000_000.0


@dataclass
class Place:
    """A database with everything that is kept in it of vector stores."""

    files: FileStore
    stores: VectorStores
    inside: StoreFiles

    async def store(self, days: int | None = None) -> VectorStore:
        return await self.stores.create("support", "animals", "", {"owner": "zoo"}, days)

    async def counts(self, store: VectorStore) -> Counts:
        found = await self.stores.find(store.id)
        assert found is not None
        return found.counts


@pytest.fixture
def place(database: Database) -> Place:
    return Place(FileStore(database), VectorStores(database), StoreFiles(database))


def put(*ids: str) -> list[FileToPut]:
    return [FileToPut(one) for one in ids]


async def claimed(place: Place, now: float = NOW) -> list[StoreFile]:
    return await place.inside.claim(now, 10.0, 100)


class TestFiles:
    async def test_bytes_come_back_in_parts_and_whole(self, place: Place) -> None:
        content = bytes(range(256)) * (PART_BYTES // 100)
        made = await place.files.add("support", "a.bin", "assistants", content)
        parts = [part async for part in place.files.parts(made.id)]
        assert len(parts) == -(-len(content) // PART_BYTES)
        assert b"".join(parts) == content == await place.files.content(made)
        assert await place.files.find(made.id) == made

    async def test_a_deleted_file_leaves_nothing(self, place: Place) -> None:
        made = await place.files.add("support", "a.md", "assistants", b"text")
        await place.files.remove(made.id)
        assert await place.files.find(made.id) is None
        assert [part async for part in place.files.parts(made.id)] == []
        with pytest.raises(NotFound):
            await place.files.content(made)

    async def test_a_file_whose_time_is_over_is_not_there(self, place: Place) -> None:
        made = await place.files.add("support", "a.md", "assistants", b"text", expires_seconds=-5)
        assert await place.files.find(made.id) is None
        assert (await place.files.page("support", PageAsked())).items == ()
        assert await place.files.expired(time.time()) == [made]

    async def test_only_the_teams_own_are_listed(self, place: Place) -> None:
        mine = await place.files.add("support", "a.md", "assistants", b"a")
        other = await place.files.add("sales", "b.md", "assistants", b"b")
        assert (await place.files.page("support", PageAsked())).items == (mine,)
        assert await place.files.several((mine.id, other.id), "support") == {mine.id: mine}

    async def test_an_unknown_cursor_is_refused(self, place: Place) -> None:
        with pytest.raises(InvalidRequest, match="not an item"):
            await place.files.page("support", PageAsked(after="nothing-of-the-kind"))


class TestVectorStores:
    async def test_one_is_found_as_it_was_made(self, place: Place) -> None:
        made = await place.store(days=3)
        assert await place.stores.find(made.id) == made
        assert made.expires_at == made.created_at + 3 * DAY_SECONDS

    async def test_collections_of_the_policy_are_listed_for_their_readers(self, place: Place) -> None:
        await place.stores.declare({"help": "Help", "secret": "Secret"}, NOW)
        await place.stores.declare({"help": "Help centre"}, NOW + 5)
        own = await place.store()
        listed = (await place.stores.page("support", ["help"], PageAsked())).items
        assert {one.id for one in listed} == {"help", own.id}
        named = next(one for one in listed if one.id == "help")
        assert (named.name, named.created_at, named.team) == ("Help centre", NOW, "")

    async def test_an_expired_one_is_stale_until_it_is_swept(self, place: Place) -> None:
        made = await place.store(days=1)
        await place.store()
        later = made.created_at + 2 * DAY_SECONDS
        assert await place.stores.stale(later) == [made.id]
        await place.stores.used(made.id, later)
        assert await place.stores.stale(later) == []
        await place.stores.swept(made.id, later)
        assert await place.stores.stale(later + 9 * DAY_SECONDS) == []

    async def test_a_removed_one_takes_its_files_and_batches_along(self, place: Place) -> None:
        made = await place.store()
        batch = await place.inside.put(made.id, put("a", "b"), NOW, batch=True)
        await place.stores.remove(made.id)
        assert await place.stores.find(made.id) is None
        assert await place.inside.file(made.id, "a") is None
        assert await place.inside.batch(made.id, batch or "") is None
        assert await claimed(place) == []


class TestLoading:
    async def test_each_file_is_handed_to_one_loader(self, place: Place) -> None:
        made = await place.store()
        await place.inside.put(made.id, put("a", "b"), NOW)
        assert {file.file_id for file in await claimed(place)} == {"a", "b"}
        assert await claimed(place) == []

    async def test_what_a_dead_loader_held_is_handed_out_again(self, place: Place) -> None:
        made = await place.store()
        await place.inside.put(made.id, put("a"), NOW)
        await claimed(place)
        again = await claimed(place, NOW + 11.0)
        assert [(file.file_id, file.tries) for file in again] == [("a", 2)]

    async def test_ends_are_counted(self, place: Place) -> None:
        made = await place.store()
        batch = await place.inside.put(made.id, put("a", "b", "c"), NOW, batch=True)
        one, two, _ = await claimed(place)
        assert await place.inside.loaded([(one, 70)]) == []
        assert await place.inside.failed(two, "unsupported_file", "No.")
        assert await place.counts(made) == Counts(in_progress=1, completed=1, failed=1)
        found = await place.inside.batch(made.id, batch or "")
        assert found is not None
        assert (found.counts, found.status) == (Counts(in_progress=1, completed=1, failed=1), "in_progress")
        failed = await place.inside.files(made.id, PageAsked(), "failed")
        assert [file.error for file in failed.items] == [("unsupported_file", "No.")]
        whole = await place.stores.find(made.id)
        assert whole is not None
        assert whole.usage_bytes == 70

    async def test_a_cancelled_batch_ends_what_was_not_loaded(self, place: Place) -> None:
        made = await place.store()
        batch = await place.inside.put(made.id, put("a", "b"), NOW, batch=True) or ""
        one, two = await claimed(place)
        assert await place.inside.loaded([(one, 1)]) == []
        await place.inside.cancel(batch, NOW)
        assert await place.inside.loaded([(two, 1)]) == [two]
        found = await place.inside.batch(made.id, batch)
        assert found is not None
        assert (found.status, found.counts) == ("cancelled", Counts(completed=1, cancelled=1))

    async def test_the_loading_of_an_older_put_does_not_end_a_newer_one(self, place: Place) -> None:
        made = await place.store()
        await place.inside.put(made.id, put("a"), NOW)
        (old,) = await claimed(place)
        chunking = Chunking(400, 100)
        await place.inside.put(made.id, [FileToPut("a", (("year", 2026.0),), chunking)], NOW + 1)
        assert await place.inside.loaded([(old, 1)]) == [old]
        (new,) = await claimed(place, NOW + 1)
        assert (new.attributes, new.chunking) == ((("year", 2026.0),), chunking)
        assert await place.inside.loaded([(new, 1)]) == []

    async def test_new_attributes_have_a_file_in_hand_loaded_anew(self, place: Place) -> None:
        made = await place.store()
        await place.inside.put(made.id, put("a"), NOW)
        (old,) = await claimed(place)
        await place.inside.set_attributes(old, '{"year": 2026}')
        assert await place.inside.loaded([(old, 1)]) == [old]
        assert [file.attributes for file in await claimed(place)] == [(("year", 2026.0),)]

    async def test_a_file_taken_out_keeps_its_place_as_a_cursor(self, place: Place) -> None:
        made = await place.store()
        await place.inside.put(made.id, put("a", "b", "c"), NOW)
        await place.inside.take_out(made.id, "b", NOW)
        rest = await place.inside.files(made.id, PageAsked(order="asc", after="b"))
        assert [file.file_id for file in rest.items] == ["c"]
        assert await place.inside.holding("b") == []
        assert await place.counts(made) == Counts(in_progress=2)

    async def test_what_was_taken_out_is_told_to_whoever_makes_sure_of_it(self, place: Place) -> None:
        """A process that died in between has said so in the row, and left the words."""
        made = await place.store()
        await place.inside.put(made.id, put("a", "b"), NOW)
        await place.inside.take_out(made.id, "a", NOW)
        assert await place.inside.taken_out(0.0) == [(made.id, "a")]
        assert await place.inside.taken_out(NOW + 1) == []
        assert {file.file_id for file in await claimed(place)} == {"b"}
